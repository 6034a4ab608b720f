"""Structural similarity (Wang et al., 2004), written with OpenCV.

scikit-image would be a heavy dependency for this one formula; a test holds the two together. Separate so that the
window, border and grey are stated once.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, Plane, grey, shown_pair
from realmaster.evaluation.metrics.metric import Metric, measured

_SIDE, _SIGMA = 11, 1.5
_C1, _C2 = (0.01 * 255.0) ** 2, (0.03 * 255.0) ** 2


def ssim(first: Frames, second: Frames) -> float:
    """Return the mean over frames and pixels of SSIM on luma.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Window: Gaussian 11 x 11, sigma 1.5, moments of the population (no
    Bessel correction). The mean runs over the whole frame, its border mirrored; scikit-image leaves a border of five
    pixels out, and that alone makes its figures lower by about 0.005.
    """
    a, b = shown_pair(first, second)
    return float(np.mean([ssim_map(grey(x), grey(y)).mean() for x, y in zip(a, b, strict=True)]))


def ssim_map(first: Plane, second: Plane) -> npt.NDArray[np.float64]:
    """Return SSIM at each pixel of two grey frames: uint8 [H, W] each, float64 [H, W]."""
    x, y = first.astype(np.float64), second.astype(np.float64)
    mean_x, mean_y = _window(x), _window(y)
    variance_x = _window(x * x) - mean_x * mean_x
    variance_y = _window(y * y) - mean_y * mean_y
    covariance = _window(x * y) - mean_x * mean_y
    return ((2 * mean_x * mean_y + _C1) * (2 * covariance + _C2)) / (
        (mean_x * mean_x + mean_y * mean_y + _C1) * (variance_x + variance_y + _C2)
    )


def _window(plane: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.asarray(cv2.GaussianBlur(plane, (_SIDE, _SIDE), _SIGMA), dtype=np.float64)


METRIC = Metric(
    "ssim",
    "SSIM",
    "ground truth",
    unit="",
    low=-1.0,
    high=1.0,
    direction="higher",
    source="Wang et al., 2004, on luma, Gaussian window 11 × 11, sigma 1.5, mean over the whole frame",
    measure=lambda case, tools: measured(None if case.truth is None else ssim(case.output, case.truth)),
    needs=("truth",),
)
