"""Images in and out on the command line: their rate, their numbers, and what a pattern may replace."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from realmaster.media.reader import open_clip
from sample_clips import scene, write_clip

Call = Callable[..., Any]


def refused(said: Any, *words: str) -> None:
    assert (said.code, said.out, said.err.count("\n")) == (2, "", 1), said
    assert "defect" not in said.err
    for word in words:
        assert word in said.err, said.err


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def write_numbered(folder: Path, numbers: list[int], name: str = "in_%04d.png") -> Path:
    folder.mkdir(exist_ok=True)
    for number, frame in zip(numbers, scene(len(numbers), 64, 48), strict=True):
        cv2.imwrite(str(folder / (name % number)), frame[..., ::-1])
    return folder


@pytest.fixture
def quick(realmaster: Call) -> Call:
    """Translate into images at strength 0: what is written is what matters here."""

    def call(*words: Any) -> Any:
        return realmaster("translate", "--codec", "images", "--strength", "0", "-q", *words)

    return call


def test_a_pattern_replaces_the_files_it_names_and_nothing_else(quick: Call, clip: Path, tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "shots", [0, 5, 12, 40], "sh020_%04d.png")
    kept = {"sh010_0000.png", "notes.txt", "sh020_00040.png", "sh020_0001.jpg", "sh020.png"}
    for name in kept:
        (folder / name).write_bytes(b"mine")
    said = quick(clip, "-o", folder / "sh020_%04d.png", "--overwrite")
    assert (said.code, said.err) == (0, "")
    assert names(folder) == kept | {f"sh020_{index:04d}.png" for index in range(9)}
    assert all((folder / name).read_bytes() == b"mine" for name in kept)
    assert names(tmp_path) == {"clip.mp4", "shots"}


def test_a_pattern_into_the_current_folder_leaves_what_is_there(
    quick: Call, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other.png").write_bytes(b"mine")
    for _ in range(2):
        assert quick("clip.mp4", "-o", "new_%04d.png", "--overwrite").code == 0
    assert names(tmp_path) == {"clip.mp4", "other.png", *(f"new_{index:04d}.png" for index in range(9))}
    assert (tmp_path / "other.png").read_bytes() == b"mine"


def test_a_pattern_joins_other_files_without_overwrite_unless_one_of_its_names_is_taken(
    quick: Call, clip: Path, tmp_path: Path
) -> None:
    folder = write_numbered(tmp_path / "shots", [3], "sh010_%04d.png")
    assert quick(clip, "-o", folder / "sh020_%04d.png").code == 0
    before = {file.name: file.stat().st_ino for file in folder.iterdir()}
    refused(quick(clip, "-o", folder / "sh010_%04d.png"), "sh010_0003.png", "--overwrite")
    assert {file.name: file.stat().st_ino for file in folder.iterdir()} == before


def test_numbers_below_the_new_ones_are_left_and_told(quick: Call, tmp_path: Path) -> None:
    render = write_numbered(tmp_path / "in", [1001, 1002])
    folder = write_numbered(tmp_path / "out", [7, 1002, 1003], "%04d.png")
    said = quick(render, "-o", folder / "%04d.png", "--overwrite")
    assert names(folder) == {"0007.png", "1001.png", "1002.png"}
    assert (said.code, "0007.png: left as it was" in said.err) == (0, True)


@pytest.mark.parametrize(
    ("source", "output"),
    [
        ("in/in_%04d.png", "in/in_%04d.png"),
        ("in/in_%04d.png", "in/in_%06d.png"),
        ("in/*.png", "in/new_%04d.png"),
        ("in", "in/new_%04d.png"),
        ("in/in_0002.png", "in/in_%04d.png"),
    ],
)
def test_the_images_of_the_input_are_neither_replaced_nor_joined(
    quick: Call, tmp_path: Path, source: str, output: str
) -> None:
    folder = write_numbered(tmp_path / "in", [1, 2, 3])
    refused(quick(tmp_path / source, "-o", tmp_path / output, "--overwrite"), "other than the input")
    assert names(folder) == {"in_0001.png", "in_0002.png", "in_0003.png"}


@pytest.mark.parametrize("name", ["sh_%s.png", "sh_%04d_%d.png", "50%_%04d.png", "sh_%4d.png", "a%%.png", "%04x.png"])
def test_a_pattern_without_one_number_is_refused_before_the_work(
    quick: Call, clip: Path, tmp_path: Path, name: str
) -> None:
    refused(quick(clip, "-o", tmp_path / name), name, "%04d", "%%")
    assert names(tmp_path) == {"clip.mp4"}


@pytest.mark.parametrize(
    ("output", "codec", "page"),
    [
        ("sh010.v001", "images", "sh010.v001.html"),
        ("frames/sh_%04d.png", "images", "frames.html"),
        ("sh010.v001.mp4", "h264", "sh010.v001.html"),
        ("sub/100%done.mp4", "h264", "sub/100%done.html"),
    ],
)
def test_a_report_without_a_name_has_the_whole_name_of_its_output(
    realmaster: Call, tmp_path: Path, output: str, codec: str, page: str
) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=1)
    (tmp_path / "sub").mkdir()
    words = ("-o", tmp_path / output, "--codec", codec, "--strength", "0", "--report", "-q")
    assert realmaster("translate", clip, *words).code == 0
    assert [file.relative_to(tmp_path).as_posix() for file in tmp_path.rglob("*.html")] == [page]


def test_a_percent_sign_is_written_twice(quick: Call, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=1)
    assert quick(clip, "-o", tmp_path / "new" / "50%%d_%d.png").code == 0
    assert names(tmp_path / "new") == {"50%d_0.png"}


@pytest.mark.parametrize("output", ["out/%04d.png", "out"])
def test_images_keep_their_numbers_gaps_and_start_included(quick: Call, tmp_path: Path, output: str) -> None:
    render = write_numbered(tmp_path / "in", [998, 999, 1001, 1002, 1005], "sh2_%d.png")
    said = quick(render / "sh2_%d.png", "-o", tmp_path / output, "--start", "1", "--fps", "1")
    assert said.code == 0, said.err
    name = "%04d.png" if "%" in output else "frame_%06d.png"
    assert names(tmp_path / "out") == {name % number for number in (999, 1001, 1002, 1005)}
    first, second = (cv2.imread(str(path)) for path in (render / "sh2_1001.png", tmp_path / "out" / (name % 1001)))
    np.testing.assert_array_equal(first, second)


def test_names_that_differ_in_more_than_one_number_are_counted_from_zero(quick: Call, tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "in", [3], "a_%d.png")
    write_numbered(folder, [4], "b_%d.png")
    assert quick(folder, "-o", tmp_path / "out").code == 0
    assert names(tmp_path / "out") == {"frame_000000.png", "frame_000001.png"}


@pytest.mark.parametrize(
    ("rate", "exact"), [("24", "24"), ("23.976", "24000/1001"), ("30000/1001", "30000/1001"), ("12.5", "25/2")]
)
def test_the_rate_of_images_is_said_by_fps(realmaster: Call, tmp_path: Path, rate: str, exact: str) -> None:
    folder = write_numbered(tmp_path / "in", [1, 2, 3])
    output = tmp_path / "out.mkv"
    said = realmaster("translate", folder, "-o", output, "--strength", "0", "-q", "--fps", rate)
    assert (said.code, said.err) == (0, "")
    with open_clip(output) as clip:
        assert str(clip.info.frame_rate) == exact


def test_a_rate_that_was_assumed_is_told_with_the_option_and_only_where_it_matters(
    realmaster: Call, quick: Call, tmp_path: Path
) -> None:
    folder = write_numbered(tmp_path / "in", [1, 2, 3])
    said = realmaster("translate", folder, "-o", tmp_path / "out.mp4", "--strength", "0", "-q")
    assert (said.code, said.err.count("\n")) == (0, 1)
    assert "16 a second" in said.err
    assert "--fps" in said.err
    assert quick(folder, "-o", tmp_path / "out").err == ""


@pytest.mark.parametrize("rate", ["0", "-24", "fast", "1/0", "nan", "1001"])
def test_a_rate_that_is_none_is_refused(quick: Call, tmp_path: Path, rate: str) -> None:
    folder = write_numbered(tmp_path / "in", [1, 2])
    refused(quick(folder, "-o", tmp_path / "out", f"--fps={rate}"), "--fps", rate)


def test_a_video_has_its_own_rate(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--fps", "24"), "fps", "video", "leave it out")
    assert names(tmp_path) == {"clip.mp4"}


def test_the_report_of_images_at_a_rate_shows_the_stretch_that_was_translated(realmaster: Call, tmp_path: Path) -> None:
    folder = write_numbered(tmp_path / "in", [*range(1, 9)])
    words = ("translate", folder, "-o", tmp_path / "out", "--codec", "images", "--strength", "0", "--fps", "4")
    said = realmaster(*words, "--start", "1", "--report")
    assert said.code == 0, said.err
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "4 frames · 4 per second" in page
    assert "ΔE 0.0" in page, "the same frames are compared"
