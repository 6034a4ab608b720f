"""Edges of one clip found again in another: shared by the metrics and by what checks an edit.

Separate because the thresholds decide the figure. They follow each frame's own gradients, so that a change of light or
contrast alone costs nothing: the strongest tenth of the gradients are edges, those above 0.4 of that threshold continue
them. A light blur first keeps film grain from being edges, and a floor keeps noise in flat frames from being any.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]
_BLUR_SIGMA = 1.0  # pixels
_STRONG_PERCENTILE = 90.0
_WEAK_SHARE = 0.4
_STRONG_FLOOR = 16.0  # of the Sobel sum, that is 2 levels a pixel
TOLERANCE_PIXELS = 2


@dataclass(frozen=True)
class EdgeAgreement:
    """Shares of edge pixels found again within the tolerance; absent where there was no edge to find."""

    recall: float | None  # edges of the reference found in the clip
    precision: float | None  # edges of the clip found in the reference

    @property
    def f1(self) -> float | None:
        """Harmonic mean of recall and precision; absent where either is."""
        if self.recall is None or self.precision is None:
            return None
        total = self.recall + self.precision
        return 2.0 * self.recall * self.precision / total if total > 0.0 else 0.0


def compare_edges(reference: Frames, frames: Frames) -> EdgeAgreement:
    """Compare the edges of two clips uint8 [F, H, W, 3], each frame alone, averaged over frames with edges.

    An edge is found again where the other clip has one at most two pixels away along each axis (dilation by a 5 x 5
    square).
    """
    recalls, precisions = [], []
    for x, y in zip(reference, frames, strict=True):
        wanted, found = edge_mask(x), edge_mask(y)
        if wanted.any():
            recalls.append(float(np.mean(_grown(found)[wanted])))
        if found.any():
            precisions.append(float(np.mean(_grown(wanted)[found])))
    return EdgeAgreement(
        recall=float(np.mean(recalls)) if recalls else None,
        precision=float(np.mean(precisions)) if precisions else None,
    )


def edge_mask(frame: Frames) -> npt.NDArray[np.bool_]:
    """Return the Canny edges of one frame: uint8 [H, W, 3] to bool [H, W]."""
    grey = cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY)
    luma = cv2.GaussianBlur(grey, (0, 0), _BLUR_SIGMA)
    dx, dy = cv2.Sobel(luma, cv2.CV_16S, 1, 0), cv2.Sobel(luma, cv2.CV_16S, 0, 1)
    strength = np.hypot(dx.astype(np.float32), dy.astype(np.float32))
    strong = max(float(np.percentile(strength, _STRONG_PERCENTILE)), _STRONG_FLOOR)
    return np.asarray(cv2.Canny(dx, dy, _WEAK_SHARE * strong, strong, L2gradient=True)) > 0


def _grown(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    side = 2 * TOLERANCE_PIXELS + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))) > 0
