"""Difference of two clips' motions: does the output move as the render moves?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, grey, shown_pair
from realmaster.evaluation.metrics.metric import Metric, measured
from realmaster.media.motion import can_flow, motion, textured, visible_in_both


def flow_difference(reference: Frames, frames: Frames) -> float | None:
    """Return the median end-point difference between two clips' optical flows, in pixels.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Each pair of neighbouring frames gives its median over the pixels
    where the reference's own flow can be trusted; the result is the median over pairs. Absent with fewer than two
    frames, frames too small for optical flow, or a reference without any flow to trust.
    """
    a, b = shown_pair(reference, frames)
    if len(a) < 2 or not can_flow(*a.shape[1:3]):
        return None
    pairs = [pair_flow_difference(*a[i : i + 2], *b[i : i + 2]) for i in range(len(a) - 1)]
    known = [pair for pair in pairs if pair is not None]
    return float(np.median(known)) if known else None


def pair_flow_difference(
    reference: npt.NDArray[np.uint8],
    next_reference: npt.NDArray[np.uint8],
    frame: npt.NDArray[np.uint8],
    next_frame: npt.NDArray[np.uint8],
) -> float | None:
    """Return the median end-point difference for one pair of neighbouring frames: uint8 [H, W, 3] each, pixels.

    Trusted is the flow of the reference where there is texture to follow, and going forth and back ends within a pixel
    of the start: on bare walls and in the sky it is a guess, which noise moves by most of a pixel (docs/evaluation.md).
    """
    start, end = grey(reference), grey(next_reference)
    wanted = motion(start, end)
    trusted = textured(start) & visible_in_both(motion(end, start), wanted)
    if not trusted.any():
        return None
    found = motion(grey(frame), grey(next_frame))
    return float(np.median(np.linalg.norm(wanted - found, axis=-1)[trusted]))


METRIC = Metric(
    "flow_difference",
    "flow difference",
    "motion",
    unit="px",
    low=0.0,
    high=None,
    direction="lower",
    source="median end-point difference of the DIS flows of render and output, where the render's can be trusted",
    measure=lambda case, tools: measured(
        flow_difference(case.render, case.output), "the render has no flow to trust, or frames are too small for one"
    ),
    needs=("two frames",),
)
