"""How a render's frames lie on each other: found once, for all methods and for both metrics that want it.

Separate because flicker and warping error lay frames on each other along the same flow, which is most of their time. A
step keeps the flow back and two masks: 7 bytes a pixel, 220 MB for 81 frames of 832 x 480.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import grey
from realmaster.evaluation.metrics.metric import Case
from realmaster.media.motion import can_flow, follow, registration, visible_in_both

Flow = npt.NDArray[np.float32]  # [H, W, 2], pixels
Mask = npt.NDArray[np.bool_]  # [H, W]


@dataclass(frozen=True)
class Step:
    """Two neighbouring frames: the flow from the second back to the first, and where it holds."""

    backward: Flow
    visible: Mask  # the first frame shows the pixel too: forth and back end within a pixel
    smooth: Mask  # by the rules of Ruder et al. (2016): not hidden, and no edge of motion


def steps_of(frames: npt.NDArray[np.uint8]) -> list[Step]:
    """Return the steps of a clip: uint8 [F, H, W, 3] to F - 1 of them; none for frames too small for optical flow."""
    if not can_flow(*frames.shape[1:3]):
        return []
    planes = [grey(frame) for frame in frames]
    return [_step(start, end) for start, end in pairwise(planes)]


def render_steps(case: Case) -> list[Step]:
    """Return the steps of a case's render."""
    steps: list[Step] = case.once_for_render("steps", lambda: steps_of(case.render))
    return steps


def hidden(forward: Flow, backward: Flow) -> Mask:
    """Return the pixels of the second frame that the first does not show, or where its motion has an edge: [H, W].

    The rules of Ruder et al. (2016): |w' + w|² > 0.01 (|w'|² + |w|²) + 0.5, and |grad w|² > 0.01 |w|² + 0.002; and
    pixels that come from outside the frame.
    """
    height, width = backward.shape[:2]
    there = follow(forward, backward)
    length = np.sum(backward**2, axis=-1)
    occluded = np.sum((there + backward) ** 2, axis=-1) > 0.01 * (np.sum(there**2, axis=-1) + length) + 0.5
    dy, dx = np.gradient(backward, axis=(0, 1))
    edge = np.sum(dx**2 + dy**2, axis=-1) > 0.01 * length + 0.002
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + backward[..., 0], rows + backward[..., 1]
    outside = (x < 0) | (x > width - 1) | (y < 0) | (y > height - 1)
    return np.asarray(occluded | edge | outside, np.bool_)


def _step(start: npt.NDArray[np.uint8], end: npt.NDArray[np.uint8]) -> Step:
    forward, backward = registration(start, end), registration(end, start)
    return Step(backward, visible_in_both(forward, backward), ~hidden(forward, backward))
