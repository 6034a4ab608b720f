"""Videos that are lists of image files: what SAIL-VOS, CARLA and the engines' sequences have in common.

Separate from the three readers, which only know where the files lie and what a pass's numbers mean.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

from PIL import Image

from realmaster.data.sources.source import Frame, Plane, SourceVideo, Split
from realmaster.errors import MediaError
from realmaster.media.images import image_size, read_image

logger = logging.getLogger(__name__)

ReadImage = Callable[[Path], Frame]
ReadPass = Callable[[Path], Plane]


@dataclass(frozen=True)
class FolderVideo:
    """One video: its images in order, and the file of each frame for every pass that is whole."""

    name: str
    images: tuple[Path, ...]
    frame_rate: Fraction
    passes: Mapping[str, tuple[Path, ...]] = field(default_factory=dict)
    split: Split | None = None
    caption: str | None = None


class FolderSource:
    """A source over lists of image files."""

    def __init__(
        self,
        videos: Sequence[FolderVideo],
        readers: Mapping[str, ReadPass],
        *,
        read: ReadImage = read_image,
        size: Callable[[Path], tuple[int, int]] = image_size,
        notes: Sequence[str] = (),
    ) -> None:
        """Take the videos, how a pass's file is read, how an image and its (width, height) are, and what to warn of.

        Raises:
            MediaError: two videos have one name.
        """
        self._videos = {video.name: video for video in sorted(videos, key=lambda video: video.name)}
        if len(self._videos) < len(videos):
            twice = next(video for video in videos if self._videos[video.name] is not video)
            raise MediaError(
                f"expected a name for each video, {twice.name} is that of {twice.images[0]} and of "
                f"{self._videos[twice.name].images[0]}: give each a folder of its own"
            )
        self._readers, self._read, self._size, self._notes = dict(readers), read, size, tuple(notes)
        self.unusable: dict[str, str] = {}

    def videos(self) -> list[SourceVideo]:
        """Give the videos by name; the size is that of the first image. Those without one are `unusable`."""
        for note in self._notes:
            logger.warning("%s", note)
        found, self.unusable = [], {}
        for video in self._videos.values():
            try:
                found.append(self._describe(video))
            except MediaError as error:
                self.unusable[video.name] = str(error)
        return found

    def frames(self, video: str, first: int, count: int) -> Iterator[Frame]:
        """Give frames, uint8 [H, W, 3] each.

        Raises:
            MediaError: an image cannot be read, has another size than the first, or there are not so many.
        """
        images = self._of(video).images
        width, height = self._size(images[0])
        for file in _cut(images, first, count, video):
            frame = self._read(file)
            if frame.shape[:2] != (height, width):
                raise MediaError(
                    f"{file}: expected {width}x{height} pixels as in {images[0].name}, got "
                    f"{frame.shape[1]}x{frame.shape[0]}: give images of one size"
                )
            yield frame

    def read_pass(self, video: str, name: str, first: int, count: int) -> Iterator[Plane]:
        """Give a pass's planes [H, W].

        Raises:
            MediaError: the video has no such pass, or a file cannot be read.
        """
        files = self._of(video).passes.get(name)
        if files is None:
            there = ", ".join(self._of(video).passes) or "none"
            raise MediaError(f"expected the pass {name!r} of the video {video}, it has {there}: choose another control")
        for file in _cut(files, first, count, video):
            yield self._readers[name](file)

    def _of(self, video: str) -> FolderVideo:
        try:
            return self._videos[video]
        except KeyError as error:
            raise MediaError(f"expected the video {video} in its source, found none: restore its folder") from error

    def _describe(self, video: FolderVideo) -> SourceVideo:
        width, height = self._size(video.images[0])
        numbers = [frame_number(image) for image in video.images]
        jumps = [
            i for i, (a, b) in enumerate(pairwise(numbers), start=1) if a is not None and b is not None and b != a + 1
        ]
        if jumps:
            logger.warning("%s: %d gaps in the numbers of its images: no clip reaches across", video.name, len(jumps))
        return SourceVideo(
            name=video.name,
            num_frames=len(video.images),
            frame_rate=video.frame_rate,
            height=height,
            width=width,
            split=video.split,
            caption=video.caption,
            passes=tuple(sorted(video.passes)),
            breaks=tuple(jumps),
        )


def frame_number(file: Path) -> int | None:
    """Read the last number in a file's name, without its ending; None where there is none."""
    found = re.findall(r"\d+", file.stem)
    return int(found[-1]) if found else None


def numbered(files: Sequence[Path]) -> list[Path]:
    """Sort files by the last number in their names, as numbers."""
    return sorted(files, key=lambda file: (frame_number(file) is None, frame_number(file) or 0, file.name))


def whole_passes(
    images: Sequence[Path], candidates: Mapping[str, Mapping[int | None, Path]], video: str, notes: list[str]
) -> dict[str, tuple[Path, ...]]:
    """Give the passes that have a file for each image, by number; add to `notes` which others are left out."""
    passes = {}
    for name, files in candidates.items():
        missing = [image for image in images if frame_number(image) not in files]
        if not missing:
            passes[name] = tuple(files[frame_number(image)] for image in images)
        elif files:
            notes.append(
                f"{video}: the pass {name} lacks {len(missing)} of {len(images)} frames, the first is that of "
                f"{missing[0].name}: it was left out"
            )
    return passes


def by_number(files: Sequence[Path]) -> dict[int | None, Path]:
    """Name files by their number."""
    return {frame_number(file): file for file in files}


def read_opaque(path: Path) -> Frame:
    """Read an image as uint8 RGB [H, W, 3] and drop its alpha: captures of a screen hold anything there.

    Raises:
        MediaError: the file is missing or damaged.
    """
    import numpy as np

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].replace(str(path), "file")
        raise MediaError(f"{path}: expected an image, could not read it ({reason}): restore this frame") from error


def _cut(files: Sequence[Path], first: int, count: int, video: str) -> Sequence[Path]:
    if first < 0 or first + count > len(files):
        raise MediaError(
            f"{video}: expected frames {first} to {first + count - 1}, the video has {len(files)}: restore its files"
        )
    return files[first : first + count]
