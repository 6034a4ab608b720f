"""Bad input: each with one clear line and exit code 2, and nothing lost or left behind."""

from __future__ import annotations

import json
import os
import pickle
import struct
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from safetensors.numpy import save_file

from realmaster.media.writer import ClipWriter
from realmaster.types import ClipInfo
from sample_clips import scene, write_clip, write_images

Call = Callable[..., Any]


def refused(said: Any, *words: str, code: int = 2) -> None:
    """One line on stderr with these words, nothing on stdout."""
    assert said.code == code, said
    assert said.err.count("\n") == 1, said.err
    assert said.err.startswith("realmaster: ")
    assert "defect" not in said.err
    for word in words:
        assert word in said.err, said.err
    assert said.out == ""


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_missing_file(realmaster: Call, tmp_path: Path) -> None:
    refused(realmaster("translate", tmp_path / "no.mp4", "-o", tmp_path / "out.mp4"), "no.mp4")
    assert names(tmp_path) == set()


def test_an_empty_name(realmaster: Call, tmp_path: Path) -> None:
    refused(realmaster("translate", "", "-o", tmp_path / "out.mp4"), "name of a clip")


def test_a_folder_without_images(realmaster: Call, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "notes.txt").write_text("no image")
    refused(realmaster("translate", tmp_path / "folder", "-o", tmp_path / "out.mp4"), "folder")
    assert names(tmp_path) == {"folder"}


@pytest.mark.parametrize("content", [b"", b"this is no video\n" * 100, bytes(range(256)) * 64])
def test_a_file_that_is_no_video(realmaster: Call, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "clip.mp4").write_bytes(content)
    refused(realmaster("translate", tmp_path / "clip.mp4", "-o", tmp_path / "out.mp4"), "clip.mp4")
    assert names(tmp_path) == {"clip.mp4"}


def test_a_video_of_zero_frames(realmaster: Call, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "clip.mp4")
    audio_only = tmp_path / "sound.wav"
    audio_only.write_bytes(_wav(seconds=1))
    whole.unlink()
    refused(realmaster("translate", audio_only, "-o", tmp_path / "out.mp4"), "sound.wav")
    assert names(tmp_path) == {"sound.wav"}


def test_a_start_behind_the_end(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--start", "60"), "start")
    assert names(tmp_path) == {"clip.mp4"}


def test_a_folder_of_mixed_sizes(realmaster: Call, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "frames", scene(4, 64, 48))
    cv2.imwrite(str(folder / "0002.png"), scene(1, 32, 32)[0])
    refused(realmaster("translate", folder, "-o", tmp_path / "out.mp4"), "0002.png", "64x48", "32x32")
    assert names(tmp_path) == {"frames"}


@pytest.mark.parametrize("codec", ["h264", "lossless", "prores", "images"])
def test_an_output_that_exists_stays(realmaster: Call, clip: Path, tmp_path: Path, codec: str) -> None:
    output = tmp_path / {"images": "frames", "prores": "out.mov", "lossless": "out.mkv"}.get(codec, "out.mp4")
    if codec == "images":
        output.mkdir()
        (output / "mine.png").write_bytes(b"mine")
    else:
        output.write_bytes(b"mine")
    refused(realmaster("translate", clip, "-o", output, "--codec", codec), str(output), "--overwrite")
    assert (output / "mine.png" if codec == "images" else output).read_bytes() == b"mine"


def test_an_output_in_a_folder_that_is_not_there(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "no" / "out.mp4"), str(tmp_path / "no"), "make it first")


def test_an_output_that_cannot_be_written(realmaster: Call, clip: Path) -> None:
    refused(realmaster("translate", clip, "-o", "/proc/out.mp4"), "/proc")


