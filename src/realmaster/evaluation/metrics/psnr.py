"""Peak signal-to-noise ratio: how far two clips are apart, pixel by pixel.

Separate so that its averaging is stated once.
"""

from __future__ import annotations

import math

import numpy as np

from realmaster.evaluation.metrics.frames import Frames, shown_pair
from realmaster.evaluation.metrics.metric import Metric, measured


def psnr(first: Frames, second: Frames) -> float:
    """Return the mean over frames of each frame's PSNR in dB: 10 log10(255^2 / MSE), MSE over the RGB pixels.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Equal frames give infinity.
    """
    a, b = shown_pair(first, second)
    per_frame = []
    for x, y in zip(a, b, strict=True):
        error = float(np.mean((x.astype(np.float32) - y.astype(np.float32)) ** 2, dtype=np.float64))
        per_frame.append(10.0 * math.log10(255.0**2 / error) if error > 0.0 else math.inf)
    return float(np.mean(per_frame))


METRIC = Metric(
    "psnr",
    "PSNR",
    "ground truth",
    unit="dB",
    low=0.0,
    high=None,
    direction="higher",
    source="10 log10(255² / MSE) over RGB, per frame, then the mean over frames",
    measure=lambda case, tools: measured(None if case.truth is None else psnr(case.output, case.truth)),
    digits=2,
    needs=("truth",),
)
