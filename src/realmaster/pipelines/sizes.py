"""From the input's size to the model's: about as many pixels, about the same aspect, whole tokens.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.models.profiles import SizeSettings

Frames = npt.NDArray[np.uint8]


def fit_size(size: SizeSettings, height: int, width: int, *, stride: int) -> tuple[int, int]:
    """Height and width with the model's number of pixels and about the clip's aspect, in whole tokens of `stride`."""
    area, aspect = size.height * size.width, min(max(width / height, 0.1), 10)
    rows = max(2, round((area / aspect) ** 0.5 / stride))
    columns = max(2, round((area * aspect) ** 0.5 / stride))
    return rows * stride, columns * stride


def resize(frames: Frames, size: tuple[int, ...]) -> Frames:
    """Resize uint8 frames [F, H, W, 3] to (height, width): by area averages where they shrink."""
    height, width = size
    smaller = frames.shape[1] >= height and frames.shape[2] >= width
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])
