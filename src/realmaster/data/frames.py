"""Exact pairs in memory, and the crops that training draws from them.

Separate because nano's pairs fit in memory, where the large profiles read latents from a cache.

Letters: F frames, H, W pixels; engine and camera are the two looks of one scene.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.data.pair_set import WEATHER_COLUMNS, PairRow, read_rows
from realmaster.errors import ConfigError

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Pair:
    """One pair in memory: the row, and both looks as uint8 [F, H, W, 3]."""

    row: PairRow
    engine: Frames
    camera: Frames


def load_pairs(folders: Sequence[Path], split: str, *, size: tuple[int, int] | None = None) -> list[Pair]:
    """Read the pairs of one split of several folders into memory, brought to `size` (height, width) if given.

    Raises:
        ConfigError: a folder has no such split, or a row names no weathers, by which nano's pairs are told apart.
        MediaError: a clip cannot be read.
    """
    rows = [row for folder in folders for row in _with_weathers(folder, split)]
    return [Pair(row, fit(row.engine_frames(), size), fit(row.camera_frames(), size)) for row in rows]


def _with_weathers(folder: Path, split: str) -> list[PairRow]:
    rows = read_rows(folder, split)
    for row in rows:
        for column, weather in zip(WEATHER_COLUMNS, row.weathers, strict=True):
            if not weather:
                raise ConfigError(
                    f"{folder}/{split}.jsonl: expected the weather of every pair in the column {column!r} to train "
                    f"nano, {row.name} has none: add it"
                )
    return rows


def fit(frames: Frames, size: tuple[int, int] | None) -> Frames:
    """Resize uint8 frames [F, H, W, 3] to (height, width) by area averages; None leaves them."""
    if size is None or frames.shape[1:3] == size:
        return frames
    return np.stack([cv2.resize(frame, (size[1], size[0]), interpolation=cv2.INTER_AREA) for frame in frames])


@dataclass(frozen=True)
class Crop:
    """Where to cut a clip: first frame, top, left, zoom and mirror; the same for every look of a scene."""

    first: int
    num_frames: int
    top: int
    left: int
    height: int
    width: int
    size: tuple[int, int]
    mirrored: bool

    @classmethod
    def draw(
        cls,
        generator: np.random.Generator,
        frames_shape: tuple[int, ...],
        *,
        num_frames: int,
        size: tuple[int, int],
        zoom: tuple[float, float] = (1.0, 1.0),
    ) -> Crop:
        """Draw a crop of `size` (height, width), enlarged by a factor between the bounds of `zoom`."""
        total, full_height, full_width = frames_shape[:3]
        factor = float(generator.uniform(*zoom))
        height = min(full_height, max(8, round(size[0] / factor)))
        width = min(full_width, max(8, round(size[1] / factor)))
        return cls(
            first=int(generator.integers(0, total - num_frames + 1)),
            num_frames=num_frames,
            top=int(generator.integers(0, full_height - height + 1)),
            left=int(generator.integers(0, full_width - width + 1)),
            height=height,
            width=width,
            size=size,
            mirrored=bool(generator.random() < 0.5),
        )

    def cut(self, frames: Frames) -> npt.NDArray[np.float32]:
        """Cut a clip: float32 [3, F, H, W] in [-1, 1]."""
        part = frames[self.first : self.first + self.num_frames]
        part = part[:, self.top : self.top + self.height, self.left : self.left + self.width]
        if (self.height, self.width) != self.size:
            size = (self.size[1], self.size[0])
            part = np.stack([cv2.resize(frame, size, interpolation=cv2.INTER_LINEAR) for frame in part])
        if self.mirrored:
            part = part[:, :, ::-1]
        video = part.transpose(3, 0, 1, 2).astype(np.float32)
        return np.ascontiguousarray(video / 127.5 - 1.0)


def jitter_look(
    video: npt.NDArray[np.float32], generator: np.random.Generator, amount: float
) -> npt.NDArray[np.float32]:
    """Change the colours of a look as another engine might: gain, gamma, channel balance, saturation, grain.

    `video` is [3, F, H, W] in [-1, 1]; `amount` 0 leaves it, 1 is strong. Geometry and motion stay.
    """
    if amount <= 0:
        return video
    unit = np.clip((video + 1) / 2, 1e-4, 1)
    gamma = np.exp(generator.normal(0, 0.18 * amount))
    gain = np.exp(generator.normal(0, 0.12 * amount)) * np.exp(generator.normal(0, 0.06 * amount, (3, 1, 1, 1)))
    unit = gain * unit**gamma
    grey = unit.mean(axis=0, keepdims=True)
    unit = grey + (unit - grey) * np.exp(generator.normal(0, 0.25 * amount))
    if generator.random() < 0.3 * amount:
        unit = unit + generator.normal(0, 0.02, unit.shape)
    return (np.clip(unit, 0, 1) * 2 - 1).astype(np.float32)
