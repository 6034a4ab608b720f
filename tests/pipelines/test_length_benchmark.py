"""The benchmark of a clip's length runs the command and keeps what it prints; nothing here measures time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sample_clips import count_frames, frames_of, write_clip


@pytest.fixture
def benchmark(load_benchmark: Callable[[str], Any]) -> Any:
    return load_benchmark("length")


def test_a_clip_of_any_length_goes_back_and_forth(benchmark: Any, tmp_path: Path) -> None:
    made = benchmark.make(write_clip(tmp_path / "clip.mp4", num_frames=4), tmp_path / "made.mkv", 1.25)
    first, second, third, fourth, *rest = frames_of(made)
    assert count_frames(made) == 10
    for found, expected in zip(rest, (third, second, first, second, third, fourth), strict=True):
        assert (found == expected).all()
    still = frames_of(benchmark.make(tmp_path / "clip.mp4", tmp_path / "still.mkv", 1, moves=False))
    assert (still == still[:1]).all()


@pytest.mark.slow
def test_it_keeps_a_dated_file_of_what_it_printed(
    benchmark: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, kept = write_clip(tmp_path / "clip.mp4", num_frames=5), tmp_path / "kept"
    benchmark.main(["--clip", str(clip), "--short", "0.5", "--long", "0.75", "--output", str(kept)])
    (file,) = kept.iterdir()
    result = json.loads(file.read_text("utf-8"))
    assert file.name.startswith(result["date"])
    assert result["cases"].keys() == {"demo", "short", "long", "still"}
    assert all(case["peak_mb"] > 100 and len(case["said"]) == 2 for case in result["cases"].values())
    assert f"{result['ratios']['long / short, peak']:.2f}" in capsys.readouterr().out


def test_it_says_which_clip_could_not_be_translated(benchmark: Any, tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"absent\.mp4: expected `realmaster translate` to end with 0, got 2"):
        benchmark.translate(tmp_path / "absent.mp4", tmp_path / "out.mkv")
