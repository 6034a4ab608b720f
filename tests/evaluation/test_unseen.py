"""What comes and goes between the ends of a clip is measured apart from what an end shows."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.evaluation.metrics.metric import Case
from realmaster.evaluation.metrics.registry import METRICS
from realmaster.evaluation.metrics.unseen import masked_psnr, unseen_pixels
from realmaster.evaluation.tools import Tools

Frames = npt.NDArray[np.uint8]


def visited_wall(speed: int = 0) -> Frames:
    """A textured wall that slides; a textured box stands before it in the middle frames only."""
    rng = np.random.default_rng(1)

    def texture(height: int, width: int) -> Frames:
        noise = cv2.GaussianBlur(rng.uniform(0, 255, (height, width, 3)).astype(np.float32), (0, 0), 1.5)
        return np.clip(128 + 3 * (noise - 128), 0, 255).astype(np.uint8)

    wall, box = texture(72, 160), texture(30, 30)
    frames = np.stack([wall[:, speed * i : speed * i + 128] for i in range(5)])
    for frame in frames[1:4]:
        frame[20:50, 50:80] = box
    return frames


@pytest.mark.parametrize("speed", [0, 3])
def test_what_enters_in_between_is_unseen_and_the_rest_is_not(speed: int) -> None:
    unseen = unseen_pixels(visited_wall(speed))
    assert not unseen[0].any()
    assert not unseen[4].any()
    assert unseen[2, 24:46, 54:76].mean() > 0.5
    assert unseen[2, :, :40].mean() < 0.05


def test_a_still_clip_or_two_frames_have_nothing_unseen() -> None:
    still = np.repeat(visited_wall()[:1], 4, axis=0)
    assert not unseen_pixels(still).any()
    assert not unseen_pixels(visited_wall()[1:3]).any()
    assert not unseen_pixels(visited_wall()[:, :8, :8]).any(), "too small for optical flow"


def test_the_error_of_a_part_is_that_parts_alone() -> None:
    truth = np.full((2, 8, 8, 3), 100, np.uint8)
    output = truth.copy()
    output[:, :4] += 10
    mask = np.zeros((2, 8, 8), np.bool_)
    mask[:, :4] = True
    assert masked_psnr(output, truth, mask) == pytest.approx(20 * math.log10(255 / 10), abs=1e-4)
    assert masked_psnr(output, truth, ~mask) == math.inf
    assert masked_psnr(output, truth, np.zeros_like(mask)) is None


def test_a_method_that_knows_the_ends_only_is_worse_where_they_show_nothing() -> None:
    render = visited_wall()
    truth = 255 - render
    blind = np.repeat(truth[:1], 5, axis=0)  # the first frame's photograph, for ever
    blind = np.clip(blind.astype(np.int16) + 2, 0, 255).astype(np.uint8)
    case = Case(blind, render, truth)
    seen, unseen = (METRICS[f"psnr_{part}"].on(case, Tools()) for part in ("seen", "unseen"))
    assert seen.value is not None
    assert unseen.value is not None
    assert seen.value > unseen.value + 6
    assert 0.02 < unseen.details["unseen"] < 0.2
    still = Case(blind[:1].repeat(4, 0), render[:1].repeat(4, 0), truth[:1].repeat(4, 0))
    assert METRICS["psnr_unseen"].on(still, Tools()).reason == "both ends show all of it"
