"""Image sequences: which files belong to one, in which order, and reading them as a clip.

Separate from `images.py`, which knows one picture and no order.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

from realmaster.errors import MediaError
from realmaster.media.absent import no_images
from realmaster.media.clip import ClipReader, starts_too_late
from realmaster.media.color import UInt8
from realmaster.media.images import READABLE, TRANSPARENT, image_size, read_image_and_notes
from realmaster.media.timing import Clock, Timed, exact_seconds, on_the_sources_grid, source_index
from realmaster.types import ClipInfo

DEFAULT_IMAGE_RATE = Fraction(16)
"""Images a second where nobody says; what the models were trained at."""

COUNTER = re.compile(r"%0?(\d*)d")
"""The place of the number in a name such as `frame_%04d.png`."""

_LAST_NUMBER = re.compile(r"([0-9]+)[^0-9]*$")


def is_pattern(path: Path) -> bool:
    """Tell `frame_%04d.png` and `*.png` from the name of one file."""
    # "clip[1].mp4" that does not exist is a missing video, not a pattern of images
    if path.exists() or (path.suffix.lower() not in (*READABLE, "") and not set("*?[") & set(path.suffix)):
        return False
    return bool(COUNTER.search(path.name) or set("*?[") & set(path.name))


def find_images(path: Path) -> tuple[list[Path], list[str]]:
    """List a sequence's images in order, with warnings about missing numbers.

    Args:
        path: a folder, a printf pattern such as `frame_%04d.png`, or a glob such as `*.png`. In a folder and by glob,
            images are ordered by the numbers in their names as numbers (2 before 10).

    Raises:
        MediaError: no image there, or images of several kinds in one folder.
    """
    if path.is_dir():
        try:
            files = [file for file in path.iterdir() if _is_image(file)]
        except OSError as error:
            raise MediaError(f"{path}: expected a folder of images, could not open it ({error.strerror})") from error
        kinds = sorted({_kind(file) for file in files})
        if len(kinds) > 1:
            counts = ", ".join(f"{sum(_kind(file) == kind for file in files)} {kind}" for kind in kinds)
            raise MediaError(
                f"{path}: expected images of one kind, found {counts}: give a pattern such as {path}/*.png"
            )
    elif COUNTER.search(path.name):
        numbered = _numbered(path)
        if numbered:
            return [numbered[number] for number in sorted(numbered)], _gaps(sorted(numbered))
        files = []
    else:
        files = [file for file in path.parent.glob(path.name) if _is_image(file)]
    if not files:
        raise no_images(path)
    files = sorted(files, key=_natural_order)
    return files, number_gaps(files)


def number_gaps(files: list[Path]) -> list[str]:
    """Say which numbers are missing in the names of files that differ by one number alone; else nothing."""
    parts = [re.split(r"(\d+)", file.stem) for file in files]
    if len({len(part) for part in parts}) != 1:
        return []
    differing = [place for place, texts in enumerate(zip(*parts, strict=True)) if len(set(texts)) > 1]
    if len(differing) != 1 or differing[0] % 2 == 0:  # what stands at even places is no number
        return []
    return _gaps(sorted({int(part[differing[0]]) for part in parts}))


class SequenceReader(ClipReader):
    """Images as the frames of a clip; all must have the first one's size."""

    def __init__(
        self,
        path: Path,
        *,
        start_seconds: float | Fraction,
        duration_seconds: float | None,
        frame_rate: Fraction | None,
        image_rate: Fraction | None,
    ) -> None:
        """List the images and check the size of each before any is used.

        Raises:
            MediaError: no images, mixed sizes, an unreadable image, or an end before `start_seconds`.
        """
        self.files, gaps = ([path], []) if path.is_file() else find_images(path)
        self._image_rate = source_rate = image_rate or frame_rate or DEFAULT_IMAGE_RATE
        clock = Clock(frame_rate or source_rate, exact_seconds(start_seconds))
        end = len(self.files) / source_rate
        if clock.start >= end:
            raise starts_too_late(path, clock.start, end)
        clock = on_the_sources_grid(source_rate, clock, end)
        num_frames = clock.count(end)
        limit = None
        if duration_seconds is not None:
            limit = Clock(clock.rate).count(exact_seconds(duration_seconds))
            num_frames = min(num_frames, limit)
        width, height = self._common_size()
        _, notes = read_image_and_notes(self.files[0])
        info = ClipInfo(
            width=width,
            height=height,
            frame_rate=clock.rate,
            num_frames=num_frames,
            duration_seconds=float(num_frames / clock.rate),
            has_alpha=TRANSPARENT in notes,
            source=str(path),
        )
        super().__init__(info, source_rate=source_rate, clock=clock, limit=limit)
        self.warnings += gaps
        self._noted: set[str] = set()
        if image_rate is None and frame_rate is None and len(self.files) > 1:
            self.rate_warning = f"images carry no frame rate: they were taken as {source_rate} a second"
            self._warn(self.rate_warning)
        numbers = numbers_of(self.files) if clock.rate == source_rate else None
        if numbers is not None:
            first = source_index(0, source_rate, clock)
            self.numbers = numbers[first : first + num_frames]

    def _timed(self) -> Iterator[Timed[Path]]:
        period = 1 / self._image_rate
        for index, file in enumerate(self.files):
            yield Timed(index * period, period, file)

    def _pixels(self, frame: Path) -> UInt8:
        rgb, notes = read_image_and_notes(frame)
        for note in notes:
            if note not in self._noted:
                self._noted.add(note)
                self._warn(f"{note} (first in {frame.name})" if len(self.files) > 1 else note)
        self._check_size(frame, (rgb.shape[1], rgb.shape[0]))
        return rgb

    def _common_size(self) -> tuple[int, int]:
        """Read the headers of all images, so that a sequence that cannot be used is refused before it is begun."""
        self._size = image_size(self.files[0])
        for file in self.files[1:]:
            self._check_size(file, image_size(file))
        return self._size

    def _check_size(self, file: Path, size: tuple[int, int]) -> None:
        if size != self._size:
            raise MediaError(
                f"{file}: expected {self._size[0]}x{self._size[1]} pixels as in {self.files[0].name}, "
                f"got {size[0]}x{size[1]}: give images of one size"
            )


