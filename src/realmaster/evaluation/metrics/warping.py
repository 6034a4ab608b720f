"""Warping error: the output laid on its next frame along the render's motion, hidden pixels left out.

Separate from the flicker, which is a ratio to the render's own: this is the absolute figure of the literature (Lai et
al., Learning Blind Video Temporal Consistency, 2018), with DIS flow in the place of FlowNet2.
"""

from __future__ import annotations

import numpy as np

from realmaster.evaluation.metrics.frames import Frames, shown_pair
from realmaster.evaluation.metrics.metric import Metric, measured
from realmaster.evaluation.metrics.render_motion import Step, render_steps, steps_of
from realmaster.media.motion import follow

_REASON = "frames are too small for optical flow, or show nothing in common"


def warping_error(reference: Frames, frames: Frames, steps: list[Step] | None = None) -> float | None:
    """Return the mean squared difference of each frame to the previous one laid on it, colours in [0, 1].

    Frames [F, H, W, 3], uint8 or float in [0, 1]. The flow is the reference's; per pair of frames the mean over the
    pixels that are not hidden, squares summed over RGB as in the paper; then the mean over pairs. Absent with fewer
    than two frames or frames too small for optical flow. `steps` are those of the reference, where they are known.
    """
    a, b = shown_pair(reference, frames)
    errors = []
    for index, step in enumerate(steps if steps is not None else steps_of(a)):
        if step.smooth.any():
            error = (b[index + 1] - follow(b[index], step.backward)) / 255.0
            errors.append(float(np.mean(np.sum(error * error, axis=-1)[step.smooth])))
    return float(np.mean(errors)) if errors else None


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
