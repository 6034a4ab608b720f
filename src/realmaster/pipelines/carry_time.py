"""How long it takes here to carry the change to a frame's full size: tried on a made window, for plans.

Separate from `carry`, which it calls: a plan needs the time before there is a clip or a model.
"""

from __future__ import annotations

import time

import cv2
import numpy as np
import torch

from realmaster.models.profiles import Profile
from realmaster.pipelines.carry import Carrier
from realmaster.pipelines.sampling import TranslatedWindow
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.windows import Window
from realmaster.types import VideoShape

_PIXELS = 2**21  # of a frame that is tried; the time of larger ones is taken to grow as their pixels do
_TRIED = 2  # frames
_STRIDE = 8  # pixels: the model's own is in its files, which need not be here


def time_carrying(profile: Profile, clip: VideoShape) -> float:
    """Measure the seconds that a frame of the clip takes from the model's size to its own, on this machine's CPU."""
    shrunk = max(1.0, clip.height * clip.width / _PIXELS)
    height, width = (max(1, round(side / shrunk**0.5)) for side in (clip.height, clip.width))
    frames = _made_frames(2 + _TRIED, height, width)
    refiner = profile.refiner
    size = profile.size.fit(height, width, stride=_STRIDE) if refiner is None else refiner.fit(height, width)
    guide = resize(frames, size)
    translated = TranslatedWindow(frames=guide // 2 + 40, guide=guide, latents=torch.empty(0))
    carrier = Carrier(profile.transfer, 1.0, None)
    list(carrier.carry(Window(frames, num_held=0, num_padding=_TRIED), translated))  # a shot begins: fit and flow too
    begun = time.perf_counter()
    list(carrier.carry(Window(frames, num_held=2, num_padding=0), translated))
    return (time.perf_counter() - begun) / _TRIED * shrunk


def _made_frames(count: int, height: int, width: int) -> np.ndarray:
    """Draw soft blots that move by two pixels a frame: uint8 [count, height, width, 3]."""
    noise = np.random.default_rng(0).normal(size=(height, width, 3)).astype(np.float32)
    blots = cv2.GaussianBlur(noise, (0, 0), max(1.0, height / 60))
    levels = np.clip(128 + 48 * blots / max(float(blots.std()), 1e-6), 0, 255).astype(np.uint8)
    return np.stack([np.roll(levels, 2 * index, axis=1) for index in range(count)])
