from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest


def scene(*, num_frames: int = 5, height: int = 72, width: int = 128, speed: float = 0.0) -> npt.NDArray[np.uint8]:
    """Return a smooth textured scene with boxes, [F, H, W, 3], moving right by `speed` pixels a frame."""
    rng = np.random.default_rng(7)
    margin = 40
    noise = rng.uniform(0, 255, (height, width + 2 * margin, 3)).astype(np.float32)
    wall = cv2.GaussianBlur(noise, (0, 0), 2.0)
    wall = 60.0 + 120.0 * (wall - wall.min()) / (wall.max() - wall.min())
    for x, y in ((50, 10), (90, 30), (130, 20), (160, 44)):
        cv2.rectangle(wall, (x, y), (x + 18, y + 20), (230.0, 210.0 - y, 40.0 + x), -1)
    frames = []
    for index in range(num_frames):
        shift = np.array([[1.0, 0.0, index * speed - margin], [0.0, 1.0, 0.0]], np.float32)
        frames.append(cv2.warpAffine(wall, shift, (width, height), flags=cv2.INTER_CUBIC))
    return np.clip(np.rint(np.stack(frames)), 0, 255).astype(np.uint8)


@pytest.fixture
def still() -> npt.NDArray[np.uint8]:
    return scene()


@pytest.fixture
def moving() -> npt.NDArray[np.uint8]:
    return scene(speed=2.0)


@pytest.fixture
def make_scene() -> Callable[..., npt.NDArray[np.uint8]]:
    return scene
