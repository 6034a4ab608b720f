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


@pytest.fixture
def config(pair_folder: Path, tmp_path: Path) -> Path:
    file = tmp_path / "compare.yaml"
    file.write_text(
        f"output: {tmp_path / 'out'}\nclips: {{pairs: {pair_folder}, limit: 2}}\nplayers: 1\n"
        f"methods: {{film: '{pair_folder}/{{clip}}/camera.mkv', input: '{{render}}'}}\n"
        "metrics: [edge_f1, psnr, ssim, colour_change]\n"
    )
    return file


def test_a_configuration_makes_rows_tables_and_a_page(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(config), "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "| edge F1" in printed
    assert "frames per second: edge_f1" in printed
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert {"results.jsonl", "table.md", "table.csv", "table.tex", "summary.json", "report.html"} <= names


def test_a_loss_against_a_baseline_exits_1_and_names_it(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(config), "--quiet"]) == 0
    summary = tmp_path / "out" / "summary.json"
    assert main(["evaluate", str(config), "--quiet", "--against", str(summary)]) == 0
    capsys.readouterr()
    values = json.loads(summary.read_text())
    values["metrics"]["edge_f1"]["methods"]["film"] = {"mean": 2.0, "low": 1.9, "high": 2.1, "num_clips": 2}
    better = tmp_path / "better.json"
    better.write_text(json.dumps(values))
    assert main(["evaluate", str(config), "--quiet", "--against", str(better)]) == 1
    assert "edge F1" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["{config}", "--seed", "3"], "expected no --seed with a CONFIG.yaml"),
        (["{config}", "--no-baselines"], "expected no --baselines with a CONFIG.yaml"),
        (["pairs", "--workers", "2"], "expected no --workers with a folder of pairs"),
        (["{config}", "--against", "nowhere.json"], "expected a summary"),
        (["nowhere.yaml"], "expected a settings file"),
    ],
)
def test_options_of_the_other_kind_and_missing_files_are_refused(
    config: Path, arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", *(argument.format(config=config) for argument in arguments)]) == 2
    said = capsys.readouterr().err.strip()
    assert complaint in said
    assert "\n" not in said
