"""`realmaster evaluate` prints the table and refuses what cannot be scored in one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realmaster.cli.main import main


def test_the_baselines_are_printed_and_kept_without_a_model(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    figures = tmp_path / "figures.json"
    assert main(["evaluate", str(pair_folder), "--no-model", "--quiet", "--json", str(figures)]) == 0
    printed = capsys.readouterr().out
    assert "| test split, 4 clips" in printed
    for method in json.loads(figures.read_text())["methods"]:
        assert f"| {method}" in printed


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nowhere"], "expected a pair set"),
        (["{pairs}", "--split", "validation"], "validation.jsonl"),
        (["{pairs}", "--no-model", "--no-baselines"], "leave one out"),
        (["{pairs}", "--no-model", "--json", "{pairs}/test.jsonl"], "--overwrite"),
    ],
)
def test_what_cannot_be_scored_is_refused_in_one_line(
    pair_folder: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *(argument.format(pairs=pair_folder) for argument in arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert "\n" not in said