def numbers_of(files: Sequence[Path]) -> list[int] | None:
    """Give the images' numbers, the last one in each name; None where names differ elsewhere, or hold none."""
    numbers, shapes = [], set()
    for file in files:
        found = _LAST_NUMBER.search(file.stem)
        if found is None:
            return None
        numbers.append(int(found[1]))
        shapes.add((file.stem[: found.start()], file.stem[found.end(1) :]))
    return numbers if len(shapes) == 1 and all(one < other for one, other in pairwise(numbers)) else None


def _is_image(file: Path) -> bool:
    # names with a leading dot are other programs' notes, such as macOS's "._frame.png"
    return file.suffix.lower() in READABLE and not file.name.startswith(".") and file.is_file()


def _kind(file: Path) -> str:
    return {".jpeg": ".jpg"}.get(file.suffix.lower(), file.suffix.lower())


def _natural_order(file: Path) -> list[Any]:
    parts = re.split(r"(\d+)", file.name)
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]


def _numbered(pattern: Path) -> dict[int, Path]:
    match = COUNTER.search(pattern.name)
    assert match is not None
    width = int(match.group(1) or 1)
    before, after = pattern.name[: match.start()], pattern.name[match.end() :]
    name = re.compile(rf"{re.escape(before)}(\d{{{width},}}){re.escape(after)}")
    if not pattern.parent.is_dir():
        return {}
    found = ((name.fullmatch(file.name), file) for file in pattern.parent.iterdir())
    return {int(hit.group(1)): file for hit, file in found if hit and file.is_file()}


def _gaps(numbers: list[int]) -> list[str]:
    missing = numbers[-1] - numbers[0] + 1 - len(numbers)
    if not missing:
        return []
    first = next(a + 1 for a, b in pairwise(numbers) if b != a + 1)
    return [f"{missing} numbers are missing in the sequence, the first is {first}: the images were taken as neighbours"]
