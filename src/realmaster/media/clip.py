"""What every reader of clips has in common: information, warnings, and chunks of frames at a constant rate.

Separate from the readers so that resampling in time and chunking stand once, for videos and for image sequences.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from realmaster.errors import MediaError
from realmaster.media.color import UInt8
from realmaster.media.timing import Clock, Timed, resample
from realmaster.types import ClipInfo


class ClipReader(AbstractContextManager["ClipReader"], ABC):
    """A clip as a stream of RGB frames at a constant rate.

    Attributes:
        info: size, rate and length of what is delivered, after start, duration and change of rate.
        warnings: what was changed or guessed in reading, in plain sentences; may grow while frames are read.
        truncated: why reading ended before the clip's stated end; None until then, or when it did not.
        numbers: of numbered images, the number of each frame; None of everything else.
        rate_warning: the one of the warnings that says which rate was assumed, if one was.
    """

    numbers: Sequence[int] | None = None
    rate_warning: str | None = None

    def __init__(self, info: ClipInfo, *, source_rate: Fraction | None, clock: Clock, limit: int | None) -> None:
        """Deliver frames at the clock's times, at most `limit`; `source_rate` is None where it varies."""
        self.info = info
        self.warnings: list[str] = []
        self.truncated: str | None = None
        self._source_rate = source_rate
        self._clock = clock
        self._limit = limit

    def chunks(self, size: int) -> Iterator[UInt8]:
        """Read the clip from its start, `size` frames at a time.

        Yields:
            uint8 [n, H, W, 3] with 1 <= n <= size, each a new array; only the last may be shorter.

        Raises:
            MediaError: a frame cannot be read, or no frame could be.
        """
        if size < 1:
            raise ValueError(f"a chunk holds at least one frame, not {size}")
        chunk: UInt8 | None = None
        filled = num_frames = 0
        for frame in self._frames():
            if chunk is None:
                chunk = np.empty((size, *frame.shape), np.uint8)
            chunk[filled] = frame
            filled += 1
            num_frames += 1
            if filled == size:
                yield chunk
                chunk, filled = None, 0
        if chunk is not None:
            yield chunk[:filled]
        if num_frames == 0:
            raise MediaError(
                f"{self.info.source}: expected frames from {float(self._clock.start):g} s on, none could be read: "
                "start earlier, or export the file again"
            )

    def close(self) -> None:
        """Release the file; chunks already given stay valid."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close, whatever happened."""
        self.close()

    def __enter__(self) -> Self:
        """Give the reader itself."""
        return self

    def _frames(self) -> Iterator[UInt8]:
        shown: Any = None
        pixels: UInt8 | None = None
        for frame in resample(self._timed(), self._source_rate, self._clock, limit=self._limit):
            if pixels is None or frame is not shown:  # a repeated frame is converted once
                shown, pixels = frame, self._pixels(frame)
            yield pixels

    def _warn(self, message: str) -> None:
        if message not in self.warnings:
            self.warnings.append(message)

    @abstractmethod
    def _timed(self) -> Iterator[Timed[Any]]:
        """Give source frames in ascending time, beginning at or before the clock's start."""

    @abstractmethod
    def _pixels(self, frame: Any) -> UInt8:
        """Turn one source frame into uint8 [H, W, 3]."""


def starts_too_late(path: Path, start: Fraction, end: Fraction) -> MediaError:
    """Say that a clip is over before the wanted start."""
    return MediaError(
        f"{path}: expected a start before the clip's end at {float(end):.3f} s, got {float(start):g} s: start earlier"
    )
