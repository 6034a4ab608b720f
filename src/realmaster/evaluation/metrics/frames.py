"""What every metric takes: two clips of one size, as the frames a screen shows.

Separate because the rule (8 bits, one size, one grey) has to be the same for all metrics, or their figures cannot be
compared with each other. Letters: F frames, H height, W width.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError

Frames = npt.NDArray[Any]  # uint8 [F, H, W, 3], or float [F, H, W, 3] in [0, 1]
Plane = npt.NDArray[np.uint8]  # [H, W]


def shown(frames: Frames) -> npt.NDArray[np.uint8]:
    """Return frames as a screen shows them: uint8 [F, H, W, 3]; floats in [0, 1] are rounded to 8 bits.

    Raises:
        MediaError: the array is no clip of RGB frames.
    """
    if frames.ndim != 4 or frames.shape[-1] != 3 or 0 in frames.shape:
        raise MediaError(
            f"expected frames [F, H, W, 3], got an array {list(frames.shape)}: pass at least one RGB frame"
        )
    if frames.dtype == np.uint8:
        return frames
    if not np.issubdtype(frames.dtype, np.floating):
        raise MediaError(f"expected frames of uint8 or float in [0, 1], got {frames.dtype}: convert them first")
    if not np.isfinite(frames).all():
        raise MediaError("expected finite frames, got NaN or infinity: find the step that made them")
    return np.rint(np.clip(frames, 0.0, 1.0) * 255.0).astype(np.uint8)


def shown_pair(first: Frames, second: Frames) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
    """Return two clips as shown, after checking that their frames correspond one to one.

    Raises:
        MediaError: the clips differ in length or size.
    """
    if first.shape != second.shape:
        raise MediaError(
            f"expected two clips of one length and size, got {list(first.shape)} and {list(second.shape)}: "
            "cut or resize one of them first"
        )
    return shown(first), shown(second)


def grey(frame: npt.NDArray[np.uint8]) -> Plane:
    """Return the luma of one frame: uint8 [H, W, 3] to uint8 [H, W], BT.601 weights as OpenCV rounds them."""
    return np.asarray(cv2.cvtColor(np.ascontiguousarray(frame), cv2.COLOR_RGB2GRAY), dtype=np.uint8)
