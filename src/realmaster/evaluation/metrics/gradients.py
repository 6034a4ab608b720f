"""Gradients of two clips compared: as strong as the truth's, and in the direction of the render's.

Two figures in one file because they share the gradients. Strength is compared with the truth only: a photograph of the
render has other contrasts. The direction of an edge stays, whatever the light does, so it is compared with the render.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, grey, shown_pair
from realmaster.evaluation.metrics.metric import Metric, measured

Array = npt.NDArray[np.float32]
_STABILITY = 170.0  # of the paper, for levels of 255
_FLOOR = 2.0  # levels a pixel: weaker gradients are grain


def gradient_similarity(truth: Frames, frames: Frames) -> float:
    """Return the mean over pixels and frames of (2 g t + c) / (g² + t² + c), g and t gradient magnitudes, c = 170.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Gradient magnitude similarity (Xue et al., 2013): luma halved by an
    average of 2 x 2, Prewitt gradients; the mean is taken, where GMSD takes the deviation.
    """
    a, b = shown_pair(truth, frames)
    kernel = np.array([[1, 0, -1]] * 3, np.float32) / 3.0
    similarities = []
    for x, y in zip(a, b, strict=True):
        t, g = (np.hypot(*(cv2.filter2D(_halved(frame), -1, k) for k in (kernel, kernel.T))) for frame in (x, y))
        similarities.append(float(np.mean((2 * g * t + _STABILITY) / (g * g + t * t + _STABILITY))))
    return float(np.mean(similarities))


def gradient_agreement(reference: Frames, frames: Frames) -> float | None:
    """Return how far the gradients of a clip point along those of its reference: 1 everywhere, 2 / pi at random.

    |cos| of the angle between the Sobel gradients of luma, weighted by the reference's magnitude, over the pixels where
    both have one above two levels a pixel; the sign is left out because light may turn a dark edge bright. Absent where
    no pixel has both.
    """
    a, b = shown_pair(reference, frames)
    weights = total = 0.0
    for x, y in zip(a, b, strict=True):
        (rx, ry), (gx, gy) = _gradient(x), _gradient(y)
        r, g = np.hypot(rx, ry), np.hypot(gx, gy)
        both = (r > _FLOOR) & (g > _FLOOR)
        along = np.abs(rx * gx + ry * gy)[both] / g[both]  # |cos| times r
        total += float(along.sum(dtype=np.float64))
        weights += float(r[both].sum(dtype=np.float64))
    return total / weights if weights > 0.0 else None


def _halved(frame: npt.NDArray[np.uint8]) -> Array:
    luma = grey(frame).astype(np.float32)
    return np.asarray(cv2.blur(luma, (2, 2))[::2, ::2], np.float32)


def _gradient(frame: npt.NDArray[np.uint8]) -> tuple[Array, Array]:
    luma = cv2.GaussianBlur(grey(frame), (0, 0), 1.0)
    return cv2.Sobel(luma, cv2.CV_32F, 1, 0) / 8.0, cv2.Sobel(luma, cv2.CV_32F, 0, 1) / 8.0


METRICS = (
    Metric(
        "gradient_agreement",
        "gradient agreement",
        "structure",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source="|cos| between the gradients of render and output, weighted by the render's; 2/π at random",
        measure=lambda case, tools: measured(gradient_agreement(case.render, case.output), "there are no gradients"),
    ),
    Metric(
        "gradient_similarity",
        "gradient similarity",
        "ground truth",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source="Xue et al., 2013 (gradient magnitude similarity), mean over pixels",
        measure=lambda case, tools: measured(
            None if case.truth is None else gradient_similarity(case.truth, case.output)
        ),
        needs=("truth",),
    ),
)
