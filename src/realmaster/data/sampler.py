"""Draw clips from footage: uniform over its videos, across no cut, training and validation apart by video.

The paper's clips are drawn so (arXiv 2603.23462, data): 81 frames at 16 a second from videos of 8, each frame shown
twice. Separate from `scan`, which looks at pictures: here are numbers alone, so a plan is made in a moment, and the
same seed makes the same plan. Asking for more clips later keeps those already drawn.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from realmaster.config import Settings
from realmaster.data.scan import Scan, ScanSettings, Stretch
from realmaster.data.sources.source import SourceVideo, Split
from realmaster.errors import DataError
from realmaster.media.timing import Clock, source_index


class SampleSettings(Settings):
    """Which clips are drawn."""

    num_frames: int = Field(81, ge=1, le=1024, description="frames of a clip; 4n + 1 fits the video autoencoders")
    frame_rate: int = Field(16, ge=1, le=120, description="frames a second of a clip; frames are repeated up to it")
    train: int = Field(ge=0, description="training clips")
    validation: int = Field(0, ge=0, description="validation clips, from other videos")
    validation_share: float = Field(
        0.1, gt=0, lt=1, description="share of the videos kept for validation, where no list or source says"
    )
    most_per_video: int | None = Field(None, ge=1, description="clips of one video; null takes what has room")
    overlap: float = Field(0.0, ge=0, lt=1, description="share of a clip that another one may show too")
    buckets: tuple[str, ...] = Field(
        ("832x480",), min_length=1, description="sizes WIDTHxHEIGHT; the nearest aspect is taken"
    )
    framing: str = Field(
        "crop", pattern="^(crop|fit)$", description="crop fills the bucket; fit keeps the whole picture"
    )
    scan: ScanSettings = ScanSettings()

    @field_validator("buckets")
    @classmethod
    def _are_sizes(cls, buckets: tuple[str, ...]) -> tuple[str, ...]:
        for bucket in buckets:
            parse_bucket(bucket)
        return buckets


@dataclass(frozen=True)
class Footage:
    """One video on offer: its source's name, itself, and what the scan found."""

    source: str
    video: SourceVideo
    scan: Scan

    @property
    def key(self) -> str:
        """Name of the video among all sources."""
        return f"{self.source}/{self.video.name}"


@dataclass(frozen=True)
class Draw:
    """One clip: where it begins, in frames of the source."""

    footage: Footage
    first_frame: int
    split: Split


@dataclass(frozen=True)
class Drawn:
    """What was drawn, and what of the footage is no part of any clip, with the reason (by video)."""

    draws: tuple[Draw, ...]
    dropped: Mapping[str, tuple[Stretch, ...]]
    missing: Mapping[Split, int]  # clips that were asked for and that the footage has no room for


def source_frames(settings: SampleSettings, rate: Fraction) -> list[int]:
    """Give the source's frame for each frame of a clip, counted from the clip's first: 8 -> 16 gives 0, 0, 1, 1, ..."""
    clock = Clock(Fraction(settings.frame_rate))
    return [source_index(index, rate, clock) for index in range(settings.num_frames)]


def draw_clips(footage: Sequence[Footage], settings: SampleSettings, *, seed: int) -> Drawn:
    """Draw the clips of both splits: in rounds, each video once a round while it has room.

    Raises:
        DataError: no video has room for a clip, or validation has no video of its own.
    """
    needed = {one.key: source_frames(settings, one.video.frame_rate)[-1] + 1 for one in footage}
    roomy = [one for one in footage if _longest(one) >= needed[one.key]]
    splits = assign_splits([one.video for one in roomy], [one.key for one in roomy], settings, seed=seed)
    dropped = {one.key: tuple(_dropped(one, needed[one.key])) for one in footage}
    wanted: dict[Split, int] = {"train": settings.train, "validation": settings.validation}
    draws: list[Draw] = []
    missing: dict[Split, int] = {}
    for split, count in wanted.items():
        pool = [_Room(one, needed[one.key], settings, seed) for one in roomy if splits[one.key] == split]
        found = _rounds(pool, count, seed=seed, split=split)
        draws += [Draw(room, first, split) for room, first in found]
        if len(found) < count:
            missing[split] = count - len(found)
    if not draws:
        raise DataError(_no_room(footage, roomy, needed, settings))
    return Drawn(tuple(draws), {key: stretches for key, stretches in dropped.items() if stretches}, missing)


def assign_splits(
    videos: Sequence[SourceVideo], keys: Sequence[str], settings: SampleSettings, *, seed: int
) -> dict[str, Split]:
    """Put every video into one split: as its source says, else by the seed.

    Raises:
        DataError: validation clips are asked for and there is a single video.
    """
    splits: dict[str, Split] = {key: video.split for key, video in zip(keys, videos, strict=True) if video.split}
    open_keys = sorted((key for key in keys if key not in splits), key=lambda key: _digest(seed, "split", key))
    num_validation = 0
    if settings.validation and "validation" not in splits.values():
        if len(keys) == 1 and settings.train:
            raise DataError(
                "expected at least two videos with room for a clip, to keep training and validation apart, got one: "
                "give more footage, or set sample.validation to 0"
            )
        num_validation = min(len(open_keys), max(1, round(settings.validation_share * len(open_keys))))
        if not settings.train:
            num_validation = len(open_keys)
        elif num_validation == len(open_keys) and "train" not in splits.values():
            num_validation -= 1
    for index, key in enumerate(open_keys):
        splits[key] = "validation" if index < num_validation else "train"
    return splits


