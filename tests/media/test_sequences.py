from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from media_files import chart, numbered, read_numbers, write_exr
from realmaster.errors import MediaError
from realmaster.media.images import write_image
from realmaster.media.reader import open_clip


def fill(folder, frames, name="frame_%04d.png", first=0):
    folder.mkdir(exist_ok=True)
    for index, frame in enumerate(frames):
        write_image(folder / (name % (index + first)), frame)
    return folder


def read(path, **options):
    with open_clip(path, **options) as clip:
        return np.concatenate(list(clip.chunks(4))), clip


def test_a_folder_is_read_in_the_order_of_its_numbers_not_of_its_letters(tmp_path):
    fill(tmp_path / "clip", numbered(12), name="frame_%d.png")  # frame_10 sorts before frame_2 as text
    frames, clip = read(tmp_path / "clip")
    assert read_numbers(frames) == list(range(12))
    assert (clip.info.width, clip.info.height, clip.info.num_frames, clip.info.frame_rate) == (32, 32, 12, 16)
    assert clip.info.duration_seconds == 0.75
    assert "16 a second" in clip.warnings[0]


@pytest.mark.parametrize("pattern", ["frame_%04d.png", "frame_*.png", "*.png", "frame_000?.png", "*"])
def test_a_pattern_selects_images(tmp_path, pattern):
    fill(tmp_path, numbered(5))
    (tmp_path / "notes.txt").write_text("not a frame")
    frames, _ = read(tmp_path / pattern)
    assert read_numbers(frames) == list(range(5))


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp"])
def test_each_kind_of_image_is_read(tmp_path, suffix):
    fill(tmp_path / "clip", numbered(3), name="%03d" + suffix)
    frames, _ = read(tmp_path / "clip")
    assert read_numbers(frames) == [0, 1, 2]


@pytest.mark.parametrize("name", ["10²5_%d.png", "①%d.png", "٣_%d.png"])
def test_raised_and_foreign_digits_in_names_are_no_harm(tmp_path, name):
    fill(tmp_path / "clip", numbered(12), name=name)
    frames, _ = read(tmp_path / "clip")
    assert read_numbers(frames) == list(range(12))


def test_an_exr_folder_is_read_as_linear_light(tmp_path):
    for index in range(3):
        write_exr(tmp_path / f"{index}.exr", np.full((8, 8, 3), 0.5, np.float32))
    frames, _ = read(tmp_path)
    assert (frames == 188).all()  # sRGB of 0.5


def test_an_image_rate_makes_8_images_a_second_16_frames_by_repeating(tmp_path):
    fill(tmp_path, numbered(5))
    frames, clip = read(tmp_path, image_rate=Fraction(8), frame_rate=Fraction(16))
    assert read_numbers(frames) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]
    assert clip.info.num_frames == 10
    assert clip.warnings == []


def test_start_and_duration_select_images(tmp_path):
    fill(tmp_path, numbered(10))
    frames, clip = read(tmp_path, frame_rate=Fraction(10), start_seconds=0.3, duration_seconds=0.4)
    assert read_numbers(frames) == [3, 4, 5, 6]
    assert clip.info.num_frames == 4
    with pytest.raises(MediaError, match=r"end at 1\.000 s, got 1 s: start earlier"):
        open_clip(tmp_path, frame_rate=Fraction(10), start_seconds=1)


def test_one_image_is_a_clip_of_one_frame(tmp_path):
    write_image(tmp_path / "a.png", chart())
    frames, clip = read(tmp_path / "a.png")
    assert (frames == chart()[None]).all()
    assert clip.info.num_frames == 1
    assert clip.warnings == []


def test_missing_numbers_are_said(tmp_path):
    fill(tmp_path, numbered(6))
    (tmp_path / "frame_0003.png").unlink()
    frames, clip = read(tmp_path / "frame_%04d.png")
    assert read_numbers(frames) == [0, 1, 2, 4, 5]
    assert "1 numbers are missing in the sequence, the first is 3" in clip.warnings[0]


@pytest.mark.parametrize("name", ["frame_%04d.png", "shot2_%d_v3.png"])
@pytest.mark.parametrize("pattern", ["", "*.png"])
def test_missing_numbers_are_said_of_folders_and_globs_too(tmp_path, pattern, name):
    fill(tmp_path, numbered(12), name=name)
    for missing in (3, 4, 7):
        (tmp_path / (name % missing)).unlink()
    _, clip = read(tmp_path / pattern, frame_rate=Fraction(16))
    assert clip.warnings == [
        "3 numbers are missing in the sequence, the first is 3: the images were taken as neighbours"
    ]


def test_names_that_are_no_numbered_sequence_miss_nothing(tmp_path):
    for name in ("a1b2.png", "a3b4.png", "a3b9.png"):
        write_image(tmp_path / name, chart())
    assert read(tmp_path, frame_rate=Fraction(16))[1].warnings == []


