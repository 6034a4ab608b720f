"""Look through a video once: where it is cut, and which stretches show nothing to learn from.

Separate from the sampler, which draws clips from what is left: a scan reads every frame, is done once for each video
and kept. Cuts are found by PySceneDetect (extra `pairs`) on small copies of the frames.

Letters: H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from realmaster.config import Settings
from realmaster.data.sources.source import Frame
from realmaster.optional import require

Reason = Literal["black", "frozen", "menu-like"]
_LONGEST_SIDE = 256  # of the small copies
_BLOCK = 8  # pixels of a block, in which stillness and flatness are judged
_WINDOW = 2  # frames on either side to which PySceneDetect's adaptive detector compares a change


class ScanSettings(Settings):
    """What counts as a cut, and what is dropped."""

    detector: Literal["adaptive", "content", "none"] = Field(
        "adaptive", description="PySceneDetect's; adaptive bears fast cameras; none takes a video for one shot"
    )
    threshold: float | None = Field(
        None, gt=0, description="of the detector; null takes its own (3 adaptive, 27 content)"
    )
    black_level: float | None = Field(
        10.0, ge=0, le=255, description="mean luma below which a frame is black; null keeps"
    )
    frozen_seconds: float | None = Field(1.0, gt=0, description="stillness of this length is dropped; null keeps it")
    still_levels: float = Field(
        0.35, ge=0, description="mean change, in levels of 255, up to which a frame stands still"
    )
    menu_flat: float | None = Field(
        0.6,
        gt=0,
        le=1,
        description="share of flat blocks from which a nearly still frame is menu-like; null: none",
    )
    menu_still: float = Field(0.8, gt=0, le=1, description="share of blocks that stand still in a menu")
    menu_seconds: float = Field(0.5, gt=0, description="menu-like frames shorter than this are kept")


@dataclass(frozen=True)
class Stretch:
    """Frames `first` to `end` (left out) of a video, and why they are dropped."""

    first: int
    end: int
    reason: str


@dataclass(frozen=True)
class Scan:
    """What was found in one video: frames before which there is a cut, and stretches to drop."""

    num_frames: int
    cuts: tuple[int, ...] = ()
    dropped: tuple[Stretch, ...] = ()

    def spans(self, breaks: Iterable[int] = ()) -> list[tuple[int, int]]:
        """Give the stretches that are left, as (first, end): between cuts, `breaks` and what is dropped."""
        usable = np.ones(self.num_frames, dtype=bool)
        for stretch in self.dropped:
            usable[stretch.first : stretch.end] = False
        edges = sorted({0, self.num_frames, *self.cuts, *breaks, *(e for s in self.dropped for e in (s.first, s.end))})
        return [(first, end) for first, end in pairwise(edges) if first < end and usable[first:end].all()]


def scan_frames(frames: Iterable[Frame], rate: Fraction, settings: ScanSettings) -> Scan:
    """Look through a video's frames, uint8 [H, W, 3] at `rate` a second; holds two of them.

    Raises:
        MissingExtraError: PySceneDetect is not installed.
    """
    finder = None if settings.detector == "none" else _CutFinder(settings, rate)
    facts: list[_Facts] = []
    before: npt.NDArray[np.uint8] | None = None
    for frame in frames:
        small = _shrink(frame)
        if finder is not None:
            finder.add(small)
        luma = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
        facts.append(_facts(luma, before, settings))
        before = luma
    cuts = () if finder is None else tuple(finder.finish())
    return Scan(len(facts), cuts, tuple(_dropped(facts, rate, settings)))


class _CutFinder:
    """PySceneDetect's detector, fed frame by frame; first and last frame are repeated, so that it has neighbours."""

    def __init__(self, settings: ScanSettings, rate: Fraction) -> None:
        detectors = require("scenedetect.detectors", extra="pairs")
        self._timecode: Any = require("scenedetect.common", extra="pairs").FrameTimecode
        self._rate = float(rate)
        shortest = max(2, round(rate / 4))  # frames; a shot of less than a quarter of a second is a flash
        if settings.detector == "adaptive":
            threshold = settings.threshold if settings.threshold is not None else 3.0
            self._detector = detectors.AdaptiveDetector(
                adaptive_threshold=threshold, min_scene_len=shortest, window_width=_WINDOW
            )
        else:
            threshold = settings.threshold if settings.threshold is not None else 27.0
            self._detector = detectors.ContentDetector(threshold=threshold, min_scene_len=shortest)
        self._count = 0
        self._cuts: list[int] = []
        self._last: Frame | None = None

    def add(self, frame: Frame) -> None:
        if self._last is None:
            for _ in range(1 + _WINDOW):
                self._feed(frame)
        self._feed(frame)
        self._last = frame

    def finish(self) -> list[int]:
        if self._last is None:
            return []
        num_frames = self._count - 1 - _WINDOW
        for _ in range(_WINDOW):
            self._feed(self._last)
        self._cuts += [self._frame_of(cut) for cut in self._detector.post_process(self._at(self._count))]
        return sorted({cut for cut in self._cuts if 0 < cut < num_frames})

    def _feed(self, frame: Frame) -> None:
        found = self._detector.process_frame(self._at(self._count), np.ascontiguousarray(frame[..., ::-1]))
        self._cuts += [self._frame_of(cut) for cut in found]
        self._count += 1

    def _at(self, index: int) -> Any:
        return self._timecode(index, fps=self._rate)

    def _frame_of(self, cut: Any) -> int:
        return int(cut.frame_num) - 1 - _WINDOW


