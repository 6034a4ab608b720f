"""Read a drawn clip at its size: frames repeated up to the clip's rate, cropped or fitted to its bucket.

Separate from the sampler, which never opens a picture. Letters: F frames, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.augment import Framing
from realmaster.data.sampler import SampleSettings, source_frames
from realmaster.data.sources.source import Source, SourceVideo

Frames = npt.NDArray[np.uint8]


def read_clip(
    source: Source, video: SourceVideo, first_frame: int, size: tuple[int, int], settings: SampleSettings
) -> Frames:
    """Read a clip: uint8 [F, H, W, 3] at `size` (height, width). One frame is held at the source's own size.

    Raises:
        MediaError: a frame is missing or cannot be read.
    """
    shown = source_frames(settings, video.frame_rate)
    framing = Framing.cover((video.height, video.width), size)
    frames = np.empty((len(shown), *size, 3), np.uint8)
    for index, picture in _repeated(source.frames(video.name, first_frame, shown[-1] + 1), shown):
        frames[index] = framing.show(picture, size) if picture is not None else frames[index - 1]
    return frames


def read_clip_pass(
    source: Source, video: SourceVideo, name: str, first_frame: int, size: tuple[int, int], settings: SampleSettings
) -> npt.NDArray[Any]:
    """Read a pass of the same frames, framed alike: [F, H, W]; values are picked, never mixed.

    Raises:
        MediaError: there is no such pass, or it cannot be read.
    """
    shown = source_frames(settings, video.frame_rate)
    framing = Framing.cover((video.height, video.width), size)
    planes: list[npt.NDArray[Any]] = []
    for _, plane in _repeated(source.read_pass(video.name, name, first_frame, shown[-1] + 1), shown):
        planes.append(_pick(plane, framing, size) if plane is not None else planes[-1])
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
