"""Carry a change from the model's size to the input's own resolution, along the input's edges.

The model says at its small size what the light and the colours become. Around every pixel an affine map from the
colours of the input to the colours of the translation is fitted (guided filter with a colour guide, He et al. 2013,
section 3.4), and the map, which varies slowly, is applied to the input's own pixels: its sharpness and its text stay.

Three choices were measured on exact pairs (docs/findings.md). Where a window is flat the fit leans towards the input's
own contrast, scaled as its light is, not towards none as a guided filter's does: a model that blurs must not take the
texture away. The guide is the input after the same autoencoder as the translation, so that both are equally blurred:
fitted on the sharp input the gains would shrink. And the fit is in display codes, not in linear light: it keeps 0.3 dB
and 0.01 SSIM more.

Letters: H, W of the input; h, w of the model; r radius in model pixels.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.media.motion import can_flow, follow, registration, spread, textured, visible_in_both
from realmaster.models.profiles import TransferSettings

Image = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]
Frames = npt.NDArray[np.uint8]
_CUT_LEVELS = 30.0
_SPREAD = 4.0  # model pixels: how far walls and sky look for the motion of what has texture
_DARK = 0.05  # keeps the ratio of nearly black windows bounded
_LIGHT = (0.3, 2.0)  # how much darker or lighter contrast may become where a window is flat


class SteadyFit:
    """Fit frame after frame, each fit mixed with the one before: light that changes slowly cannot flicker.

    The one before is first moved along the render's optical flow, so that the change stays on the surfaces it was made
    for; what comes into view has nothing to be mixed with. A cut (neighbouring renders that differ by more than 30
    levels in the mean) starts afresh.
    """

    def __init__(self, settings: TransferSettings) -> None:
        """Begin a clip."""
        self.settings = settings
        self.maps: Image | None = None
        self.render: Frame | None = None

    def begin(self, render: Frame, guides: Frames, translated: Frames) -> None:
        """Begin at the mean of some frames' fits, guides and translated uint8 [F, h, w, 3], not at the first one's."""
        fits = [fit_change(guide, frame, self.settings) for guide, frame in zip(guides, translated, strict=True)]
        self.maps, self.render = np.mean(fits, axis=0, dtype=np.float32), render

    def fit(self, render: Frame, guide: Frame, translated: Frame) -> Image:
        """Fit the change of the next frame, as `fit_change` does; the flow is measured on `render` [h, w, 3]."""
        maps = fit_change(guide, translated, self.settings)
        if self.maps is not None and self.render is not None and not is_cut(self.render, render):
            maps = self._mix(maps, self.maps, _luminance(self.render), _luminance(render))
        self.maps, self.render = maps, render
        return maps

    def _mix(self, maps: Image, before: Image, start: Frame, end: Frame) -> Image:
        share: Image | np.float32 = np.float32(self.settings.steadiness)
        if can_flow(*start.shape):
            forward, backward = registration(start, end), registration(end, start)
            seen, textured_here = visible_in_both(forward, backward), textured(end)
            flow = spread(backward, seen & textured_here, sigma=_SPREAD)
            before = np.dstack([follow(part, flow) for part in _by_four(before)])
            share = share * (seen | ~textured_here)[..., None].astype(np.float32)
        return np.asarray(maps + share * (before - maps), dtype=np.float32)


def is_cut(before: Frame, after: Frame) -> bool:
    """Say whether two neighbouring frames uint8 [h, w, 3] are of different shots."""
    return float(cv2.absdiff(before, after).mean()) > _CUT_LEVELS


def fit_change(guide: Frame, translated: Frame, settings: TransferSettings) -> Image:
    """Fit an affine map of colours around every pixel: [h, w, 12], nine gains row by row, then three offsets.

    `guide` and `translated` are uint8 [h, w, 3].
    """
    window = (2 * settings.radius + 1,) * 2

    def mean(x: npt.NDArray[Any]) -> Image:
        return np.asarray(cv2.blur(x, window, borderType=cv2.BORDER_REFLECT), dtype=np.float32)

    x, y = guide.astype(np.float32) / 255, translated.astype(np.float32) / 255
    mean_x, mean_y = mean(x), mean(y)
    covariance = np.empty((*x.shape[:2], 3, 3), dtype=np.float32)
    for i in range(3):
        for j in range(i, 3):
            product = mean(x[..., i] * x[..., j]) - mean_x[..., i] * mean_x[..., j]
            covariance[..., i, j] = covariance[..., j, i] = product
    cross = np.stack([mean(x[..., i : i + 1] * y) - mean_x[..., i : i + 1] * mean_y for i in range(3)], axis=2)
    ridge = settings.epsilon * np.eye(3, dtype=np.float32)
    light = np.clip((mean_y.mean(axis=2) + _DARK) / (mean_x.mean(axis=2) + _DARK), *_LIGHT)
    gains = np.linalg.solve(covariance + ridge, cross + light[..., None, None] * ridge)  # [h, w, in, out]
    offsets = mean_y - np.einsum("hwi,hwio->hwo", mean_x, gains)
    maps = np.concatenate([gains.reshape(*x.shape[:2], 9), offsets], axis=2)
    return np.dstack([mean(part) for part in _by_four(maps)])


def apply_change(frame: Frame, maps: Image, *, strength: Image | float = 1.0) -> Frame:
    """Apply fitted maps [h, w, 12] to a frame uint8 [H, W, 3].

    `strength` (a number, or [H, W] in 0..1) says how far to go from the frame to its translation.
    """
    height, width = frame.shape[:2]
    size = (width, height)
    full = np.dstack([cv2.resize(part, size, interpolation=cv2.INTER_LINEAR) for part in _by_four(maps)])
    x = frame.astype(np.float32) / 255
    out = full[..., 9:].copy()
    for i in range(3):
        out += x[..., i : i + 1] * full[..., 3 * i : 3 * i + 3]
    if not isinstance(strength, float) or strength != 1.0:
        weight = np.asarray(strength, dtype=np.float32)
        out = x + (weight[..., None] if weight.ndim == 2 else weight) * (out - x)
        untouched = weight == 0
        out = np.where(untouched[..., None] if weight.ndim == 2 else untouched, x, out)
    return np.asarray(np.clip(out * 255 + 0.5, 0, 255), dtype=np.uint8)


def _luminance(frame: Frame) -> Frame:
    """Luma of display codes (BT.601 weights, as OpenCV has them): uint8 [H, W]."""
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _by_four(maps: Image) -> list[Image]:
    """Split channels into contiguous groups of at most four, which is what OpenCV filters and resizes at a time."""
    return [np.ascontiguousarray(maps[..., k : k + 4]) for k in range(0, maps.shape[2], 4)]