@dataclass(frozen=True)
class _Facts:
    is_black: bool
    is_still: bool
    is_menu: bool


def _facts(luma: npt.NDArray[np.uint8], before: npt.NDArray[np.uint8] | None, settings: ScanSettings) -> _Facts:
    is_black = settings.black_level is not None and float(luma.mean()) < settings.black_level
    if before is None or before.shape != luma.shape:
        return _Facts(is_black, False, False)
    change = np.abs(luma.astype(np.int16) - before)
    is_still = float(change.mean()) <= settings.still_levels
    is_menu = False
    if settings.menu_flat is not None:
        flat = _blocks(luma.astype(np.float32)).std(axis=(1, 3)) < 2.0
        still = _blocks(change.astype(np.float32)).mean(axis=(1, 3)) <= settings.still_levels
        is_menu = float(flat.mean()) >= settings.menu_flat and float(still.mean()) >= settings.menu_still
    return _Facts(is_black, is_still, is_menu)


def _dropped(facts: list[_Facts], rate: Fraction, settings: ScanSettings) -> Iterator[Stretch]:
    """Turn facts of frames into stretches; a frame that stands still makes the one before part of the stretch."""
    yield from _runs([fact.is_black for fact in facts], 1, "black", reach=0)
    if settings.frozen_seconds is not None:
        least = max(1, round(settings.frozen_seconds * rate))
        yield from _runs([fact.is_still for fact in facts], least, "frozen", reach=1)
    if settings.menu_flat is not None:
        least = max(1, round(settings.menu_seconds * rate))
        yield from _runs([fact.is_menu for fact in facts], least, "menu-like", reach=1)


def _runs(flags: list[bool], least: int, reason: Reason, *, reach: int) -> Iterator[Stretch]:
    first: int | None = None
    for index, flag in enumerate([*flags, False]):
        if flag and first is None:
            first = index
        if not flag and first is not None:
            if index - first >= least:
                yield Stretch(max(0, first - reach), index, reason)
            first = None


def _shrink(frame: Frame) -> Frame:
    height, width = frame.shape[:2]
    factor = min(1.0, _LONGEST_SIDE / max(height, width))
    size = (max(_BLOCK, round(width * factor)), max(_BLOCK, round(height * factor)))
    if factor == 1.0 and size == (width, height):
        return frame
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _blocks(plane: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Cut [H, W] into whole blocks: [H / 8, 8, W / 8, 8]."""
    rows, columns = plane.shape[0] // _BLOCK, plane.shape[1] // _BLOCK
    return plane[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK)
