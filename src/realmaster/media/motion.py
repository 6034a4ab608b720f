"""Optical flow (DIS, Kroeger et al., 2016), warping and occlusion: shared by the metrics and by what must not flicker.

Two settings, each for its question. `motion` stops at a quarter of the resolution, where film grain does not move the
result: for comparing motions. `registration` goes to full resolution without smoothing afterwards, seven times the
time: for laying one frame on the next, where half a pixel of error looks like flicker.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Plane = npt.NDArray[np.uint8]  # [H, W]
Flow = npt.NDArray[np.float32]  # [H, W, 2], pixels, x then y
_TEXTURE = 3e-5  # smaller eigenvalue of the structure tensor; noise of one level of 255 makes 1e-5
_SMALLEST_SIDE = 32  # DIS needs a few patches of eight pixels at its coarsest scale


def motion(start: Plane, end: Plane) -> Flow:
    """Return the flow from `start` to `end`, robust to grain: uint8 [H, W] each, float32 [H, W, 2] in pixels."""
    return _flow(cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST), start, end)


def registration(start: Plane, end: Plane) -> Flow:
    """Return the flow from `start` to `end`, exact to the pixel: uint8 [H, W] each, float32 [H, W, 2] in pixels."""
    estimator = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    estimator.setFinestScale(0)
    estimator.setVariationalRefinementIterations(0)
    return _flow(estimator, start, end)


def can_flow(height: int, width: int) -> bool:
    """Say whether frames of this size are large enough for optical flow."""
    return min(height, width) >= _SMALLEST_SIDE


def follow(picture: npt.NDArray[Any], flow: Flow) -> npt.NDArray[np.float32]:
    """Fetch a picture along a flow: result[y, x] = picture[(y, x) + flow[y, x]]; [H, W] or [H, W, C], float32."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    return np.asarray(
        cv2.remap(
            picture.astype(np.float32),
            columns + flow[..., 0],
            rows + flow[..., 1],
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ),
        dtype=np.float32,
    )


def visible_in_both(forward: Flow, backward: Flow) -> npt.NDArray[np.bool_]:
    """Return the pixels of the second frame that the first one shows too: bool [H, W].

    A pixel is kept where going back and forth ends within one pixel of the start, and inside the frame.
    `forward` is the flow first to second, `backward` second to first.
    """
    height, width = backward.shape[:2]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    x, y = columns + backward[..., 0], rows + backward[..., 1]
    inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
    miss = follow(forward, backward) + backward
    return np.asarray(inside & (np.sum(miss * miss, axis=-1) < 1.0), dtype=np.bool_)


def textured(plane: Plane) -> npt.NDArray[np.bool_]:
    """Return the pixels of [H, W] with texture that a flow can follow in both directions (Shi and Tomasi, 1994).

    The structure tensor of Sobel gradients, over 7 x 7 pixels, has both eigenvalues well above those of noise.
    """
    eigenvalues = cv2.cornerMinEigenVal(plane.astype(np.float32) / 255, blockSize=7, ksize=3)
    return np.asarray(eigenvalues > _TEXTURE, dtype=np.bool_)


def _flow(estimator: Any, start: Plane, end: Plane) -> Flow:
    return np.asarray(estimator.calc(start, end, None), dtype=np.float32)