def test_an_output_of_an_unknown_kind(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.docx"), ".docx")
    assert names(tmp_path) == {"clip.mp4"}


@pytest.mark.parametrize("how", ["same", "symlink", "hardlink", "dots"])
def test_an_output_that_is_the_input_stays(realmaster: Call, clip: Path, tmp_path: Path, how: str) -> None:
    before, output = clip.read_bytes(), clip
    if how == "symlink":
        output = tmp_path / "link.mp4"
        output.symlink_to(clip)
    if how == "hardlink":
        output = tmp_path / "hard.mp4"
        os.link(clip, output)
    if how == "dots":
        output = tmp_path / "x" / ".." / "clip.mp4"
        (tmp_path / "x").mkdir()
    refused(realmaster("translate", clip, "-o", output, "--overwrite"), "other than the input")
    assert clip.read_bytes() == before


def test_a_folder_of_images_as_its_own_output(realmaster: Call, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "frames", scene(3, 64, 48))
    for source in (folder, folder / "%04d.png"):
        said = realmaster("translate", source, "-o", folder, "--codec", "images", "--overwrite")
        refused(said, "same")
    assert names(folder) == {"0000.png", "0001.png", "0002.png"}


def test_a_report_in_the_way(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    page, output = tmp_path / "page.html", tmp_path / "out.mp4"
    page.write_text("mine")
    refused(realmaster("translate", clip, "-o", output, "--report", page), "page.html", "--overwrite")
    assert page.read_text() == "mine"
    refused(realmaster("translate", "--report", clip, "-o", output), "PAGE.html", "clip.mp4")
    (tmp_path / "folder.html").mkdir()
    said = realmaster("translate", clip, "-o", output, "--report", tmp_path / "folder.html", "--overwrite")
    refused(said, "folder.html: expected a file to replace, found a folder")
    assert not output.exists()


def test_an_unknown_profile(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--profile", "mega"), "mega", "nano")


@pytest.mark.parametrize("name", ["../nano", "nano.yaml", "/etc/passwd", "", "nano\nnano"])
def test_a_profile_that_is_a_path(realmaster: Call, clip: Path, tmp_path: Path, name: str) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--profile", name), "nano")


@pytest.mark.parametrize("option", ["--prompt", "--negative-prompt"])
def test_a_prompt_of_ten_thousand_characters(realmaster: Call, clip: Path, tmp_path: Path, option: str) -> None:
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", option, "rain " * 2000)
    refused(said, option, "10000", "shorten")
    assert len(said.err) < 300


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--strength", "1.5"),
        ("--strength", "-0.1"),
        ("--strength", "nan"),
        ("--guidance-scale", "inf"),
        ("--guidance-scale", "much"),
        ("--num-inference-steps", "0"),
        ("--num-inference-steps", "2.5"),
        ("--seed", "-1"),
        ("--start", "-1"),
        ("--start", "nan"),
        ("--duration", "0"),
        ("--duration", "inf"),
        ("--reference", "both"),
        ("--codec", "vhs"),
        ("--device", "toaster"),
        ("--protect", ""),
        ("--protect", "#3"),
        ("--prompt", "caf\udce9"),
        ("--negative-prompt", "caf\udce9"),
        ("--protect", "no-mask.png"),
        ("--protect", "no-mask.png#3,17"),
    ],
)
def test_a_value_out_of_bounds(realmaster: Call, clip: Path, tmp_path: Path, option: str, value: str) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.mp4", option, value), option)
    assert names(tmp_path) == {"clip.mp4"}


def adapter_file(path: Path, **metadata: Any) -> Path:
    tensors = {"transformer.blocks.0.attn1.to_q.lora_A.weight": np.zeros((4, 8), np.float16)}
    words = {"base_model": "nano", "rank": 4, "alpha": 4, "reference": "cached", **metadata}
    save_file(tensors, path, metadata={"format": "pt", "realmaster": json.dumps(words)})
    return path


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("missing", "found none"),
        ("empty", "corrupt"),
        ("corrupt", "corrupt"),
        ("pickled", "pickled"),
        ("nameless", "metadata"),
        ("other base", "wan2.2-a14b"),
        ("other mode", "joint"),
        ("other tensors", "does not fit"),
    ],
)
def test_an_adapter_that_does_not_fit(realmaster: Call, clip: Path, tmp_path: Path, kind: str, said: str) -> None:
    path, options = tmp_path / "adapter.safetensors", []
    if kind == "empty":
        path.write_bytes(b"")
    elif kind == "corrupt":
        adapter_file(path)
        path.write_bytes(path.read_bytes()[:-20])
    elif kind == "pickled":
        path.write_bytes(pickle.dumps({"weight": [0.0]}))
    elif kind == "nameless":
        save_file({"weight": np.zeros(4, np.float32)}, path)
    elif kind == "other base":
        adapter_file(path, base_model="wan2.2-a14b")
    elif kind == "other mode":
        adapter_file(path, reference="joint")
        options = ["--reference", "cached"]
    elif kind == "other tensors":
        adapter_file(path)
    output = tmp_path / "out.mp4"
    refused(realmaster("translate", clip, "-o", output, "--adapter", path, *options), "adapter.safetensors", said)
    assert not output.exists()


