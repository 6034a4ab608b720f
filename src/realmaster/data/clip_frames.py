"""Read a drawn clip at its size: frames repeated up to the clip's rate, cropped or fitted to its bucket.

Separate from the sampler, which never opens a picture. Letters: F frames, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.augment import Framing
from realmaster.data.sampler import SampleSettings, source_frames
from realmaster.data.sources.source import Source

Frames = npt.NDArray[np.uint8]


def read_clip(
    source: Source, video: str, rate: Fraction, first_frame: int, size: tuple[int, int], settings: SampleSettings
) -> Frames:
    """Read a clip of a video of `rate` frames a second: uint8 [F, H, W, 3] at `size` (height, width).

    One frame is held at the source's own size.

    Raises:
        MediaError: a frame is missing or cannot be read.
    """
    shown = source_frames(settings, rate)
    frames = np.empty((len(shown), *size, 3), np.uint8)
    for index, picture in _repeated(source.frames(video, first_frame, shown[-1] + 1), shown):
        if picture is None:
            frames[index] = frames[index - 1]
        else:
            frames[index] = Framing.cover(picture.shape[:2], size).show(picture, size)
    return frames


def read_clip_pass(
    source: Source,
    video: str,
    rate: Fraction,
    name: str,
    first_frame: int,
    size: tuple[int, int],
    settings: SampleSettings,
) -> npt.NDArray[Any]:
    """Read a pass of the same frames, framed alike: [F, H, W]; values are picked, never mixed.

    Raises:
        MediaError: there is no such pass, or it cannot be read.
    """
    shown = source_frames(settings, rate)
    planes: list[npt.NDArray[Any]] = []
    for _, plane in _repeated(source.read_pass(video, name, first_frame, shown[-1] + 1), shown):
        planes.append(planes[-1] if plane is None else _pick(plane, Framing.cover(plane.shape, size), size))
    return np.stack(planes)


def _repeated(pictures: Iterator[Any], shown: list[int]) -> Iterator[tuple[int, Any | None]]:
    """Give (place in the clip, source picture), and None in place of a picture that is shown again."""
    at, picture = -1, None
    for index, wanted in enumerate(shown):
        if wanted == at:
            yield index, None
            continue
        while at < wanted:
            picture = next(pictures)
            at += 1
        yield index, picture


def _pick(plane: npt.NDArray[Any], framing: Framing, size: tuple[int, int]) -> npt.NDArray[Any]:
    height, width = plane.shape
    top, left = framing.top * height, framing.left * width
    rows = np.clip((top + (np.arange(size[0]) + 0.5) * framing.height * height / size[0]).astype(int), 0, height - 1)
    columns = np.clip((left + (np.arange(size[1]) + 0.5) * framing.width * width / size[1]).astype(int), 0, width - 1)
    return plane[rows[:, None], columns[None, :]]