def choose_size(height: int, width: int, settings: SampleSettings) -> tuple[int, int]:
    """Choose (height, width) of a video's clips: the bucket of the nearest aspect, or the largest size within it."""
    sizes = [parse_bucket(bucket) for bucket in settings.buckets]
    rows, columns = min(sizes, key=lambda size: abs(np.log(size[1] / size[0]) - np.log(width / height)))
    if settings.framing == "crop":
        return rows, columns
    factor = min(rows / height, columns / width)
    stride = 16 if min(rows, columns) >= 256 else 8
    return max(stride, int(height * factor + 0.5) // stride * stride), max(
        stride, int(width * factor + 0.5) // stride * stride
    )


def parse_bucket(bucket: str) -> tuple[int, int]:
    """Read "832x480" as (height, width).

    Raises:
        ValueError: it is written otherwise, or a side is no multiple of 8.
    """
    width, _, height = bucket.partition("x")
    if not (width.isdigit() and height.isdigit()) or int(width) % 8 or int(height) % 8 or not int(width) * int(height):
        raise ValueError(f"expected sizes such as 832x480, with sides in multiples of 8, got {bucket!r}")
    return int(height), int(width)


class _Room:
    """The starts that a video still offers."""

    def __init__(self, footage: Footage, needed: int, settings: SampleSettings, seed: int) -> None:
        self.footage = footage
        self._spacing = max(1, round(needed * (1 - settings.overlap)))
        self._left = settings.most_per_video
        self._generator = np.random.default_rng(_digest(seed, "starts", footage.key))
        self._free: npt.NDArray[np.bool_] = np.zeros(footage.video.num_frames, dtype=bool)
        for first, end in footage.scan.spans(footage.video.breaks):
            self._free[first : max(first, end - needed + 1)] = True

    @property
    def has_room(self) -> bool:
        return bool(self._free.any()) and self._left != 0

    def take(self) -> int:
        """Draw a start, and take it and what overlaps it off the list."""
        starts = np.flatnonzero(self._free)
        first = int(starts[self._generator.integers(len(starts))])
        self._free[max(0, first - self._spacing + 1) : first + self._spacing] = False
        if self._left is not None:
            self._left -= 1
        return first


def _rounds(pool: list[_Room], count: int, *, seed: int, split: Split) -> list[tuple[Footage, int]]:
    found: list[tuple[Footage, int]] = []
    for number in range(count):
        rooms = [room for room in pool if room.has_room]
        if not rooms:
            break
        order = np.random.default_rng(_digest(seed, split, str(number))).permutation(len(rooms))
        for index in order:
            found.append((rooms[index].footage, rooms[index].take()))
            if len(found) == count:
                return found
    return found[:count]


def _dropped(footage: Footage, needed: int) -> list[Stretch]:
    """List what is lost of a video: as the scan says, and what is left between and too short."""
    short = [
        Stretch(first, end, "shorter than a clip")
        for first, end in footage.scan.spans(footage.video.breaks)
        if end - first < needed
    ]
    return sorted([*footage.scan.dropped, *short], key=lambda stretch: stretch.first)


def _longest(footage: Footage) -> int:
    """Give the frames of a video's longest unbroken stretch."""
    return max((end - first for first, end in footage.scan.spans(footage.video.breaks)), default=0)


def _no_room(
    footage: Sequence[Footage], roomy: Sequence[Footage], needed: Mapping[str, int], settings: SampleSettings
) -> str:
    if not footage:
        return "expected footage, the sources hold no video: check their paths"
    if not settings.train and not settings.validation:
        return "expected clips to draw, sample.train and sample.validation are 0: ask for some"
    if roomy:
        asked = "train" if settings.train else "validation"
        return (
            f"expected {asked} videos with room for a clip, all {len(roomy)} that have it are of the other split: ask "
            "for clips of that one, or change the source's split"
        )
    lost: Counter[str] = Counter()
    for one in footage:
        for stretch in one.scan.dropped:
            lost[stretch.reason] += stretch.end - stretch.first
    one = max(footage, key=lambda one: _longest(one) / one.video.frame_rate)
    longest = _longest(one)
    why = f"; most of the rest was dropped as {lost.most_common(1)[0][0]}" if lost else ""
    return (
        f"expected room for clips of {settings.num_frames} frames at {settings.frame_rate} a second, the longest "
        f"unbroken stretch ({one.key}) has {longest} frames, {float(longest / one.video.frame_rate):.2g} s, and "
        f"{needed[one.key]} are needed{why}: lower sample.num_frames, or give longer footage"
    )


def _digest(seed: int, *parts: str) -> int:
    return int.from_bytes(hashlib.sha256("\n".join([str(seed), *parts]).encode()).digest()[:8], "big")
