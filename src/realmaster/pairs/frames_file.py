"""Frames on their way between stages: a lossless video of exactly those frames, and planes as an array.

Separate because every stage reads and writes them, and because they must come back to the bit: a stage that is done
again after a crash has to see what it saw before.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.pair_set import read_frames
from realmaster.media.writer import ClipWriter
from realmaster.pairs.store import Store
from realmaster.types import ClipInfo

Frames = npt.NDArray[np.uint8]


def write_frames(store: Store, name: str, frames: Frames, rate: int, *, codec: Any = "lossless") -> None:
    """Write uint8 [F, H, W, 3] as a video; by default without loss (FFV1 in mkv).

    Raises:
        OutputError: it cannot be written.
    """
    height, width = frames.shape[1:3]
    info = ClipInfo(width, height, Fraction(rate))
    with store.writing(name) as part, ClipWriter(part, info, codec=codec) as writer:
        writer.write(frames)


def load_frames(store: Store, name: str) -> Frames:
    """Read a video whole: uint8 [F, H, W, 3].

    Raises:
        MediaError: it cannot be read.
    """
    return read_frames(store.reading(name))


def write_planes(store: Store, name: str, planes: npt.NDArray[Any]) -> None:
    """Write an array [F, H, W]."""
    with store.writing(name) as part, Path(part).open("wb") as file:
        np.save(file, planes, allow_pickle=False)


def load_planes(store: Store, name: str) -> npt.NDArray[Any]:
    """Read an array [F, H, W]."""
    return np.asarray(np.load(store.reading(name), allow_pickle=False))
