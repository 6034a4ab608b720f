"""Cut a clip of any length into overlapping windows, in pixel frames that fit the autoencoder's time stride.

Letters: a window has 1 + s k frames (s the time stride); it begins s m frames after the one before it, so that its
latents 1, 2, ... cover the same pixel frames as the last latents of that one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from realmaster.models.profiles import WindowSettings
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.transfer import is_cut
from realmaster.types import round_up_frames

Frames = npt.NDArray[np.uint8]
_GLANCE = (72, 128)  # height and width at which neighbouring frames are compared


@dataclass(frozen=True)
class Window:
    """Frames [F, H, W, 3] of one window; the first `num_held` are decided already, the last `num_padding` repeat."""

    frames: Frames
    num_held: int
    num_padding: int


def cut_windows(chunks: Iterator[Frames], settings: WindowSettings, *, time_stride: int) -> Iterator[Window]:
    """Cut a stream of chunks [n, H, W, 3] into windows; holds one window of frames, whatever the length.

    No window spans a cut of the film: each shot begins with a window that holds nothing. A shot's last window is
    shortened to what is left, and padded by its last frame to 1 modulo the stride; a single frame too, to 1 + stride,
    because a latent that covers one frame comes out lighter or darker than those that cover several.
    """
    pending: list[npt.NDArray[np.uint8]] = []
    num_held, before = 0, None
    for frame in chain.from_iterable(chunks):
        glance = resize(frame[None], _GLANCE)[0]
        if before is not None and is_cut(before, glance):
            yield from _rest(pending, num_held, time_stride)
            pending, num_held = [], 0
        before = glance
        pending.append(frame)
        if len(pending) == settings.num_frames:
            yield Window(np.stack(pending), num_held, 0)
            num_held = settings.overlap
            pending = pending[settings.num_frames - settings.overlap :]
    yield from _rest(pending, num_held, time_stride)


def _rest(pending: list[npt.NDArray[np.uint8]], num_held: int, time_stride: int) -> Iterator[Window]:
    """Give the last window of a shot, where a frame of it is left."""
    if len(pending) > num_held:
        padding = round_up_frames(max(len(pending), 2), time_stride) - len(pending)
        yield Window(np.stack(pending + [pending[-1]] * padding), num_held, padding)