@pytest.mark.parametrize("suffix", [".tif", ".dpx"])
@pytest.mark.parametrize("pattern", ["f.%04d{}", "f.####{}", "f.@@@@{}", "f.$F4{}", "*{}", ""])
def test_images_of_a_kind_that_is_not_read_are_named(tmp_path, pattern, suffix):
    for index in range(3):
        (tmp_path / f"f.{index:04d}{suffix}").write_bytes(b"pixels")
    with pytest.raises(MediaError, match=rf"found 3 \{suffix}, which is not read as images: export PNG or EXR"):
        open_clip(tmp_path / pattern.format(suffix))


@pytest.mark.parametrize(
    ("pattern", "known"),
    [("f.####.png", "f.%04d.png"), ("f.@@@@.png", "f.%04d.png"), ("f.$F4.png", "f.%04d.png"), ("f.#.png", "f.%d.png")],
)
def test_another_programs_way_to_count_is_told_this_ones(tmp_path, pattern, known):
    fill(tmp_path, numbered(3), name="f.%04d.png")
    with pytest.raises(MediaError, match=re.escape(f"write {tmp_path / known}")):
        open_clip(tmp_path / pattern)
    assert len(read(tmp_path / known)[0]) == 3


def test_a_pattern_that_no_file_fits_is_nothing_there(tmp_path):
    for pattern in ("f.####.png", "f.%04d.tif", "none/f.####.exr"):
        with pytest.raises(MediaError, match="found nothing there: check the path"):
            open_clip(tmp_path / pattern)


def test_a_colour_profile_is_said_once_with_the_first_file_that_has_it(tmp_path):
    fill(tmp_path, numbered(4))
    for index in (2, 3):
        Image.fromarray(numbered(4)[index]).save(tmp_path / f"frame_{index:04d}.png", icc_profile=b"P3" * 100)
    _, clip = read(tmp_path, frame_rate=Fraction(16))
    (said,) = clip.warnings
    assert "colour profile (no name)" in said
    assert said.endswith("(first in frame_0002.png)")


def test_transparent_images_are_said_once(tmp_path):
    import cv2

    for index in range(3):
        cv2.imwrite(str(tmp_path / f"{index}.png"), np.full((4, 4, 4), 100, np.uint8))
    _, clip = read(tmp_path, frame_rate=Fraction(16))
    assert clip.info.has_alpha
    assert len(clip.warnings) == 1
    assert "black" in clip.warnings[0]


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "._frame.png").write_bytes(b"macOS leaves such files")
    for path in (tmp_path, tmp_path / "*.png", tmp_path / "frame_%04d.png", tmp_path / "none" / "%d.png"):
        with pytest.raises(MediaError, match=r"expected images .* found none: check the folder or the pattern"):
            open_clip(path)


def test_images_of_several_kinds_need_a_pattern(tmp_path):
    fill(tmp_path, numbered(2))
    write_image(tmp_path / "poster.jpg", chart())
    with pytest.raises(MediaError, match=r"1 \.jpg, 2 \.png: give a pattern"):
        open_clip(tmp_path)
    assert len(read(tmp_path / "*.png")[0]) == 2


def test_mixed_sizes_are_refused_before_anything_is_read_and_the_file_is_named(tmp_path):
    fill(tmp_path, numbered(4))
    write_image(tmp_path / "frame_0002.png", chart(16, 24))
    with pytest.raises(MediaError, match=r"frame_0002\.png: expected 32x32 pixels as in frame_0000\.png, got 24x16"):
        open_clip(tmp_path)


def test_an_unreadable_image_in_the_middle_is_named(tmp_path):
    fill(tmp_path, numbered(4))
    good = (tmp_path / "frame_0002.png").read_bytes()
    (tmp_path / "frame_0002.png").write_bytes(b"")
    with pytest.raises(MediaError, match=r"frame_0002\.png"):
        open_clip(tmp_path)
    (tmp_path / "frame_0002.png").write_bytes(good[: len(good) // 2])  # its header is whole
    with open_clip(tmp_path) as clip, pytest.raises(MediaError, match=r"frame_0002\.png"):
        list(clip.chunks(2))


@pytest.mark.parametrize(("start", "expected"), [(0.12, [2, 3, 4, 5]), (0.17, [3, 4, 5]), (0.45, [5])])
def test_a_start_between_images_gives_each_its_own_number(tmp_path, start, expected):
    folder = tmp_path / "seq"
    folder.mkdir()
    for number, frame in enumerate(numbered(5), 1):
        write_image(folder / f"f{number}.png", frame)
    with open_clip(folder, frame_rate=Fraction(10), start_seconds=start) as clip:
        shown = read_numbers(np.concatenate(list(clip.chunks(9))))
        assert list(clip.numbers) == [number + 1 for number in shown] == expected
