"""The benchmark of the reference runs and keeps what it prints; nothing here measures time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.mark.parametrize("scale", [1, 2])
def test_the_benchmark_keeps_a_dated_file_of_what_it_printed(
    load_benchmark: Callable[[str], Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], scale: int
) -> None:
    module = load_benchmark("reference")
    size = ["--frames", "5", "--width", "64", "--height", "64", "--repeats", "1", "--spatial-scale", str(scale)]
    module.main([*size, "--storage-dtype", "fp8", "--storage-device", "host", "--output", str(tmp_path)])
    (kept,) = tmp_path.iterdir()
    result = json.loads(kept.read_text("utf-8"))
    assert kept.name.startswith(result["date"])
    assert {"device", "versions", "settings"} <= result.keys()
    (case,) = result["cases"]
    assert case["seconds"].keys() == {"reference pass", "plain", "cached", "joint"}
    printed = capsys.readouterr().out
    for ratio in case["ratios"].values():
        assert f"{ratio:.2f}" in printed
