"""The alignment of files: what passes, what fails, and what cannot be said."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import MediaError
from realmaster.evaluation.alignment import Figures, measure_alignment
from realmaster.evaluation.metrics import Flicker

Frames = npt.NDArray[np.uint8]
MakeScene = Callable[..., Frames]
Save = Callable[..., Path]


@pytest.fixture
def render(save: Save, moving: Frames) -> Path:
    return save("render.mkv", moving)


def graded(frames: Frames) -> Frames:
    return np.clip(np.rint(frames * 0.7 + np.array([30, 15, 5])), 0, 255).astype(np.uint8)


def test_a_change_of_light_alone_passes_and_its_colour_is_told(render: Path, moving: Frames, save: Save) -> None:
    alignment = measure_alignment(render, save("out.mkv", graded(moving)))
    assert alignment.passed is True
    assert alignment.figures.edge_recall > 0.9
    assert alignment.figures.flow_difference < 0.2
    assert alignment.figures.flicker_ratio < 1.0
    assert alignment.figures.colour_change > 5.0
    assert (alignment.num_frames, alignment.num_pairs) == (5, 4)
    assert alignment.warnings == ()


def test_lost_shapes_fail_by_their_edges(render: Path, moving: Frames, save: Save) -> None:
    output = np.full_like(moving, 90)
    output[:, 30:40, 30:40] = 160
    alignment = measure_alignment(render, save("out.mkv", output))
    assert alignment.figures.keeps_edges is False
    assert alignment.passed is False


def test_another_motion_fails_by_its_flow(render: Path, make_scene: MakeScene, save: Save) -> None:
    alignment = measure_alignment(render, save("out.mkv", make_scene(speed=4.0)))
    assert alignment.figures.keeps_motion is False


def test_pumping_light_fails_by_its_flicker(render: Path, moving: Frames, save: Save) -> None:
    output = moving.copy()
    output[1::2] = np.clip(output[1::2] * 0.8, 0, 255)
    alignment = measure_alignment(render, save("out.mkv", output))
    assert alignment.figures.is_steady is False
    assert alignment.figures.keeps_motion is True


def test_flicker_that_nobody_sees_on_a_still_input_passes(still: Frames, save: Save) -> None:
    output = still.copy()
    output[::2, ::8] += 1
    render = save("render.mkv", still)
    alignment = measure_alignment(render, save("out.mkv", output))
    assert alignment.figures.flicker_ratio is None
    assert alignment.figures.is_steady is True


def test_one_frame_has_edges_and_colour_but_no_motion_or_flicker(render: Path, moving: Frames, save: Save) -> None:
    render = save("one.mkv", moving[:1])
    alignment = measure_alignment(render, save("out.mkv", moving[:1]))
    assert alignment.figures.edge_recall == 1.0
    assert alignment.figures.flow_difference is None
    assert alignment.figures.flicker is None
    assert alignment.figures.keeps_motion is None
    assert alignment.passed is True


def test_what_is_unknown_is_neither_passed_nor_failed() -> None:
    unknown = Figures(None, None, None, None)
    assert (unknown.keeps_edges, unknown.keeps_motion, unknown.is_steady) == (None, None, None)
    assert Figures(None, None, Flicker(0.0, 3.0), None).is_steady is None


def test_a_long_clip_is_sampled_from_its_first_to_its_last_second(make_scene: MakeScene, save: Save) -> None:
    clip = save("long.mkv", make_scene(num_frames=41, height=40, width=64, speed=0.5), rate=8)
    alignment = measure_alignment(clip, clip, max_pairs=6)
    assert (alignment.num_frames, alignment.num_pairs) == (41, 6)
    assert alignment.segments[0].start_seconds == 0.0
    assert alignment.segments[-1].end_seconds == pytest.approx(5.0, abs=0.2)
    starts = [segment.start_seconds for segment in alignment.segments]
    assert starts == sorted(starts)


def test_memory_does_not_grow_with_length(make_scene: MakeScene, save: Save) -> None:
    peaks = []
    for repeats in (1, 12):
        clip = save(f"{repeats}.mkv", np.tile(make_scene(num_frames=12, height=96, width=160), (repeats, 1, 1, 1)))
        tracemalloc.start()
        measure_alignment(clip, clip, max_pairs=4)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]


def test_a_spoilt_second_shows_in_its_segment_only(make_scene: MakeScene, save: Save) -> None:
    frames = make_scene(num_frames=24, height=48, width=64)
    output = frames.copy()
    output[8:16] = 100
    alignment = measure_alignment(save("render.mkv", frames, rate=8), save("out.mkv", output, rate=8))
    recalls = [segment.figures.edge_recall for segment in alignment.segments]
    assert recalls[0] > 0.8
    assert recalls[1] < 0.3
    assert recalls[2] == 1.0


def test_the_output_is_compared_with_the_stretch_it_was_made_from(make_scene: MakeScene, save: Save) -> None:
    frames = make_scene(num_frames=16, speed=3.0)
    render = save("render.mkv", frames, rate=8)
    output = save("out.mkv", frames[8:12], rate=8)
    right = measure_alignment(render, output, start_seconds=1.0, duration_seconds=0.5)
    assert right.figures.colour_change == 0.0
    assert right.warnings == ()
    shifted = measure_alignment(render, output)
    assert shifted.figures.edge_recall < 0.9
    assert "the input goes on" in shifted.warnings[0]


def test_an_output_at_twice_the_rate_is_compared_with_repeated_frames(make_scene: MakeScene, save: Save) -> None:
    frames = make_scene(num_frames=6, speed=3.0)
    render = save("render.mkv", frames, rate=8)
    output = save("out.mkv", np.repeat(frames, 2, axis=0), rate=16)
    alignment = measure_alignment(render, output)
    assert alignment.num_frames == 12
    assert alignment.figures.colour_change == 0.0


def test_an_output_of_another_size_or_length_is_compared_with_a_warning(
    render: Path, moving: Frames, save: Save
) -> None:
    output = save("out.mkv", np.concatenate([moving, moving])[:, ::2, ::2])
    alignment = measure_alignment(render, output)
    assert "64x36" in alignment.warnings[0]
    assert "goes on after the input's 5 frames" in alignment.warnings[1]
    assert (alignment.width, alignment.height) == (128, 72)


def test_large_frames_are_measured_at_a_bounded_size(save: Save) -> None:
    frames = np.zeros((2, 900, 1600, 3), np.uint8)
    frames[:, 200:500, 300:700] = 200
    clip = save("large.mkv", frames)
    alignment = measure_alignment(clip, clip)
    assert alignment.width * alignment.height <= 832 * 480 * 1.01
    assert alignment.width / alignment.height == pytest.approx(16 / 9, rel=0.01)
    assert alignment.figures.edge_recall == 1.0


def test_frames_as_images_are_compared_at_the_input_rate(moving: Frames, save: Save, tmp_path: Path) -> None:
    from realmaster.media.writer import ClipWriter
    from realmaster.types import ClipInfo

    with ClipWriter(tmp_path / "out", ClipInfo(128, 72, Fraction(25)), codec="images") as writer:
        writer.write(moving)
    alignment = measure_alignment(save("render.mkv", moving, rate=25), tmp_path / "out")
    assert (alignment.num_frames, alignment.figures.colour_change) == (5, 0.0)


def test_a_missing_output_is_refused(render: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="nowhere"):
        measure_alignment(render, tmp_path / "nowhere.mp4")
