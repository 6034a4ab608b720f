"""What stands at the output's name is never lost: not what came there during the run, nor what another run left."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from realmaster.errors import OutputError
from realmaster.media.output import temporary, temporary_path
from realmaster.pipelines.translate import Translator
from sample_clips import count_frames, write_clip


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", num_frames=3)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def run(translator: Translator, clip: Path, output: Path, meanwhile: Callable[[], object], **options: object) -> None:
    translator.translate(clip, output, strength=0.0, progress=lambda *_: meanwhile(), **options)


@pytest.mark.parametrize("has_links", [True, False])
def test_a_file_that_came_meanwhile_stays_and_the_work_is_kept(
    translator: Translator, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_links: bool
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not has_links:
        monkeypatch.setattr(os, "link", refuses)
    output = tmp_path / "out.mp4"
    with pytest.raises(OutputError, match="still free at the end") as caught:
        run(translator, clip, output, lambda: output.write_bytes(b"mine"))
    assert output.read_bytes() == b"mine"
    (kept,) = names(tmp_path) - {"clip.mp4", "out.mp4"}
    assert kept in str(caught.value)
    assert not kept.startswith(".")
    assert count_frames(tmp_path / kept) == 3
    run(translator, clip, output, lambda: None, overwrite=True)
    assert count_frames(output) == 3


def test_a_file_system_without_links_gets_its_outputs(
    translator: Translator, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuses(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuses)
    run(translator, clip, tmp_path / "out.mp4", lambda: None)
    assert names(tmp_path) == {"clip.mp4", "out.mp4"}


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_with_other_things_that_came_meanwhile_stays(
    translator: Translator, clip: Path, tmp_path: Path, overwrite: bool
) -> None:
    output = tmp_path / "out"

    def meanwhile() -> None:
        output.mkdir(exist_ok=True)
        (output / "notes.txt").write_text("mine")

    with pytest.raises(OutputError) as caught:
        run(translator, clip, output, meanwhile, codec="images", overwrite=overwrite)
    assert names(output) == {"notes.txt"}
    (kept,) = names(tmp_path) - {"clip.mp4", "out"}
    assert kept in str(caught.value)
    assert len(names(tmp_path / kept)) == 3


def test_images_that_came_meanwhile_are_replaced_only_on_request(
    translator: Translator, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"

    def meanwhile() -> None:
        output.mkdir(exist_ok=True)
        (output / "theirs.png").write_bytes(b"theirs")

    with pytest.raises(OutputError, match="still free at the end"):
        run(translator, clip, output, meanwhile, codec="images")
    assert names(output) == {"theirs.png"}
    run(translator, clip, output, meanwhile, codec="images", overwrite=True)
    assert len(names(output)) == 3


def test_an_empty_folder_gives_way(translator: Translator, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    run(translator, clip, output, lambda: output.mkdir(exist_ok=True), codec="images")
    assert len(names(output)) == 3


@pytest.mark.parametrize("is_there", [True, False])
def test_a_name_of_a_pattern_that_was_taken_meanwhile_stays_and_the_work_is_kept(
    translator: Translator, clip: Path, tmp_path: Path, is_there: bool
) -> None:
    folder = tmp_path / "out"
    if is_there:
        folder.mkdir()

    def meanwhile() -> None:
        folder.mkdir(exist_ok=True)
        (folder / "sh_0001.png").write_bytes(b"mine")

    with pytest.raises(OutputError, match=r"still free at the end, found sh_0001\.png") as caught:
        run(translator, clip, folder / "sh_%04d.png", meanwhile, codec="images")
    assert (folder / "sh_0001.png").read_bytes() == b"mine"
    kept = Path(str(caught.value).split("work is in ")[1].split(";")[0])
    assert names(kept) == {f"sh_{index:04d}.png" for index in range(3)}


def test_two_patterns_may_fill_one_new_folder(translator: Translator, clip: Path, tmp_path: Path) -> None:
    folder = tmp_path / "out"

    def meanwhile() -> None:
        folder.mkdir(exist_ok=True)
        (folder / "other_0001.png").write_bytes(b"theirs")

    run(translator, clip, folder / "sh_%04d.png", meanwhile, codec="images")
    assert names(folder) == {"other_0001.png", *(f"sh_{index:04d}.png" for index in range(3))}
    assert names(tmp_path) == {"clip.mp4", "out"}


@pytest.mark.parametrize(
    ("name", "left", "codec"),
    [
        ("out.mp4", ".out.0a1b2c3d.part.mp4", "h264"),
        ("out", ".out.0a1b2c3d.part", "images"),
        ("shots/sh_%d.png", "shots/.sh_images.0a1b2c3d.part", "images"),
    ],
)
def test_what_a_killed_run_left_is_told_once_it_is_a_day_old_and_not_removed(
    translator: Translator, clip: Path, tmp_path: Path, name: str, left: str, codec: str
) -> None:
    (tmp_path / "shots").mkdir()
    found = {}
    others = [tmp_path / left.replace("0a1b2c3d", word) for word in ("11111111", "notahexnr")]
    for file in (tmp_path / left, *others):
        file.mkdir() if codec == "images" else file.write_bytes(b"half")
    for age in (3600, 2 * 86400):
        for file in (tmp_path / left, others[1]):
            os.utime(file, (time.time() - age, time.time() - age))
        made = translator.translate(clip, tmp_path / name, strength=0.0, codec=codec, overwrite=True)
        found[age] = made.warnings
    assert found[3600] == ()
    assert len(found[2 * 86400]) == 1, "only the old one, and only a temporary file's own name"
    assert Path(left).name in found[2 * 86400][0]
    assert (tmp_path / left).exists()


def test_a_name_as_long_as_the_disk_takes_in_any_script_is_an_output(
    translator: Translator, clip: Path, tmp_path: Path
) -> None:
    output = tmp_path / ("漢" * 83 + ".mp4")
    assert len(output.name.encode()) == 253
    left = temporary_path(output)
    left.write_bytes(b"half")
    os.utime(left, (0, 0))
    made = translator.translate(clip, output, strength=0.0)
    assert output.is_file()
    assert [str(left) in warning for warning in made.warnings] == [True]


def test_a_pipe_is_not_replaced(translator: Translator, clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(OutputError, match="regular file"):
        translator.translate(clip, tmp_path / "pipe.mp4", overwrite=True)
    assert (tmp_path / "pipe.mp4").is_fifo()


def test_a_report_that_came_meanwhile_stays(tmp_path: Path) -> None:
    page = tmp_path / "page.html"

    def write() -> None:
        with temporary(page, overwrite=False) as part:
            part.write_text("new")
            page.write_text("mine")

    with pytest.raises(OutputError, match="still free at the end"):
        write()
    assert page.read_text() == "mine"
    (kept,) = names(tmp_path) - {"page.html"}
    assert (tmp_path / kept).read_text() == "new"


def test_strength_zero_never_asks_the_model(
    translator: Translator, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise AssertionError("the model was asked")

    monkeypatch.setattr("realmaster.pipelines.translate.WindowSampler", fails)
    frames = np.random.default_rng(0).integers(0, 256, (5, 48, 64, 3), dtype=np.uint8)
    np.testing.assert_array_equal(translator.translate_frames(frames, strength=0), frames)
    assert translator.translate(clip, tmp_path / "out.mp4", strength=0).num_frames == 3
    with pytest.raises(AssertionError, match="asked"):
        translator.translate_frames(frames, strength=0.1)


def test_a_silent_clip_keeps_its_title(translator: Translator, tmp_path: Path) -> None:
    with av.open(str(tmp_path / "shot.mp4"), "w") as container:
        container.metadata["title"] = "shot 010"
        stream = container.add_stream("h264", rate=24)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.mux(stream.encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), dtype=np.uint8), format="rgb24")))
        container.mux(stream.encode())
    translator.translate(tmp_path / "shot.mp4", tmp_path / "photo.mp4", strength=0.0)
    with av.open(str(tmp_path / "photo.mp4")) as container:
        assert container.metadata["title"] == "shot 010"
