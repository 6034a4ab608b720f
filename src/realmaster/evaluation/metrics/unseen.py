"""What neither end of a clip shows: is a method as good there as on what could be seen before?

Separate from PSNR because it asks where, not how much. A pipeline that edits the first and the last frame has never
seen what comes and goes in between; a model that reads the whole render has. Which pixels these are is the render's
optical flow's to say, chained from frame to frame, forth and back, so that a second of motion is no obstacle to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, Plane, grey, shown_pair
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured
from realmaster.media.motion import can_flow, follow, registration, visible_in_both

if TYPE_CHECKING:
    from realmaster.evaluation.tools import Tools

Mask = npt.NDArray[np.bool_]  # [F, H, W]
_LEAST = 1e-3  # of all pixels: a part that is smaller says nothing


def unseen_pixels(render: npt.NDArray[np.uint8]) -> Mask:
    """Return the pixels that neither the first nor the last frame shows: uint8 [F, H, W, 3] to bool [F, H, W].

    None are found in frames too small for optical flow. What flow loses on the way counts as unseen.
    """
    if len(render) < 3 or not can_flow(*render.shape[1:3]):
        return np.zeros(render.shape[:3], np.bool_)
    planes = [grey(frame) for frame in render]
    return ~(_reached(planes) | _reached(planes[::-1])[::-1])


def masked_psnr(first: Frames, second: Frames, mask: Mask) -> float | None:
    """Return 10 log10(255² / MSE) over the pixels of a mask, all frames in one mean; None where the mask is empty.

    Frames [F, H, W, 3], uint8 or float in [0, 1]; mask bool [F, H, W]. Equal pixels give infinity.
    """
    a, b = shown_pair(first, second)
    if mask.mean() < _LEAST:
        return None
    error = float(np.mean((a[mask].astype(np.float32) - b[mask].astype(np.float32)) ** 2, dtype=np.float64))
    return 10.0 * math.log10(255.0**2 / error) if error > 0.0 else math.inf


def _reached(planes: Sequence[Plane]) -> Mask:
    """Say which pixels of each frame the first frame shows too: a pixel is reached while every step finds it."""
    reached = [np.ones(planes[0].shape, np.bool_)]
    for start, end in pairwise(planes):
        forward, backward = registration(start, end), registration(end, start)
        before = follow(reached[-1].astype(np.float32), backward) > 0.5
        reached.append(before & visible_in_both(forward, backward))
    return np.stack(reached)


def _measure(*, seen: bool) -> Callable[[Case, Tools], Figure]:
    def measure(case: Case, tools: Tools) -> Figure:
        if case.truth is None:
            return measured(None)
        unseen: Mask = case.once_for_render("unseen", lambda: unseen_pixels(case.render))
        share = float(unseen.mean())
        value = masked_psnr(case.output, case.truth, ~unseen if seen else unseen)
        return measured(value, "both ends show all of it" if not seen else "both ends show none of it", unseen=share)

    return measure


METRICS = tuple(
    Metric(
        name,
        title,
        "ground truth",
        unit="dB",
        low=0.0,
        high=None,
        direction="higher",
        source=f"PSNR over the pixels that {which} (chained DIS flow of the render), all frames in one mean",
        measure=_measure(seen=seen),
        digits=2,
        needs=("truth", "two frames"),
    )
    for name, title, which, seen in (
        ("psnr_seen", "PSNR, seen at an end", "the first or the last frame shows too", True),
        ("psnr_unseen", "PSNR, unseen at both ends", "neither the first nor the last frame shows", False),
    )
)
