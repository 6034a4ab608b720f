"""Both looks of a pair are read alike: the same frames, the same part of the picture."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from media_files import numbered, read_numbers, write_video
from realmaster.data.augment import Augmentation
from realmaster.data.manifest import ManifestRow, read_manifest
from realmaster.data.pair_reader import PairWindow, measure_pair, read_window
from realmaster.errors import ConfigError, MediaError
from realmaster.types import VideoShape
from sample_clips import write_images
from training_pairs import pairs_in


def numbered_pair(folder: Path, num_frames: int, *, rate: int = 16) -> ManifestRow:
    frames = numbered(num_frames)
    write_video(folder / "a.mp4", list(frames), rate=rate)
    write_video(folder / "b.mp4", list(frames), rate=rate)
    return ManifestRow(folder / "a.mp4", folder / "b.mp4", "", folder / "manifest.jsonl", 1)


def window_of(row: ManifestRow, **changes: object) -> PairWindow:
    window = PairWindow(
        video=row.video,
        reference_video=row.reference_video,
        first_frame=0,
        num_frames=5,
        size=(32, 32),
        reference_size=(32, 32),
        frame_rate=16,
        image_rate=None,
        holds_last=False,
        is_stretched=False,
        augmentations=(),
        seed=1,
    )
    return replace(window, **changes)


def test_eight_frames_a_second_become_sixteen_by_showing_each_twice(tmp_path: Path) -> None:
    row = numbered_pair(tmp_path, 5, rate=8)
    assert measure_pair(row, frame_rate=16, image_rate=None) == VideoShape(10, 32, 32)
    target, reference = read_window(window_of(row, num_frames=9))
    assert read_numbers(target) == read_numbers(reference) == [0, 0, 1, 1, 2, 2, 3, 3, 4]


@pytest.mark.parametrize("first", [5, 10, 7])
def test_a_window_begins_at_its_frame_exactly(tmp_path: Path, first: int) -> None:
    row = numbered_pair(tmp_path, 33, rate=30)
    target, reference = read_window(window_of(row, frame_rate=30, first_frame=first))
    assert read_numbers(target) == read_numbers(reference) == list(range(first, first + 5))


def test_a_short_clip_is_held_at_its_last_frame_only_when_that_is_asked(tmp_path: Path) -> None:
    row = numbered_pair(tmp_path, 3)
    with pytest.raises(MediaError, match="expected 5 frames from frame 0 on, got 3"):
        read_window(window_of(row))
    target, _ = read_window(window_of(row, holds_last=True))
    assert read_numbers(target) == [0, 1, 2, 2, 2]


def test_images_are_read_at_their_own_rate(tmp_path: Path) -> None:
    frames = numbered(5)
    row = ManifestRow(write_images(tmp_path / "a", frames), write_images(tmp_path / "b", frames), "", tmp_path, 1)
    assert measure_pair(row, frame_rate=16, image_rate=8).num_frames == 10
    target, _ = read_window(window_of(row, image_rate=8))
    assert read_numbers(target) == [0, 0, 1, 1, 2]


def test_looks_of_different_lengths_or_aspects_are_no_pair(tmp_path: Path) -> None:
    pairs = pairs_in(tmp_path)
    pairs.add("a bit", num_frames=9, engine_frames=8)
    pairs.add("long", num_frames=20, engine_frames=5)
    pairs.add("wide", engine_size=(48, 96))
    pairs.add("small", engine_size=(24, 32))
    a_bit, long, wide, small = read_manifest(pairs.manifest)
    measure = {"frame_rate": 16, "image_rate": None}
    assert measure_pair(a_bit, **measure) == VideoShape(8, 48, 64)
    assert measure_pair(small, **measure) == VideoShape(5, 48, 64)
    with pytest.raises(MediaError, match="of one length, got 20 and 5 frames"):
        measure_pair(long, **measure)
    with pytest.raises(MediaError, match="of one aspect, got 64x48 and 96x48"):
        measure_pair(wide, **measure)


def test_every_look_shows_the_same_part_at_its_own_size(tmp_path: Path) -> None:
    pairs = pairs_in(tmp_path, 1, size=(96, 128))
    (row,) = read_manifest(pairs.manifest)
    augmentations = (Augmentation(name="mirror", share=1), Augmentation(name="zoom", share=1))
    window = window_of(row, size=(48, 64), reference_size=(24, 32), augmentations=augmentations)
    target, reference = read_window(window)
    assert (target.shape, reference.shape) == ((5, 48, 64, 3), (5, 24, 32, 3))
    halved = target.reshape(5, 24, 2, 32, 2, 3).mean(axis=(2, 4))
    inverted = 255 - reference.astype(float)
    assert np.abs(halved - inverted).mean() < 4
    assert np.abs(halved - inverted[:, :, ::-1]).mean() > 20


def test_the_same_seed_augments_alike_and_another_does_not(tmp_path: Path) -> None:
    (row,) = read_manifest(pairs_in(tmp_path, 1).manifest)
    window = window_of(row, augmentations=(Augmentation(name="engine_colour", share=1),))
    target, once = read_window(window)
    np.testing.assert_array_equal(once, read_window(window)[1])
    other_target, other = read_window(replace(window, seed=2))
    np.testing.assert_array_equal(target, other_target)
    assert np.abs(once.astype(int) - other).mean() > 1


def test_an_augmentation_that_changes_the_shape_is_refused(tmp_path: Path) -> None:
    (row,) = read_manifest(pairs_in(tmp_path, 1).manifest)
    window = window_of(row, augmentations=(Augmentation(name="training_pairs:halve", share=1),))
    with pytest.raises(ConfigError, match=r"training_pairs:halve to give uint8 frames \[5, 32, 32, 3\]"):
        read_window(window)