def test_a_device_that_is_not_there(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--device", "cuda:97"), "cuda:97")


def _wav(*, seconds: float) -> bytes:
    data = bytes(int(8000 * seconds))
    return (
        b"RIFF" + struct.pack("<I", 36 + len(data)) + b"WAVEfmt "
        + struct.pack("<IHHIIHH", 16, 1, 1, 8000, 8000, 1, 8) + b"data" + struct.pack("<I", len(data)) + data
    )  # fmt: skip


@pytest.mark.parametrize("ids", ["", "#3"])
def test_an_output_that_is_the_mask_stays(realmaster: Call, clip: Path, tmp_path: Path, ids: str) -> None:
    mask = tmp_path / "mask.mkv"
    with ClipWriter(mask, ClipInfo(64, 48, Fraction(16)), codec="lossless") as writer:
        writer.write(scene(9, 64, 48))
    before = mask.read_bytes()
    said = realmaster("translate", clip, "-o", mask, "--codec", "lossless", "--protect", f"{mask}{ids}", "--overwrite")
    refused(said, "other than the input")
    assert mask.read_bytes() == before


def test_an_output_without_a_name(realmaster: Call, clip: Path) -> None:
    for report in ((), ("--report",)):
        refused(realmaster("translate", clip, "-o", "", *report), "got an empty one")


@pytest.mark.parametrize("codec", ["h264", "images"])
@pytest.mark.parametrize("name", [".", "..", "/"])
def test_a_folder_instead_of_a_name_in_it(
    realmaster: Call, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, codec: str
) -> None:
    monkeypatch.chdir(tmp_path)
    said = realmaster("translate", clip, "-o", name, "--codec", codec, "--overwrite")
    refused(said, f"{name}: expected the name of an output, got the folder", "add the name")
    assert names(tmp_path) == {"clip.mp4"}


def test_a_pipe_as_an_output(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    refused(realmaster("translate", clip, "-o", tmp_path / "pipe.mp4", "--overwrite"), "pipe.mp4", "regular file")
    assert (tmp_path / "pipe.mp4").is_fifo()


@pytest.mark.parametrize("name", ["shot.png", "folder/", "o.gif"])
def test_images_without_their_codec(realmaster: Call, clip: Path, tmp_path: Path, name: str) -> None:
    refused(realmaster("translate", clip, "-o", f"{tmp_path}/{name}"), "--codec images")
    assert names(tmp_path) == {"clip.mp4"}


def test_an_image_as_the_name_of_a_folder(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    refused(realmaster("translate", clip, "-o", tmp_path / "shot.png", "--codec", "images"), "shot_%04d.png")
    assert names(tmp_path) == {"clip.mp4"}
