"""From the input's size to the model's, which `SizeSettings.fit` chooses.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


def resize(frames: Frames, size: tuple[int, ...]) -> Frames:
    """Resize uint8 frames [F, H, W, 3] to (height, width): by area averages where they shrink."""
    height, width = size
    smaller = frames.shape[1] >= height and frames.shape[2] >= width
    method = cv2.INTER_AREA if smaller else cv2.INTER_LINEAR
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])
