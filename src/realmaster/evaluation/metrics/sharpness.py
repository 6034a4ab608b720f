"""Sharpness as gradient energy. Separate because PSNR rewards blur, and this is the figure that catches it."""

from __future__ import annotations

import cv2
import numpy as np

from realmaster.evaluation.metrics.frames import Frames, grey, shown
from realmaster.evaluation.metrics.metric import Metric, measured


def gradient_energy(frames: Frames) -> float:
    """Return the mean squared Sobel gradient (3 x 3) of the luma, in levels squared per pixel squared.

    Frames [F, H, W, 3], uint8 or float in [0, 1].
    """
    energies = []
    for frame in shown(frames):
        luma = grey(frame)
        # the 3 x 3 Sobel kernel sums to 8 times a difference over one pixel
        dx = cv2.Sobel(luma, cv2.CV_32F, 1, 0) / 8.0
        dy = cv2.Sobel(luma, cv2.CV_32F, 0, 1) / 8.0
        energies.append(float(np.mean(dx * dx + dy * dy, dtype=np.float64)))
    return float(np.mean(energies))


def sharpness(frames: Frames, truth: Frames) -> float | None:
    """Return the gradient energy of a clip as a ratio to the truth's; absent where the truth is flat."""
    reference = gradient_energy(truth)
    return gradient_energy(frames) / reference if reference > 0.0 else None


METRIC = Metric(
    "sharpness",
    "sharpness",
    "ground truth",
    unit="× the truth's",
    low=0.0,
    high=None,
    direction="neither",  # 1 is right; above is grain or ringing, below is blur
    source="mean squared Sobel gradient of luma, over the truth's",
    measure=lambda case, tools: measured(
        None if case.truth is None else sharpness(case.output, case.truth), "the truth is flat"
    ),
    digits=2,
    needs=("truth",),
)
