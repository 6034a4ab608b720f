"""A clip spoilt in known ways, so that each metric can be seen to see what it should."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


def blurred(frames: Frames, sigma: float = 2.5) -> Frames:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def shifted(frames: Frames, pixels: int = 5) -> Frames:
    """Move the picture to the right; the left border is repeated."""
    return np.concatenate([np.repeat(frames[:, :, :1], pixels, axis=2), frames[:, :, :-pixels]], axis=2)


def flickering(frames: Frames, spread: float = 0.15) -> Frames:
    """Make every second frame brighter."""
    gains = 1.0 + spread * (np.arange(len(frames)) % 2)
    return np.clip(np.rint(frames * gains[:, None, None, None]), 0, 255).astype(np.uint8)


def cast(frames: Frames, red: float = 1.25, blue: float = 0.75) -> Frames:
    """Turn the light warm."""
    return np.clip(np.rint(frames * np.array([red, 1.0, blue])), 0, 255).astype(np.uint8)


def sped(frames: Frames) -> Frames:
    """Move twice as fast: frames 0, 2, 4, ... and the last one held."""
    return frames[np.minimum(2 * np.arange(len(frames)), len(frames) - 1)]
