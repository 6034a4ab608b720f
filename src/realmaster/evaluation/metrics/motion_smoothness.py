"""VBench's motion smoothness: leave every second frame out, interpolate it from its neighbours, compare.

Separate from the interpolators; the metric exists once for each of them, in columns of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import cv2
import numpy as np

from realmaster.errors import NumericalError
from realmaster.evaluation.metrics.frames import Frames, shown
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured
from realmaster.evaluation.metrics.static import if_static
from realmaster.media.motion import can_flow

if TYPE_CHECKING:
    from realmaster.evaluation.interpolation import Interpolator
    from realmaster.evaluation.tools import Tools


def motion_smoothness(frames: Frames, interpolator: Interpolator) -> float | None:
    """Return (255 - mean |f - interpolated f|) / 255 over the odd frames that have two neighbours; absent without any.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. VBench, `motion_smoothness.py`: 1 is what the prior expects.
    """
    clip = shown(frames)
    errors = [
        float(np.mean(cv2.absdiff(clip[index], interpolator.middle(clip[index - 1], clip[index + 1]))))
        for index in range(1, len(clip) - 1, 2)
    ]
    return (255.0 - float(np.mean(errors))) / 255.0 if errors else None


def _by_flow(case: Case, tools: Tools) -> Figure:
    if not can_flow(*case.output.shape[1:3]):
        return Figure.absent("frames are too small for optical flow")
    return case.once("smoothness_flow", lambda: _measure(case, tools.flow_interpolator()))


def _by_amt(case: Case, tools: Tools) -> Figure:
    return case.once("smoothness_amt", lambda: _measure(case, tools.amt()))


def _measure(case: Case, interpolator: Interpolator) -> Figure:
    try:
        value = motion_smoothness(case.output, interpolator)
    except NumericalError as error:
        return Figure.absent(str(error), is_final=False)
    return measured(value, "fewer than three frames", interpolator=interpolator.name)


def _pair(name: str, title: str, prior: str, measure: Callable[[Case, Tools], Figure]) -> tuple[Metric, Metric]:
    source = f"VBench: every second frame interpolated by {prior}, (255 - mean absolute error) / 255"
    is_amt = name.endswith("amt")

    def metric(name: str, title: str, source: str, measure: Callable[[Case, Tools], Figure]) -> Metric:
        return Metric(
            name,
            title,
            "time",
            unit="",
            low=0.0,
            high=1.0,
            direction="higher",
            source=source,
            measure=measure,
            digits=4,
            needs=("two frames",),
            lacking=lambda tools: tools.lacking("amt") if is_amt else None,
            made_with=lambda tools: tools.identity("amt") if is_amt else "DIS flow",
        )

    return (
        metric(name, title, source, measure),
        metric(
            f"{name}_static",
            f"{title}, static clips",
            f"{source}; only clips whose render passes VBench's static filter (flow by DIS)",
            lambda case, tools: if_static(case, measure(case, tools)),
        ),
    )


METRICS = (
    *_pair("motion_smoothness_amt", "motion smoothness (AMT-S)", "AMT-S", _by_amt),
    *_pair("motion_smoothness_flow", "motion smoothness (DIS flow)", "DIS optical flow, not AMT-S", _by_flow),
)
