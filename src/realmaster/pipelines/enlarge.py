"""Give the model's own pixels at the input's size: what a full-size model draws is what one wants to see.

Separate from `transfer`, which keeps the input's pixels and carries only the change of their light and colours.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]


def enlarge(frame: Frame, translated: Frame, *, strength: npt.NDArray[Any] | float = 1.0) -> Frame:
    """Bring a translated frame uint8 [h, w, 3] to the size of the input's frame [H, W, 3], and mix the two.

    `strength` (a number, or [H, W] in 0..1) says how far to go from the frame to its translation; where it is 0 the
    input's pixels stay bit for bit.
    """
    height, width = frame.shape[:2]
    if translated.shape[:2] != (height, width):
        larger = height * width > translated.shape[0] * translated.shape[1]
        method = cv2.INTER_CUBIC if larger else cv2.INTER_AREA
        translated = np.asarray(cv2.resize(translated, (width, height), interpolation=method), dtype=np.uint8)
    if isinstance(strength, float) and strength == 1.0:
        return translated
    weight = np.asarray(strength, dtype=np.float32)
    weight = weight[..., None] if weight.ndim == 2 else weight
    mixed = frame + weight * (translated.astype(np.float32) - frame)
    return np.asarray(np.clip(mixed + 0.5, 0, 255), dtype=np.uint8)
