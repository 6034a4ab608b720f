"""Measure a pair of clips, and read a part of both at the size of training.

Separate from the cache, which runs this in processes of its own: nothing here needs torch, so they start at once.

Letters: F frames, h, w pixels of the bucket, h', w' of the reference.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from realmaster.data.augment import GEOMETRY, Augmentation, Framing, find_function
from realmaster.data.manifest import ManifestRow
from realmaster.errors import ConfigError, MediaError
from realmaster.media.clip import ClipReader
from realmaster.media.reader import open_clip
from realmaster.types import VideoShape

Frames = npt.NDArray[np.uint8]

_MOST_DIFFERENCE_SECONDS = Fraction(1, 4)  # the two looks of a scene may end this far apart
_MOST_STRETCH = 0.02  # by this much may their aspects differ, as a logarithm: a row or column of rounding


@dataclass(frozen=True)
class PairWindow:
    """A part of a pair, and how it is to be shown."""

    video: Path
    reference_video: Path
    first_frame: int
    num_frames: int
    size: tuple[int, int]
    reference_size: tuple[int, int]
    frame_rate: int
    image_rate: int | None
    holds_last: bool
    is_stretched: bool
    augmentations: tuple[Augmentation, ...]
    seed: int


def measure_pair(row: ManifestRow, *, frame_rate: int, image_rate: int | None) -> VideoShape:
    """Measure a pair at a frame rate: frames that both clips have, height and width of the target.

    Raises:
        MediaError: a clip cannot be read, or the two are not of one scene: their lengths or aspects differ.
    """
    target = _measure(row.video, frame_rate, image_rate)
    reference = _measure(row.reference_video, frame_rate, image_rate)
    if abs(target.num_frames - reference.num_frames) > _MOST_DIFFERENCE_SECONDS * frame_rate:
        raise MediaError(
            f"expected video and reference of one length, got {target.num_frames} and {reference.num_frames} frames at "
            f"{frame_rate} a second: cut them alike"
        )
    stretch = math.log(target.width / target.height * reference.height / reference.width)
    if abs(stretch) > _MOST_STRETCH:
        raise MediaError(
            f"expected video and reference of one aspect, got {target.width}x{target.height} and "
            f"{reference.width}x{reference.height}: crop them alike"
        )
    return VideoShape(min(target.num_frames, reference.num_frames), target.height, target.width)


def read_window(window: PairWindow) -> tuple[Frames, Frames]:
    """Read target [F, h, w, 3] and reference [F, h', w', 3], cropped, resized and augmented alike.

    Raises:
        MediaError: a clip ends before the window does, or cannot be read.
        ConfigError: an augmentation cannot be imported, or gives other frames than it was given.
    """
    generator = np.random.default_rng(window.seed)
    chosen = [a for a in window.augmentations if generator.random() < a.share]
    with _opened(window.video, window) as clip:
        picture = (clip.info.height, clip.info.width)
        framing = Framing() if window.is_stretched else Framing.cover(picture, window.size)
        for augmentation in chosen:
            if augmentation.name in GEOMETRY:
                framing = GEOMETRY[augmentation.name](framing, generator, augmentation.amount)
        target = _read(clip, window, framing, window.size)
    with _opened(window.reference_video, window) as clip:
        reference = _read(clip, window, framing, window.reference_size)
    for augmentation in chosen:
        if augmentation.name not in GEOMETRY:
            changed = find_function(augmentation.name)(reference, generator, augmentation.amount)
            if not isinstance(changed, np.ndarray) or (changed.shape, changed.dtype) != (reference.shape, np.uint8):
                came = (
                    f"{changed.dtype} {list(changed.shape)}" if isinstance(changed, np.ndarray) else repr(changed)[:40]
                )
                raise ConfigError(
                    f"expected the augmentation {augmentation.name} to give uint8 frames {list(reference.shape)}, "
                    f"got {came}: mend it"
                )
            reference = changed
    return target, reference


def _measure(path: Path, frame_rate: int, image_rate: int | None) -> VideoShape:
    with open_clip(path, frame_rate=Fraction(frame_rate), image_rate=_rate(image_rate)) as clip:
        num_frames = clip.info.num_frames
        if num_frames is None:  # the container does not say
            num_frames = sum(len(chunk) for chunk in clip.chunks(16))
        return VideoShape(num_frames, clip.info.height, clip.info.width)


@contextmanager
def _opened(path: Path, window: PairWindow) -> Iterator[ClipReader]:
    start = Fraction(window.first_frame, window.frame_rate)
    with open_clip(
        path, start_seconds=start, frame_rate=Fraction(window.frame_rate), image_rate=_rate(window.image_rate)
    ) as clip:
        yield clip


def _read(clip: ClipReader, window: PairWindow, framing: Framing, size: tuple[int, int]) -> Frames:
    """Read [F, h, w, 3]; holds one chunk at the source's size."""
    frames = np.empty((window.num_frames, *size, 3), np.uint8)
    count = 0
    for chunk in clip.chunks(4):
        for frame in chunk[: window.num_frames - count]:
            frames[count] = framing.show(frame, size)
            count += 1
        if count == window.num_frames:
            return frames
    if not window.holds_last:
        reason = f" ({clip.truncated})" if clip.truncated else ""
        raise MediaError(
            f"{clip.info.source}: expected {window.num_frames} frames from frame {window.first_frame} on, got "
            f"{count}{reason}: export the clip again"
        )
    frames[count:] = frames[count - 1]
    return frames


def _rate(rate: int | None) -> Fraction | None:
    return None if rate is None else Fraction(rate)
