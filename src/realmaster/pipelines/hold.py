"""Hold what hardly changes: a pixel within a few levels of what it was, along the render's motion, is drawn back.

A change that is fitted anew for each frame trembles by a level or two, and so does what a lossy input holds besides its
picture. Neither is seen in one frame; in a nearly still scene both are all that moves. An output frame is drawn back to
the last one, carried along the render's optical flow, by two thirds of what they differ and only where that is little:
what really changes (light, a surface that comes into sight) comes at once and as it is.

Separate from `transfer`, which steadies the maps: this knows pixels only.

Letters: H, W of the input.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.media.motion import Flow, can_flow, registration
from realmaster.pipelines.strips import strips

Frame = npt.NDArray[np.uint8]
_SHARE = 0.7  # of a small difference that is taken back; all of it would let what was resampled so often grow soft
_FADE = 3.0  # times `levels`: what differs by more is not held at all
_LARGEST = 1920 * 1080  # pixels: of a larger frame, the motion is looked for in a smaller copy


@dataclass(frozen=True)
class _Shown:
    """The last frame: the render's luma, at the size at which motion is looked for, and what was given for it."""

    luma: Frame
    frame: Frame


class Hold:
    """Hold the frames of a shot, one after the other."""

    def __init__(self, levels: float) -> None:
        """Begin a shot; differences of up to `levels` of 255 are held, of up to three times that the less the more."""
        sizes = np.abs(np.arange(-255, 256, dtype=np.float32))
        held = _SHARE * np.minimum(sizes, np.maximum((_FADE * levels - sizes) / (_FADE - 1), 0))
        self._back = (np.sign(np.arange(-255, 256)) * np.floor(held + 0.5)).astype(np.int16)
        self._shown: _Shown | None = None

    def settle(self, render: Frame, frame: Frame, weight: npt.NDArray[np.float32] | float = 1.0) -> Frame:
        """Give the next output frame, uint8 [H, W, 3], of a render of that size.

        `weight` (a number, or [H, W] in 0..1) scales what is taken back: where it is 0 the frame stays bit for bit. So
        it does where the render is black: bars are no surface.
        """
        grey = cv2.cvtColor(render, cv2.COLOR_RGB2GRAY)
        luma = _reduced(grey)
        if self._shown is not None:
            flow = registration(luma, self._shown.luma) if can_flow(*luma.shape) else None
            frame = self._held(grey, frame, self._shown.frame, flow, weight)
        self._shown = _Shown(luma, frame)
        return frame

    def _held(
        self, grey: Frame, frame: Frame, before: Frame, flow: Flow | None, weight: npt.NDArray[np.float32] | float
    ) -> Frame:
        height, width = grey.shape
        out = np.empty_like(frame)
        columns = np.arange(width, dtype=np.float32)
        for strip in strips(height, width):
            rows = np.arange(height, dtype=np.float32)[strip, None]
            was = before[strip]
            if flow is not None:
                x, y = _along(flow, rows, columns, height, width)
                was = np.asarray(
                    cv2.remap(before, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), dtype=np.uint8
                )
            back = self._back[frame[strip].astype(np.int16) - was + 255]
            if not (isinstance(weight, float) and weight == 1.0):
                part = weight[strip, :, None] if isinstance(weight, np.ndarray) else weight
                back = np.rint(back * part).astype(np.int16)
            out[strip] = frame[strip] - np.where(grey[strip, :, None] == 0, np.int16(0), back)
        return out


def _along(
    flow: Flow, rows: npt.NDArray[np.float32], columns: npt.NDArray[np.float32], height: int, width: int
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Where the pixels at rows [n, 1] and columns [W] of [H, W] were: x and y, each [n, W]."""
    shape = (len(rows), width)
    small_height, small_width = flow.shape[:2]
    if (small_height, small_width) == (height, width):
        step = flow[int(rows[0, 0]) : int(rows[-1, 0]) + 1]
    else:
        y = np.broadcast_to((rows + 0.5) * (small_height / height) - 0.5, shape).astype(np.float32)
        x = np.broadcast_to((columns + 0.5) * (small_width / width) - 0.5, shape).astype(np.float32)
        scale = np.array([width / small_width, height / small_height], dtype=np.float32)
        step = scale * cv2.remap(flow, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return columns + step[..., 0], rows + step[..., 1]


def _reduced(grey: Frame) -> Frame:
    """Make a picture [H, W] small enough to look for motion in it."""
    scale = (_LARGEST / grey.size) ** 0.5
    if scale >= 1:
        return np.asarray(grey, dtype=np.uint8)
    height, width = (max(1, round(side * scale)) for side in grey.shape)
    return np.asarray(cv2.resize(grey, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
