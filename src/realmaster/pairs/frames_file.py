"""Frames on their way between stages: a lossless video of exactly those frames, and planes as an array.

Separate because every stage reads and writes them, and because they must come back to the bit: a stage that is done
again after a crash has to see what it saw before.
"""

from __future__ import annotations

from collections import OrderedDict
from fractions import Fraction
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.pair_set import read_frames
from realmaster.media.writer import ClipWriter
from realmaster.pairs.store import Store
from realmaster.types import ClipInfo

Frames = npt.NDArray[np.uint8]
_MOST_BYTES = 1 << 29  # of frames held in memory by one process


class _Recent:
    """Frames that this process wrote last, so that its own next stage need not decode them; by file and its state."""

    def __init__(self) -> None:
        self._held: OrderedDict[Path, tuple[tuple[int, ...], Frames]] = OrderedDict()
        self._lock = Lock()

    def put(self, path: Path, frames: Frames) -> None:
        with self._lock:
            for gone in [held for held in self._held if not held.exists()]:  # of finished clips
                del self._held[gone]
            self._held[path] = (_state(path), frames.copy())
            self._held.move_to_end(path)
            while sum(held.nbytes for _, held in self._held.values()) > _MOST_BYTES:
                self._held.popitem(last=False)

    def get(self, path: Path) -> Frames | None:
        with self._lock:
            state, frames = self._held.get(path, ((), None))
            return frames.copy() if frames is not None and state == _state(path) else None


_recent = _Recent()


def _state(path: Path) -> tuple[int, ...]:
    """Tell one file of a name from the next; nothing where there is none."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_ino, found.st_size, found.st_mtime_ns


def write_frames(store: Store, name: str, frames: Frames, rate: int, *, codec: Any = "lossless") -> None:
    """Write uint8 [F, H, W, 3] as a video; by default without loss (FFV1 in mkv).

    Raises:
        OutputError: it cannot be written.
    """
    height, width = frames.shape[1:3]
    info = ClipInfo(width, height, Fraction(rate))
    with store.writing(name) as part, ClipWriter(part, info, codec=codec) as writer:
        writer.write(frames)
    if codec == "lossless" and store.folder is not None:
        _recent.put(store.folder / name, frames)


def load_frames(store: Store, name: str) -> Frames:
    """Read a video whole: uint8 [F, H, W, 3].

    Raises:
        MediaError: it cannot be read.
    """
    path = store.reading(name)
    held = _recent.get(path)
    return read_frames(path) if held is None else held


def write_planes(store: Store, name: str, planes: npt.NDArray[Any]) -> None:
    """Write an array [F, H, W]."""
    with store.writing(name) as part, Path(part).open("wb") as file:
        np.save(file, planes, allow_pickle=False)


def load_planes(store: Store, name: str) -> npt.NDArray[Any]:
    """Read an array [F, H, W]."""
    return np.asarray(np.load(store.reading(name), allow_pickle=False))
