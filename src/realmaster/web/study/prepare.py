"""Bring the clips of a study onto one grid and write them under names that say nothing.

The rule: rate and size are those of the original (sides made even by leaving out a last column or row, and scaled down
to `max_height`); a method at another rate gives the frame nearest in time, at another size is scaled; every version of
a clip is as long as the shortest. The files are encoded anew from frames, visually lossless, without sound or tags, so
neither name nor metadata tells the method.

Separate from `clips`, which finds the files, because this decodes and encodes.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from realmaster.errors import StudyError
from realmaster.media.reader import ClipReader, open_clip
from realmaster.media.writer import ClipWriter
from realmaster.types import ClipInfo
from realmaster.web.study.clips import ClipFiles
from realmaster.web.study.videos import StudyVideo

MAX_ASPECT_CHANGE = 0.02
MIN_LENGTH_SHARE = 0.8
CHUNK_FRAMES = 8
MOSAIC_BLOCKS = 14
"""Blocks along the longer side of a damaged copy: so coarse that nobody who looks prefers it."""

log = logging.getLogger(__name__)
Frames = np.ndarray[Any, np.dtype[np.uint8]]


def prepare_videos(
    clips: Sequence[ClipFiles],
    folder: Path,
    *,
    check_methods: Sequence[str],
    max_height: int,
    progress: Callable[[int, int | None], None] | None = None,
) -> list[StudyVideo]:
    """Write every video of a study into `folder`.

    Args:
        clips: what to show; all with the same methods.
        folder: an empty folder.
        check_methods: for each clip the method whose damaged copy is written; empty writes none.
        max_height: larger videos are scaled down to it, in pixels.
        progress: told of (clips done, clips in all).

    Raises:
        StudyError: a method's output has another shape or is much shorter than its original.
        MediaError: a file cannot be read.
    """
    videos = []
    for index, clip in enumerate(clips):
        videos += _prepare(clip, index, folder, check_methods[index] if check_methods else None, max_height)
        if progress is not None:
            progress(index + 1, len(clips))
    return videos


def _prepare(clip: ClipFiles, index: int, folder: Path, damaged: str | None, max_height: int) -> list[StudyVideo]:
    with ExitStack() as stack:
        original = stack.enter_context(open_clip(clip.original))
        rate = original.info.frame_rate
        methods = list(clip.outputs)
        readers = [original]
        for path in clip.outputs.values():
            readers.append(stack.enter_context(open_clip(path, frame_rate=rate, image_rate=_image_rate(path, rate))))
        info = _grid(original.info, max_height)
        for method, reader in zip(methods, readers[1:], strict=True):
            _check_shape(clip.name, method, original.info, reader.info)

        videos = [StudyVideo(_new_id(), index, method, False, "") for method in (None, *methods)]
        if damaged is not None:
            videos.append(StudyVideo(_new_id(), index, damaged, True, ""))
        videos = [replace(video, file=f"{video.id}.mp4") for video in videos]
        writers = [stack.enter_context(ClipWriter(folder / video.file, info)) for video in videos]
        num_frames = 0
        for together in _in_step(readers):
            fitted = [_fit(frames, info) for frames in together]
            if damaged is not None:
                fitted.append(_damage(fitted[1 + methods.index(damaged)]))
            for writer, frames in zip(writers, fitted, strict=True):
                writer.write(frames)
            num_frames += len(fitted[0])
        expected = original.info.num_frames
        if expected is not None and num_frames < MIN_LENGTH_SHARE * expected:
            short = min(zip(methods, readers[1:], strict=True), key=lambda pair: pair[1].info.num_frames or expected)[0]
            raise StudyError(
                f"clip {clip.name}: expected outputs about as long as the original ({expected} frames), {short} has "
                f"{num_frames} at its rate: translate it whole, or leave the clip out of `clips`"
            )
        if expected is not None and num_frames < expected:
            log.warning(
                "clip %s: every version was cut to the shortest, %d of %d frames", clip.name, num_frames, expected
            )
    return videos


def _in_step(readers: Sequence[ClipReader]) -> Iterator[list[Frames]]:
    """Read clips together, a chunk of each at a time, up to the end of the shortest."""
    for chunks in zip(*(reader.chunks(CHUNK_FRAMES) for reader in readers), strict=False):
        shortest = min(len(frames) for frames in chunks)
        yield [frames[:shortest] for frames in chunks]
        if shortest < CHUNK_FRAMES:
            return


def _grid(info: ClipInfo, max_height: int) -> ClipInfo:
    scale = min(1.0, max_height / info.height)
    width, height = (max(round(side * scale) // 2 * 2, 2) for side in (info.width, info.height))
    return ClipInfo(width, height, info.frame_rate)


def _check_shape(clip: str, method: str, original: ClipInfo, output: ClipInfo) -> None:
    ratio = (output.width * original.height) / (output.height * original.width)
    if abs(ratio - 1) > MAX_ASPECT_CHANGE:
        raise StudyError(
            f"clip {clip}: expected outputs of the original's shape ({original.width}x{original.height}), {method} has "
            f"{output.width}x{output.height}: crop it as the original is"
        )


def _fit(frames: Frames, info: ClipInfo) -> Frames:
    """Crop one row or column off, or scale: uint8 [n, H, W, 3] to the grid's size."""
    height, width = frames.shape[1:3]
    if height - info.height in (0, 1) and width - info.width in (0, 1):
        return frames[:, : info.height, : info.width]
    how = cv2.INTER_AREA if height > info.height else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (info.width, info.height), interpolation=how) for frame in frames])


def _damage(frames: Frames) -> Frames:
    """Spoil frames beyond doubt: a coarse mosaic with its colours turned grey-green, uint8 [n, H, W, 3]."""
    height, width = frames.shape[1:3]
    blocks = max(MOSAIC_BLOCKS / max(height, width), 1 / min(height, width))
    small = (max(round(width * blocks), 1), max(round(height * blocks), 1))
    spoilt = []
    for frame in frames:
        coarse = cv2.resize(frame, small, interpolation=cv2.INTER_AREA)
        grey = coarse.mean(axis=2, keepdims=True)
        tinted = np.clip(grey * np.array([0.75, 1.0, 0.7]), 0, 255).astype(np.uint8)
        spoilt.append(cv2.resize(tinted, (width, height), interpolation=cv2.INTER_NEAREST))
    return np.stack(spoilt)


def _image_rate(path: Path, rate: Fraction) -> Fraction | None:
    return rate if path.is_dir() else None


def _new_id() -> str:
    return secrets.token_urlsafe(12).replace("-", "x").replace("_", "y")
