"""Cut a clip of any length into overlapping windows, in pixel frames that fit the autoencoder's time stride.

Letters: a window has 1 + s k frames (s the time stride); it begins s m frames after the one before it, so that its
latents 1, 2, ... cover the same pixel frames as the last latents of that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realmaster.models.profiles import WindowSettings
from realmaster.types import round_up_frames

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Window:
    """Frames [F, H, W, 3] of one window; the first `num_held` are decided already, the last `num_padding` repeat."""

    frames: Frames
    num_held: int
    num_padding: int


def cut_windows(chunks: Iterator[Frames], settings: WindowSettings, *, time_stride: int) -> Iterator[Window]:
    """Cut a stream of chunks [n, H, W, 3] into windows; holds one window of frames, whatever the length.

    The last window is shortened to what is left, and padded by its last frame to 1 modulo the stride.
    """
    pending: list[npt.NDArray[np.uint8]] = []
    num_held, begun = 0, False
    for chunk in chunks:
        pending.extend(chunk)
        while len(pending) >= settings.num_frames:
            yield Window(np.stack(pending[: settings.num_frames]), num_held, 0)
            num_held, begun = settings.overlap, True
            pending = pending[settings.num_frames - settings.overlap :]
    if len(pending) > num_held or (pending and not begun):
        padding = round_up_frames(len(pending), time_stride) - len(pending)
        yield Window(np.stack(pending + [pending[-1]] * padding), num_held, padding)
