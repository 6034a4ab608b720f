"""A clip spoilt in known ways, so that everybody can see what each metric sees and what it misses.

Separate because tests, the benchmark behind the docs' picture and whoever adds a metric spoil clips alike.
Frames are uint8 [F, H, W, 3], in and out.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


def noisy(frames: Frames, spread: float = 1.0) -> Frames:
    """Add Gaussian grain of some levels: with one level nothing is to be seen, and no metric should mind."""
    grain = np.random.default_rng(0).normal(0.0, spread, frames.shape)
    return np.clip(np.rint(frames + grain), 0, 255).astype(np.uint8)


def blurred(frames: Frames, sigma: float = 2.5) -> Frames:
    """Blur every frame; sigma in pixels."""
    return np.stack([np.asarray(cv2.GaussianBlur(frame, (0, 0), sigma), np.uint8) for frame in frames])


def shifted(frames: Frames, pixels: int = 5) -> Frames:
    """Move the picture to the right; the left border is repeated."""
    return np.concatenate([np.repeat(frames[:, :, :1], pixels, axis=2), frames[:, :, :-pixels]], axis=2)


def flickering(frames: Frames, share: float = 0.15) -> Frames:
    """Make every second frame brighter."""
    gains = 1.0 + share * (np.arange(len(frames)) % 2)
    return np.clip(np.rint(frames * gains[:, None, None, None]), 0, 255).astype(np.uint8)


def cast(frames: Frames, red: float = 1.25, blue: float = 0.75) -> Frames:
    """Turn the light warm."""
    return np.clip(np.rint(frames * np.array([red, 1.0, blue])), 0, 255).astype(np.uint8)


def sped(frames: Frames) -> Frames:
    """Move twice as fast: frames 0, 2, 4, ... and the last one held."""
    return np.asarray(frames[np.minimum(2 * np.arange(len(frames)), len(frames) - 1)])


def with_face(frames: Frames, box: tuple[float, float, float, float], face: Frames) -> Frames:
    """Lay another face, uint8 [h, w, 3], over a box (left, top, right, bottom) of every frame, with a soft border."""
    left, top, right, bottom = (round(edge) for edge in box)
    left, top = max(left, 0), max(top, 0)
    right, bottom = min(right, frames.shape[2]), min(bottom, frames.shape[1])
    size = (right - left, bottom - top)
    pasted = np.asarray(cv2.resize(face, size, interpolation=cv2.INTER_AREA), np.float32)
    mask = np.zeros((size[1], size[0]), np.float32)
    cv2.ellipse(mask, (size[0] // 2, size[1] // 2), (size[0] * 2 // 5, size[1] * 2 // 5), 0, 0, 360, 1.0, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), max(1.0, size[0] / 12)), np.float32)[..., None]
    changed = frames.copy()
    for frame in changed:
        part = frame[top:bottom, left:right]
        part[:] = np.rint(mask * pasted + (1.0 - mask) * part).astype(np.uint8)
    return changed
