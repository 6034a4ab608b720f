"""Lens and sensor of the camera look: bloom, lateral colour, vignette, grain. Pure numpy and OpenCV, after the render.

The clip's seed draws the lens once; the frame draws the grain.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]
Array = npt.NDArray[Any]

DISPLAY_GAMMA = 2.2
BLOOM_THRESHOLD = 0.6
DESIGN_WIDTH = 256  # pixels; blurs scale with the width
NIGHT_GRAIN = 1.6


@dataclass(frozen=True)
class Lens:
    """What one lens and sensor do to every frame."""

    bloom: float
    vignette: float
    grain: float
    lateral_colour: float  # share by which red and blue differ in size

    @classmethod
    def draw(cls, seed: int, *, is_night: bool) -> Lens:
        """Draw a lens; at night the sensor is pushed."""
        generator = np.random.default_rng(seed)
        bloom, vignette = generator.uniform(0.05, 0.14), generator.uniform(0.08, 0.28)
        grain = generator.uniform(0.003, 0.010) * (NIGHT_GRAIN if is_night else 1)
        return cls(float(bloom), float(vignette), float(grain), float(generator.uniform(0, 0.0008)))

    @classmethod
    def middling(cls) -> Lens:
        """Give the mean of what may be drawn, without grain."""
        return cls(bloom=0.095, vignette=0.18, grain=0.0, lateral_colour=0.0004)


def reduce(frame: Frame, width: int, height: int) -> Frame:
    """Average a larger frame [H', W', 3] down in linear light to [height, width, 3]."""
    if frame.shape[:2] == (height, width):
        return frame
    light = (frame.astype(np.float32) / 255) ** DISPLAY_GAMMA
    light = cv2.resize(light, (width, height), interpolation=cv2.INTER_AREA)
    return _to_bytes(np.clip(light, 0, 1) ** (1 / DISPLAY_GAMMA))


def expose_sensor(frame: Frame, lens: Lens, seed: int, frame_number: int) -> Frame:
    """Pass a frame, uint8 [H, W, 3] RGB, through lens and sensor."""
    light = (frame.astype(np.float32) / 255) ** DISPLAY_GAMMA
    light = _bloom(light, lens)
    light = _lateral_colour(light, lens)
    light = light * _vignette(light.shape[0], light.shape[1], lens)[..., None]
    shown = np.clip(light, 0, 1) ** (1 / DISPLAY_GAMMA)
    noise = _grain(shown.shape, np.random.default_rng(seed * 1000 + frame_number))
    # most grain in the middle tones
    shown = shown + lens.grain * noise * (0.4 + 0.9 * np.sqrt(np.clip(shown * (1 - shown) * 4, 0, 1)))
    return _to_bytes(np.clip(shown, 0, 1))


def _bloom(light: Array, lens: Lens) -> Array:
    scale = light.shape[1] / DESIGN_WIDTH
    highlights = np.clip(light - BLOOM_THRESHOLD, 0, None) * 2
    glow = sum(cv2.GaussianBlur(highlights, (0, 0), sigma * scale) for sigma in (2, 5, 12)) / 3
    veil = cv2.GaussianBlur(light, (0, 0), 10 * scale) - light
    return np.asarray(light + lens.bloom * 3 * glow + lens.bloom * 0.15 * veil)


def _lateral_colour(light: Array, lens: Lens) -> Array:
    height, width = light.shape[:2]
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    channels = list(cv2.split(light))
    for channel, size in ((2, 1 + lens.lateral_colour), (0, 1 - lens.lateral_colour)):
        map_x = ((x - width / 2) * size + width / 2).astype(np.float32)
        map_y = ((y - height / 2) * size + height / 2).astype(np.float32)
        channels[channel] = cv2.remap(
            channels[channel], map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )
    return np.asarray(cv2.merge(channels))


def _vignette(height: int, width: int, lens: Lens) -> Array:
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    radius = ((x - width / 2) ** 2 + (y - height / 2) ** 2) / ((width / 2) ** 2 + (height / 2) ** 2)
    return np.asarray(1 - lens.vignette * radius**1.2)


def _grain(shape: tuple[int, ...], generator: np.random.Generator) -> Array:
    """Draw grain, [H, W, 3]: mostly brightness, a little colour, as fine as the sensor; standard deviation 1."""
    height, width, _ = shape
    noise = generator.normal(size=(height, width, 1)) * 0.8 + generator.normal(size=shape)[..., ::-1] * 0.5
    noise = cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 0.45 * max(width / DESIGN_WIDTH, 1))
    return np.asarray(noise / noise.std())


def _to_bytes(values: Array) -> Frame:
    return np.asarray(values * 255 + 0.5, np.uint8)
