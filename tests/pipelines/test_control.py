"""Control videos: dark lines on white, steady, and nothing taken for depth that is none."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest

from realmaster.errors import ConfigError
from realmaster.pipelines.control import CONTROL_KINDS, make_control
from sample_clips import scene


def textured(num_frames: int, *, step: float = 1.0, light: float = 0.0) -> np.ndarray:
    """A soft-edged picture that slides `step` pixels a frame, with light that changes by `light` levels a frame."""
    generator = np.random.default_rng(0)
    world = cv2.GaussianBlur(generator.integers(0, 256, (72, 200), dtype=np.uint8), (0, 0), 4)
    world = cv2.normalize(world, None, 30, 200, cv2.NORM_MINMAX)
    frames = []
    for index in range(num_frames):
        moved = cv2.warpAffine(world, np.float32([[1, 0, -step * index], [0, 1, 0]]), (128, 72))
        noise = generator.normal(0, 1.5, moved.shape)
        frames.append(np.clip(moved + light * index + noise, 0, 255).astype(np.uint8))
    return np.repeat(np.stack(frames)[..., None], 3, axis=3)


@pytest.mark.parametrize("kind", ["canny", "soft", "grey"])
def test_a_control_has_the_clips_size_and_no_colour(kind: str) -> None:
    frames = scene(4, 96, 64)
    control = make_control(frames, kind)  # type: ignore[arg-type] # a parameter of the test
    assert control.shape == frames.shape
    assert control.dtype == np.uint8
    assert (control == control[..., :1]).all()
    assert np.array_equal(control, make_control(frames, kind))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ["canny", "soft"])
def test_lines_are_dark_on_white_and_where_the_edges_are(kind: str) -> None:
    frames = np.full((2, 64, 96, 3), 60, np.uint8)
    frames[:, 20:44, 30:60] = 200
    control = make_control(frames, kind)[1, ..., 0]  # type: ignore[arg-type]
    assert np.mean(control > 250) > 0.7
    edges = np.zeros((64, 96), np.uint8)
    cv2.rectangle(edges, (30, 20), (59, 43), 1, 1)
    near = cv2.dilate(edges, np.ones((7, 7), np.uint8)) > 0
    assert (control[~near] == 255).all()
    assert control[20:44, 27:33].min(axis=1).max() == 0, "a line on every row of the left side"


def test_canny_lines_are_lines_and_nothing_between() -> None:
    assert set(np.unique(make_control(textured(2), "canny"))) == {0, 255}


def test_steadied_lines_boil_less_than_each_frames_own() -> None:
    """Laid on each other along the known motion, steadied lines differ less from frame to frame."""
    frames = textured(9)

    def change(lines: np.ndarray) -> float:
        dark = lines[..., 0] == 0
        lost = [
            np.mean(~(cv2.dilate(b.astype(np.uint8), np.ones((3, 3))) > 0)[:, :-1][a[:, 1:]])
            for a, b in pairwise(dark[2:])
        ]
        return float(np.mean(lost))

    alone = np.concatenate([make_control(frame[None], "canny") for frame in frames])
    assert change(make_control(frames, "canny")) < 0.8 * change(alone)


def test_light_that_changes_leaves_the_lines_alone() -> None:
    still = make_control(textured(6, step=0), "canny")[5, ..., 0] == 0
    brighter = make_control(textured(6, step=0, light=4), "canny")[5, ..., 0] == 0
    both = cv2.dilate(still.astype(np.uint8), np.ones((3, 3))) > 0
    assert np.mean(both[brighter]) > 0.93


def test_a_flat_clip_has_no_lines() -> None:
    generator = np.random.default_rng(0)
    frames = np.clip(120 + generator.normal(0, 1, (3, 64, 96, 3)), 0, 255).astype(np.uint8)
    assert (make_control(frames, "canny") == 255).all()


def test_depth_is_bright_where_it_is_near_and_sky_is_black() -> None:
    depth = np.tile(np.linspace(2, 50, 96, dtype=np.float32), (3, 64, 1))
    depth[:, :8] = np.inf
    control = make_control(scene(3, 96, 64), "depth", depth)[..., 0]
    assert (control[:, :8] == 0).all()
    middle = control[0, 32].astype(int)
    assert middle[0] == 255
    assert (np.diff(middle) <= 0).all()
    assert middle[-1] < 10


@pytest.mark.parametrize("depth", [None, np.ones((2, 64, 96), np.float32), np.zeros((3, 64, 96), np.float32)])
def test_depth_that_is_not_there_is_refused(depth: np.ndarray | None) -> None:
    with pytest.raises(ConfigError, match="choose"):
        make_control(scene(3, 96, 64), "depth", depth)


def test_an_unknown_control_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=", ".join(CONTROL_KINDS)):
        make_control(scene(1, 96, 64), "edges")  # type: ignore[arg-type] # what a config could say
