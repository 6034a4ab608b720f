"""The main job through the real command line, on nano: what it writes, says and leaves behind."""

from __future__ import annotations

import errno
import glob
import re
import resource
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from realmaster.media.output import cannot_write
from sample_clips import count_frames, frames_of, scene, write_clip, write_images

Call = Callable[..., Any]
PROGRAM = (sys.executable, "-c", "import sys; from realmaster.cli.main import main; sys.exit(main())", "translate")


def test_a_clip_becomes_a_clip_of_the_same_size_length_and_speed(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    output = tmp_path / "out.mp4"
    said = realmaster("translate", clip, "-o", output, "--prompt", "overcast day, soft light")
    assert (said.code, said.err) == (0, "")
    before, after = frames_of(clip), frames_of(output)
    assert after.shape == before.shape
    assert (after != before).any()
    first, second, third = said.out.splitlines()
    assert f"{output}: 9 frames, 64x48, 16 per second" in first
    assert "frames per second, peak memory" in second
    assert {"load", "read", "encode", "reference", "denoise", "decode", "transfer", "write"} <= {
        word.split()[0] for word in third.removeprefix("share: ").split(", ")
    }


def test_quiet_says_nothing(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "-q")
    assert (said.code, said.out, said.err) == (0, "", "")


def test_the_same_seed_gives_the_same_bytes_and_another_seed_others(
    realmaster: Call, clip: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / f"{name}.mp4" for name in ("first", "again", "other")]
    for output, seed in zip(outputs, ("3", "3", "4"), strict=True):
        assert realmaster("translate", clip, "-o", output, "--seed", seed, "-q").code == 0
    first, again, other = (output.read_bytes() for output in outputs)
    assert first == again
    assert first != other


def test_strength_zero_gives_the_render_back(realmaster: Call, tmp_path: Path) -> None:
    render = write_images(tmp_path / "frames", scene(5, 64, 48))
    said = realmaster("translate", render, "-o", tmp_path / "out", "--strength", "0", "--codec", "images", "-q")
    assert said.code == 0, said.err
    assert (frames_of(tmp_path / "out") == frames_of(render)).all()


def test_the_report_is_one_page_beside_the_output(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--report")
    assert said.code == 0, said.err
    page = (tmp_path / "out.html").read_text("utf-8")
    assert f"report: {tmp_path / 'out.html'}" in said.out
    assert "<html" in page
    assert 'src="http' not in page
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "out.mp4", "out.html"}


def test_the_summary_and_the_report_say_the_same_time(realmaster: Call, clip: Path, tmp_path: Path) -> None:
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--report")
    page = (tmp_path / "out.html").read_text("utf-8")
    _, time_line, shares, report = said.out.splitlines()
    seconds, speed = re.findall(r"time: ([\d.]+) s, ([\d.]+) frames per second", time_line)[0]
    assert f"{seconds} seconds, {speed} frames per second</h2>" in page
    assert "This page came after that and is not included" in page
    assert "report" not in shares
    assert re.search(r"out\.html \([\d.]+ s more\)$", report)


def test_the_report_holds_the_command_that_makes_the_same_bytes_again(
    realmaster: Call, clip: Path, tmp_path: Path
) -> None:
    asked = ("--prompt", 'it\'s raining; "hard"', "--seed", "5", "--start", "0.1", "--strength", "0.5")
    changes = ("--set", "sampling.num_inference_steps=2", "--set", "transfer.steadiness=0.5", "--guidance-scale", "2.5")
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--report", "-q", *asked, *changes)
    assert said.code == 0, said.err
    page = (tmp_path / "out.html").read_text("utf-8")
    assert "from clip.mp4" in page
    line = unescape(re.findall(r"<code>(.*?)</code>", page, re.DOTALL)[0])
    words = shlex.split(line)
    assert words[:2] == ["realmaster", "translate"]
    words[words.index(str(tmp_path / "out.mp4"))] = str(tmp_path / "again.mp4")
    assert realmaster(*words[1:], "-q").code == 0
    assert (tmp_path / "again.mp4").read_bytes() == (tmp_path / "out.mp4").read_bytes()


def test_a_part_of_a_clip(realmaster: Call, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=32)
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--start", "0.5", "--duration", "0.5")
    assert said.code == 0, said.err
    assert count_frames(tmp_path / "out.mp4") == 8


def test_one_frame(realmaster: Call, tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=1)
    assert realmaster("translate", clip, "-o", tmp_path / "out.mp4", "-q").code == 0
    assert count_frames(tmp_path / "out.mp4") == 1


@pytest.mark.parametrize(("width", "height"), [(1, 1), (16384, 8), (63, 47)])
def test_frames_of_any_size(realmaster: Call, tmp_path: Path, width: int, height: int) -> None:
    folder = write_images(tmp_path / "frames", scene(2, width, height))
    said = realmaster("translate", folder, "-o", tmp_path / "out", "--codec", "images", "-q")
    assert said.code == 0, said.err
    assert frames_of(tmp_path / "out").shape == (2, height, width, 3)


@pytest.mark.parametrize("form", ["./-clip.mp4", "--"])
def test_an_input_named_like_an_option(
    realmaster: Call, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    clip.rename(tmp_path / "-clip.mp4")
    monkeypatch.chdir(tmp_path)
    words = [form] if form != "--" else ["--", "-clip.mp4"]
    said = realmaster("translate", "-o", "out.mp4", "-q", *words)
    assert (said.code, said.err) == (0, "")
    assert count_frames(tmp_path / "out.mp4") == 9


def test_what_decodes_of_a_truncated_clip_is_translated_and_told(realmaster: Call, tmp_path: Path) -> None:
    whole = write_clip(tmp_path / "whole.mkv", num_frames=48)
    clip = tmp_path / "clip.mkv"
    clip.write_bytes(whole.read_bytes()[: whole.stat().st_size * 2 // 3])
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--num-inference-steps", "1")
    assert said.code == 3
    assert said.err.splitlines()[-1].startswith(f"realmaster: {clip} ended early")
    assert 0 < count_frames(tmp_path / "out.mp4") < 48
    assert "out.mp4" in said.out


def test_an_unreadable_frame_in_the_middle_is_told(realmaster: Call, tmp_path: Path) -> None:
    folder = write_images(tmp_path / "frames", scene(6, 64, 48))
    (folder / "0003.png").write_bytes(b"no image")
    said = realmaster("translate", folder, "-o", tmp_path / "out.mp4", "-q")
    assert said.code in (2, 3)
    assert "0003.png" in said.err
    assert said.err.count("\n") == 1
    assert (tmp_path / "out.mp4").exists() == (said.code == 3)


def test_a_disk_that_is_full_leaves_no_half_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4")

    def small_files_only() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))

    command = [*PROGRAM, str(clip), "-o", str(tmp_path / "out.mkv"), "--codec", "lossless"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=120, preexec_fn=small_files_only, check=False
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "defect" not in done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4"}


def test_ctrl_c_leaves_no_half_file(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "clip.mp4", num_frames=200)
    command = [*PROGRAM, str(clip), "-o", str(tmp_path / "out"), "--codec", "images"]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job is born deaf to Ctrl-C
    )  # fmt: skip
    frames = str(tmp_path / ".out*" / "*.png")
    while process.poll() is None and not glob.glob(frames):  # noqa: PTH207, Path's raises where a trial folder vanishes
        time.sleep(0.01)  # until the first frames are written
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err == "realmaster: interrupted: nothing was left half-written\n"
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4"}


def test_images_by_a_pattern_make_their_folder_and_the_report_stands_beside_it(
    realmaster: Call, clip: Path, tmp_path: Path
) -> None:
    words = ("translate", clip, "-o", tmp_path / "new" / "%04d.png", "--codec", "images", "--report", "-q")
    assert realmaster(*words).code == 0
    assert len(list((tmp_path / "new").iterdir())) == 9
    assert {path.name for path in tmp_path.iterdir()} == {"clip.mp4", "new", "new.html"}
    assert realmaster(*words, "--overwrite").code == 0
    said = realmaster("translate", clip, "-o", tmp_path / "no" / "new" / "%04d.png", "--codec", "images")
    assert (said.code, "make it first" in said.err) == (2, True)


def test_a_report_that_cannot_be_written_leaves_the_clip_and_says_so(
    realmaster: Call, clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise cannot_write(tmp_path / "out.html", OSError(errno.ENOSPC, "No space left on device"))

    monkeypatch.setattr("realmaster.evaluation.page.write_report", full)
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", "--report", "-q")
    assert said.code == 2
    assert f"the clip is whole in {tmp_path / 'out.mp4'}; the report could not be written: " in said.err
    assert "No space left" in said.err
    assert "left behind" not in said.err
    assert count_frames(tmp_path / "out.mp4") == 9
