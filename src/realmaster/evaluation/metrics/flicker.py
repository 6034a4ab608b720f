"""Flicker: what changes between neighbouring frames when the camera's and the objects' motion is taken out.

Separate because it borrows the motion of the *input*: the output's own flow would explain its own boiling away.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, grey, shown_pair
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured
from realmaster.evaluation.metrics.render_motion import Step, render_steps
from realmaster.media.motion import can_flow, follow, registration, visible_in_both

_NOTHING = 1e-3  # levels of 255: below it the input stands still and a ratio to it says nothing


@dataclass(frozen=True)
class Flicker:
    """Mean absolute frame difference along the input's flow, in levels of 255, of the input and of the output."""

    reference_levels: float
    levels: float

    @property
    def ratio(self) -> float | None:
        """Output over input; absent where the input does not flicker at all."""
        return self.levels / self.reference_levels if self.reference_levels > _NOTHING else None


def flicker(reference: Frames, frames: Frames) -> Flicker | None:
    """Measure the flicker of a clip beside that of its input, averaged over pairs of neighbouring frames.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Absent with fewer than two frames, frames too small for optical flow,
    or no pixel visible in both frames of any pair (cuts only).
    """
    a, b = shown_pair(reference, frames)
    if len(a) < 2 or not can_flow(*a.shape[1:3]):
        return None
    pairs = [pair_flicker(*a[i : i + 2], *b[i : i + 2]) for i in range(len(a) - 1)]
    return mean_flicker([pair for pair in pairs if pair is not None])


def pair_flicker(
    reference: npt.NDArray[np.uint8],
    next_reference: npt.NDArray[np.uint8],
    frame: npt.NDArray[np.uint8],
    next_frame: npt.NDArray[np.uint8],
) -> Flicker | None:
    """Measure one pair of neighbouring frames: uint8 [H, W, 3] each; absent where the two show nothing in common.

    |next - warp(previous, flow of the input)|, mean over RGB and over the pixels that are not occluded.
    """
    start, end = grey(reference), grey(next_reference)
    forward, backward = registration(start, end), registration(end, start)
    visible = visible_in_both(forward, backward)
    if not visible.any():
        return None
    return Flicker(
        reference_levels=float(np.mean(np.abs(next_reference - follow(reference, backward))[visible])),
        levels=float(np.mean(np.abs(next_frame - follow(frame, backward))[visible])),
    )


def mean_flicker(pairs: list[Flicker]) -> Flicker | None:
    """Average pairs of frames into a clip, levels first and the ratio after; absent without any."""
    if not pairs:
        return None
    return Flicker(
        reference_levels=float(np.mean([pair.reference_levels for pair in pairs])),
        levels=float(np.mean([pair.levels for pair in pairs])),
    )


def _levels(clip: npt.NDArray[np.uint8], index: int, step: Step) -> float:
    """The clip's mean difference from a frame to the next along the render's flow; 0 where nothing is seen in both."""
    difference = np.abs(clip[index + 1] - follow(clip[index], step.backward))
    return float(np.mean(difference[step.visible])) if step.visible.any() else 0.0


def _measure(case: Case) -> Figure:
    levels = case.once_for_render(
        "flicker", lambda: [_levels(case.render, i, s) for i, s in enumerate(render_steps(case))]
    )
    pairs = [
        Flicker(of_render, _levels(case.output, index, step))
        for index, (step, of_render) in enumerate(zip(render_steps(case), levels, strict=True))
        if step.visible.any()
    ]
    found = mean_flicker(pairs)
    if found is None:
        return Figure.absent("frames are too small for optical flow, or show nothing in common")
    return measured(
        found.ratio, "the render does not flicker", levels=found.levels, reference_levels=found.reference_levels
    )


METRIC = Metric(
    "flicker",
    "flicker",
    "time",
    unit="× the render's",
    low=0.0,
    high=None,
    direction="lower",
    source="mean absolute difference of neighbouring frames along the render's flow, over the render's own",
    measure=lambda case, tools: _measure(case),
    digits=2,
    needs=("two frames",),
)
