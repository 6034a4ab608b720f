"""Warping error: the output laid on its next frame along the render's motion, hidden pixels left out.

Separate from the flicker, which is a ratio to the render's own: this is the absolute figure of the literature (Lai et
al., Learning Blind Video Temporal Consistency, 2018), with DIS flow in the place of FlowNet2.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, grey, shown_pair
from realmaster.evaluation.metrics.metric import Case, Metric, measured
from realmaster.media.motion import can_flow, follow, registration

Flow = npt.NDArray[np.float32]
Step = tuple[Flow, npt.NDArray[np.bool_]]  # flow from a frame back to the one before, and where it holds
_REASON = "frames are too small for optical flow, or show nothing in common"


def warping_error(reference: Frames, frames: Frames, steps: list[Step] | None = None) -> float | None:
    """Return the mean squared difference of each frame to the previous one laid on it, colours in [0, 1].

    Frames [F, H, W, 3], uint8 or float in [0, 1]. The flow is the reference's; per pair of frames the mean over the
    pixels that are not hidden, squares summed over RGB as in the paper; then the mean over pairs. Absent with fewer
    than two frames or frames too small for optical flow. `steps` are those of the reference, where they are known.
    """
    a, b = shown_pair(reference, frames)
    if steps is None:
        steps = steps_of(a)
    errors = []
    for index, (backward, holds) in enumerate(steps):
        if holds.any():
            moved = follow(b[index], backward) / 255.0
            errors.append(float(np.mean(np.sum((b[index + 1] / 255.0 - moved) ** 2, axis=-1)[holds])))
    return float(np.mean(errors)) if errors else None


def steps_of(reference: npt.NDArray[np.uint8]) -> list[Step]:
    """Return flow and visibility of each pair of neighbouring frames: uint8 [F, H, W, 3] to F - 1 steps."""
    if not can_flow(*reference.shape[1:3]):
        return []
    planes = [grey(frame) for frame in reference]
    return [_step(start, end) for start, end in pairwise(planes)]


def _step(start: Any, end: Any) -> Step:
    forward, backward = registration(start, end), registration(end, start)
    return backward, ~hidden(forward, backward)


def hidden(forward: Flow, backward: Flow) -> npt.NDArray[np.bool_]:
    """Return the pixels of the second frame that the first does not show, or where its motion has an edge: [H, W].

    The rules of Ruder et al. (2016): |w' + w|² > 0.01 (|w'|² + |w|²) + 0.5, and |grad w|² > 0.01 |w|² + 0.002; and
    pixels that come from outside the frame.
    """
    height, width = backward.shape[:2]
    there = follow(forward, backward)
    miss = np.sum((there + backward) ** 2, axis=-1)
    occluded = miss > 0.01 * (np.sum(there**2, axis=-1) + np.sum(backward**2, axis=-1)) + 0.5
    dy, dx = np.gradient(backward, axis=(0, 1))
    edge = np.sum(dx**2 + dy**2, axis=-1) > 0.01 * np.sum(backward**2, axis=-1) + 0.002
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + backward[..., 0], rows + backward[..., 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return np.asarray(occluded | edge | outside, np.bool_)


def render_steps(case: Case) -> list[Step]:
    """Return the steps of a case's render, found once for all methods."""
    steps: list[Step] = case.once_for_render("steps", lambda: steps_of(case.render))
    return steps


METRIC = Metric(
    "warping_error",
    "warping error",
    "motion",
    unit="× 10⁻³",
    low=0.0,
    high=None,
    direction="lower",
    source="Lai et al., 2018: squared difference along the render's flow (DIS), occlusions and motion edges left out",
    measure=lambda case, tools: measured(
        _thousandths(warping_error(case.render, case.output, render_steps(case))), _REASON
    ),
    digits=2,
    needs=("two frames",),
)


def _thousandths(value: float | None) -> float | None:
    return None if value is None else 1000.0 * value
