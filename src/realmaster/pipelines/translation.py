"""What a translation gives back, and the streams of frames around the models.

Separate from the translator because reports and commands read the one, and the other knows no model.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.pipelines.protect import Weights
from realmaster.pipelines.stopwatch import Stopwatch
from realmaster.types import ClipInfo

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Translation:
    """What was made, with which settings, and where the time went (seconds by stage)."""

    output: Path
    num_frames: int
    info: ClipInfo
    seconds: dict[str, float]
    settings: dict[str, Any]
    warnings: tuple[str, ...] = ()
    truncated: str | None = None


def as_rendered(chunks: Iterator[Frames], masks: Iterator[Weights] | None) -> Iterator[Frames]:
    """Give the input back; the masks are read nevertheless, so that what is wrong with them is told."""
    for chunk in chunks:
        for _ in chunk if masks is not None else ():
            next(masks)  # type: ignore[arg-type]
        yield chunk.copy()


def timed(chunks: Iterator[Frames], watch: Stopwatch) -> Iterator[Frames]:
    """Pass chunks on and count the time of reading them."""
    while True:
        with watch.stage("read"):
            chunk = next(chunks, None)
        if chunk is None:
            return
        yield chunk
