"""VBench's temporal flickering: how much neighbouring frames differ, motion included.

Separate from our `flicker`, which takes the motion out: this is the paper's figure, and meant for static clips.
"""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np

from realmaster.evaluation.metrics.frames import Frames, shown
from realmaster.evaluation.metrics.metric import Metric, measured
from realmaster.evaluation.metrics.static import if_static


def temporal_flickering(frames: Frames) -> float | None:
    """Return (255 - mean |f_t+1 - f_t|) / 255 over RGB, pixels and pairs; absent with fewer than two frames.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. VBench, `temporal_flickering.py`: 1 is perfectly still.
    """
    clip = shown(frames)
    if len(clip) < 2:
        return None
    errors = [float(np.mean(cv2.absdiff(start, end))) for start, end in pairwise(clip)]
    return (255.0 - float(np.mean(errors))) / 255.0


_SOURCE = "VBench: (255 - mean absolute difference of neighbouring frames) / 255"
METRICS = (
    Metric(
        "temporal_flickering",
        "temporal flickering",
        "time",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source=_SOURCE,
        measure=lambda case, tools: measured(temporal_flickering(case.output)),
        digits=4,
        needs=("two frames",),
    ),
    Metric(
        "temporal_flickering_static",
        "temporal flickering, static clips",
        "time",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source=f"{_SOURCE}; only clips whose render passes VBench's static filter (flow by DIS)",
        measure=lambda case, tools: if_static(case, measured(temporal_flickering(case.output))),
        digits=4,
        needs=("two frames",),
    ),
)
