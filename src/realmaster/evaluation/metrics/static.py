"""Does a clip stand still? VBench's static filter, which its temporal figures are meant to be read after.

Separate because two metrics ask. The rule and its constants are VBench's (`static_filter.py`); the flow is DIS where
VBench runs RAFT, and the *render* is asked, not the output, so that every method is scored on the same clips and a
method that boils cannot leave the table by boiling.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import grey
from realmaster.evaluation.metrics.metric import Case, Figure
from realmaster.media.motion import can_flow, motion

_FASTEST_SHARE = 0.02  # of the pixels decide
NOT_STATIC = "the render moves (static filter)"


def is_static(frames: npt.NDArray[np.uint8]) -> bool:
    """Tell whether a clip stands still: uint8 [F, H, W, 3].

    The fastest 2 % of the pixels move by more than 3 px a frame at a height of 256 in few pairs of frames only (2 of
    16), and the last frame is near the first. Frames too small for optical flow are taken to move.
    """
    if not can_flow(*frames.shape[1:3]):
        return False
    planes = [grey(frame) for frame in frames]
    threshold, allowed = 3.0 * min(frames.shape[1:3]) / 256.0, round(2 * len(frames) / 16.0)
    speeds = [_speed(start, end) for start, end in pairwise(planes)]
    if sum(speed > threshold for speed in speeds) > allowed:
        return False
    far = max(_speed(planes[0], planes[-1]), _speed(planes[-1], planes[0]))
    return far <= threshold * max(allowed, 1) * 2


def _speed(start: npt.NDArray[np.uint8], end: npt.NDArray[np.uint8]) -> float:
    lengths = np.sort(np.linalg.norm(motion(start, end), axis=-1).ravel())
    return float(np.mean(lengths[-max(1, int(lengths.size * _FASTEST_SHARE)) :]))


def if_static(case: Case, figure: Figure) -> Figure:
    """Keep a figure where the render stands still, else say that it moves."""
    still = case.once_for_render("is_static", lambda: is_static(case.render))
    return figure if still else Figure.absent(NOT_STATIC)
