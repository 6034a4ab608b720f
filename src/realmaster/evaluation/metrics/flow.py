"""Difference of two clips' motions: does the output move as the render moves?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, grey, shown_pair
from realmaster.evaluation.metrics.motion import can_flow, motion


def flow_difference(reference: Frames, frames: Frames) -> float | None:
    """Return the median end-point difference between two clips' optical flows, in pixels.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Each pair of neighbouring frames gives its median over all pixels;
    the result is the median over pairs. Absent with fewer than two frames, or frames too small for optical flow.
    """
    a, b = shown_pair(reference, frames)
    if len(a) < 2 or not can_flow(*a.shape[1:3]):
        return None
    return float(np.median([pair_flow_difference(*a[i : i + 2], *b[i : i + 2]) for i in range(len(a) - 1)]))


def pair_flow_difference(
    reference: npt.NDArray[np.uint8],
    next_reference: npt.NDArray[np.uint8],
    frame: npt.NDArray[np.uint8],
    next_frame: npt.NDArray[np.uint8],
) -> float:
    """Return the median end-point difference for one pair of neighbouring frames: uint8 [H, W, 3] each, pixels."""
    wanted = motion(grey(reference), grey(next_reference))
    found = motion(grey(frame), grey(next_frame))
    return float(np.median(np.linalg.norm(wanted - found, axis=-1)))
