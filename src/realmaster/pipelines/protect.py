"""Masks of what stays as rendered: a HUD, text, a hero prop.

Separate because a mask comes as an image, a clip, or a segmentation with ids, and the translator wants weights.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Self

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.media.color import UInt8
from realmaster.media.reader import open_clip
from realmaster.media.timing import Clock, Timed, exact_seconds, resample
from realmaster.pipelines.lossless import refuse_lossy_video
from realmaster.pipelines.segments import (
    IMAGES,
    MAX_ID,
    Segments,
    find_segmentations,
    one_channel,
    read_segments,
)

Weights = npt.NDArray[np.float32]


def split_ids(mask: str | Path) -> tuple[Path, frozenset[int] | None]:
    """Split "seg.png#3,17" into the path and the ids; a name without ids is a mask (white stays as rendered).

    Raises:
        MediaError: there is no name, or the ids are no whole numbers from 0 to 65535.
    """
    name = str(mask)
    path, mark, ids = name.rpartition("#")
    if not (path if mark else name):  # which Path would read as the current folder
        raise MediaError(f"--protect: expected the name of a mask, got {name!r}: give an image, a clip or MASK#3,17")
    if not mark or Path(name).exists() or Path(name).suffix.lower() in IMAGES:  # "####.png" is another's way to count
        return Path(name), None
    try:
        numbers = frozenset(int(part) for part in ids.split(","))
    except ValueError:
        numbers = frozenset([-1])
    if not all(0 <= number <= MAX_ID for number in numbers):
        raise MediaError(
            f"--protect: {name}: expected ids as whole numbers from 0 to {MAX_ID} after '#', got {ids!r}: "
            "write MASK#3,17"
        )
    return Path(path), numbers


def check_mask(mask: str | Path) -> Path:
    """Refuse a mask that cannot be opened; give its path without the ids.

    Raises:
        MediaError: ids that are no numbers, or a file that is missing or no mask.
    """
    path, ids = split_ids(mask)
    with _naming_the_option():
        if ids is not None and (files := find_segmentations(path)[0]):
            read_segments(files[0])
        else:
            _refuse_labels(path)
            open_clip(path).close()
            if ids is not None:
                refuse_lossy_video(path)
    return path


class Mask(Iterator[Weights]):
    """How much of the translation each pixel takes, frame by frame: [H, W] in 0..1, 0 where protected."""

    def __init__(self, frames: Iterator[Weights], name: str, ids: frozenset[int] | None, notes: Sequence[str]) -> None:
        """Pass on the weights of a mask called `name`, and the notes that its reading leaves, which may grow."""
        self._frames, self._name, self._ids, self._notes = frames, name, ids, notes
        self._met = False

    def __iter__(self) -> Self:
        """Give the mask itself."""
        return self

    def __next__(self) -> Weights:
        """Give the next frame's weights.

        Raises:
            MediaError: the mask cannot be read.
        """
        weights = next(self._frames)
        self._met = self._met or (self._ids is not None and bool(weights.min() == 0))
        return weights

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was changed or guessed in reading the mask, and ids that none of the frames so far has."""
        notes = tuple(f"--protect: {self._name}: {note}" for note in self._notes)
        if self._ids is None or self._met:
            return notes
        ids = ", ".join(map(str, sorted(self._ids)))
        noun = "ids" if len(self._ids) > 1 else "id"
        return (
            *notes,
            f"--protect: no pixel of {self._name} has the {noun} {ids}: nothing was protected",
        )


def open_mask(mask: str | Path, *, width: int, height: int, frame_rate: Fraction, start_seconds: float) -> Mask:
    """Open a mask for frames of this size: what is white, or has one of the ids, stays as rendered.

    An image serves every frame; a clip is read along with the input from the same start, frame by frame and not by
    the numbers in names, and its last frame serves what comes after its end, even where it ends before the start.

    Raises:
        MediaError: the mask cannot be read.
    """
    path = check_mask(mask)
    _, ids = split_ids(mask)
    notes: list[str] = []

    def frames() -> Iterator[Weights]:
        weights: Weights | None = None
        with _naming_the_option():
            files, gaps = find_segmentations(path) if ids is not None else ([], [])
            notes.extend(gaps)
            stored: Iterator[UInt8 | Segments]
            if files:
                stored = map(read_segments, _along(files, frame_rate, start_seconds))
            else:
                stored = _clip_frames(path, frame_rate, start_seconds, notes)
                if ids is not None:
                    stored = (one_channel(frame, path) for frame in stored)
            for frame in stored:
                if weights is None:
                    notes.extend(_stretching(frame.shape[1], frame.shape[0], width, height))
                weights = _weights(frame, ids, width, height)
                yield weights
        while weights is not None:
            yield weights

    return Mask(frames(), path.name, ids, notes)


def _along(files: list[Path], rate: Fraction, start_seconds: float) -> Iterator[Path]:
    """Give the files as frames of a clip of this rate, from the start or else from the last one on."""
    last = Fraction(len(files) - 1) / rate
    timed = (Timed(index / rate, 1 / rate, file) for index, file in enumerate(files))
    return resample(timed, rate, Clock(rate, min(exact_seconds(start_seconds), last)))


def _clip_frames(path: Path, rate: Fraction, start_seconds: float, notes: list[str]) -> Iterator[UInt8]:
    """Read an image, or a clip along with the input: uint8 [H, W, 3]; what the reader warns of is noted."""
    if path.is_file() and path.suffix.lower() in IMAGES:
        with open_clip(path) as clip:
            image = next(clip.chunks(1))[0]
            _note(clip.warnings, notes)
            yield image
        return
    begin = exact_seconds(start_seconds)
    if begin:
        with open_clip(path, frame_rate=rate) as clip:
            if clip.info.num_frames is not None:
                begin = min(begin, (clip.info.num_frames - 1) / rate)
    with open_clip(path, start_seconds=begin, frame_rate=rate) as clip:
        for chunk in clip.chunks(8):
            _note(clip.warnings, notes)
            yield from chunk
        _note([*clip.warnings, *([] if clip.truncated is None else [clip.truncated])], notes)


def _note(warnings: Sequence[str], notes: list[str]) -> None:
    notes.extend(warning for warning in warnings if warning not in notes)


def _stretching(mask_width: int, mask_height: int, width: int, height: int) -> list[str]:
    """Say that a mask of another shape is stretched; a pixel or a hundredth may be a smaller copy's rounding."""
    fitting = mask_height * width / height
    if abs(mask_width - fitting) <= max(1, fitting / 100):
        return []
    return [
        f"it is {mask_width}x{mask_height}, the clip {width}x{height}, which is another shape: the mask was stretched"
    ]


def _weights(frame: UInt8 | Segments, ids: frozenset[int] | None, width: int, height: int) -> Weights:
    if ids is not None:
        kept = np.isin(frame, list(ids)).astype(np.float32)
        kept = cv2.resize(kept, (width, height), interpolation=cv2.INTER_NEAREST)
    else:
        kept = frame.astype(np.float32).mean(axis=2) / 255
        if kept.shape != (height, width):
            kept = cv2.resize(kept, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 - kept, dtype=np.float32)


def _refuse_labels(path: Path) -> None:
    """Refuse labels without ids: numbers have no white."""
    if path.suffix.lower() == ".npz" or (path.is_dir() and any(path.glob("*.npz"))):
        raise MediaError(f"{path}: expected the ids to protect after a segmentation, got none: write {path}#3,17")


@contextmanager
def _naming_the_option() -> Iterator[None]:
    try:
        yield
    except MediaError as error:
        raise MediaError(f"--protect: {error}") from error
