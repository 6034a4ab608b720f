"""Where images go: a folder of their own, or by a pattern among other files, under temporary names until all are made.

Separate from the video's sink because what is replaced differs: a folder of its own as a whole, of a pattern only the
files that it names.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from realmaster.errors import OutputError
from realmaster.media.color import UInt8
from realmaster.media.encode import MUXERS
from realmaster.media.images import READABLE, WRITABLE, check_fits, encode_image
from realmaster.media.numbering import NumberedName, is_numbered, read_pattern, would_join
from realmaster.media.output import (
    check_folder,
    check_output,
    is_same_file,
    keep,
    leftovers,
    put_in_place,
    remove,
    rename_to_free,
    temporary_path,
)


class ImageSink:
    """A folder of images being written."""

    def __init__(
        self,
        path: Path,
        *,
        overwrite: bool,
        inputs: Iterable[str | Path],
        numbers: Sequence[int] | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        """Begin the temporary folder.

        Raises:
            OutputError: see `check_output`; an ending that is no image's, or of images that cannot hold `size` (width,
                height); a folder with other things in it.
            OSError: the folder cannot be written.
        """
        self._path = path
        self._names = self._check(path, overwrite=overwrite, inputs=inputs)
        if size is not None:
            check_fits(self._names.suffix, *size)
        self.warnings: list[str] = leftovers(self._beside)
        self._numbers, self._next = iter(numbers or ()), 0
        self._written: list[int] = []
        self.part = temporary_path(self._beside)
        self.part.mkdir()

    def write(self, frame: UInt8) -> None:
        """Write one image, under the next number."""
        number = next(self._numbers, self._next)
        (self.part / self._names.of(number)).write_bytes(encode_image(frame, self._names.suffix))
        self._written.append(number)
        self._next = number + 1

    def finish(self) -> None:
        """Do nothing: every image is whole already."""

    def place(self, *, overwrite: bool) -> None:
        """Give the folder its name.

        Raises:
            OutputError: there is something in its place that may not be replaced; the work is kept.
        """
        if overwrite and (other := _other_thing(self.target)):
            raise keep(self.part, self._path, f"expected only images to replace, found {other}")
        put_in_place(self.part, self.target, overwrite=overwrite)

    def drop(self) -> None:
        """Remove the temporary folder."""
        remove(self.part)

    def _check(self, path: Path, *, overwrite: bool, inputs: Iterable[str | Path]) -> NumberedName:
        """Refuse a folder that holds anything but images: it is no earlier output. An empty one may be replaced."""
        self.target = self._beside = path
        if path.suffix.lower() in READABLE:
            raise OutputError(
                f"{path}: expected a folder for images or a pattern such as {path.stem}_%04d{path.suffix}, got the "
                "name of one image: give one of these"
            )
        is_empty = path.is_dir() and not any(path.iterdir())
        check_output(path, overwrite=overwrite or is_empty, inputs=inputs)
        if path.exists() and not path.is_dir():
            raise OutputError(f"{path}: expected a folder to replace, found a file: choose another name")
        if other := _other_thing(path):
            raise OutputError(f"{path}: expected only images to replace, found {other}: choose another folder")
        return NumberedName("frame_", 6, ".png")


class PatternSink(ImageSink):
    """Numbered images being written into a folder that may hold other files."""

    def place(self, *, overwrite: bool) -> None:
        """Give each image its name; of an earlier output, numbers above the last new one are removed.

        Raises:
            OutputError: a name is taken and may not be replaced; what is not in place yet is kept.
        """
        if not os.path.lexists(self.target):
            with suppress(OSError):  # the folder has come meanwhile: file by file
                self.part.rename(self.target)
                return
        there = self._numbered_files()
        for name in there.values():
            if not overwrite or not _is_replaceable(self.target / name):
                raise keep(
                    self.part, self._path, f"expected names that are still free at the end, found {name}", self._beside
                )
        for number in self._written:
            name = self._names.of(number)
            if overwrite:
                (self.part / name).replace(self.target / name)
            elif not rename_to_free(self.part / name, self.target / name):
                raise keep(
                    self.part, self._path, f"expected names that are still free at the end, found {name}", self._beside
                )
        stale = [number for number in there if number > max(self._written)]
        for number in stale:
            (self.target / there[number]).unlink(missing_ok=True)
        if others := sorted(there.keys() - {*self._written, *stale}):
            count = "1 image has" if len(others) == 1 else f"{len(others)} images have"
            self.warnings.append(
                f"{self.target}: {count} the pattern's name and none of the numbers written, the first is "
                f"{there[others[0]]}: left as it was"
            )
        remove(self.part)

    def _check(self, path: Path, *, overwrite: bool, inputs: Iterable[str | Path]) -> NumberedName:
        """Refuse a pattern that is none, images of other kinds, names that are taken or the input's."""
        self.target, self._names = path.parent, read_pattern(path.name)
        suffix = self._names.suffix
        if suffix.lower() not in WRITABLE:
            raise OutputError(f"{path}: expected images ending in {', '.join(WRITABLE)}, got {suffix!r}: rename them")
        if not self.target.exists():
            check_output(self.target, overwrite=False)
            self._beside = self.target
            return self._names
        # the temporary folder lies inside, where files can be renamed from it whatever is mounted there
        self._beside = self.target / f"{self._names.before}images"
        if not self.target.is_dir():
            raise OutputError(f"{self.target}: expected a folder for images, found a file: choose another name")
        check_folder(path, self.target)
        there = [self.target / name for name in self._numbered_files().values()]
        names = [self._names.of(0), *(file.name for file in there)]
        for source in map(Path, inputs):
            joins = any(would_join(name, self.target, source) for name in names)
            if joins or any(is_same_file(file, source) for file in there):
                raise OutputError(f"{path}: expected an output other than the input, got the same: choose another name")
        if taken := [file for file in there if not overwrite or not _is_replaceable(file)]:
            raise OutputError(
                f"{path}: expected free names, found {taken[0].name}: choose another pattern or add "
                "--overwrite (in Python overwrite=True)"
            )
        return self._names

    def _numbered_files(self) -> dict[int, str]:
        """Find what the pattern names in its folder, by number."""
        found = ((self._names.number(name), name) for name in sorted(os.listdir(self.target)))  # noqa: PTH208 - names
        return {number: name for number, name in found if number is not None}


def image_sink(
    path: Path,
    *,
    overwrite: bool,
    inputs: Iterable[str | Path],
    numbers: Sequence[int] | None = None,
    size: tuple[int, int] | None = None,
) -> ImageSink:
    """Begin a folder of images, or images by a pattern such as `folder/frame_%04d.png`.

    Args:
        path: the folder or the pattern.
        overwrite: replace what is there.
        inputs: files or folders that must not be replaced.
        numbers: of the images, in order; None counts from 0.
        size: (width, height) of the images to come, if it is known.

    Raises:
        OutputError: the output cannot be made, or would replace what it may not.
        OSError: the folder cannot be written.
    """
    if path.suffix.lower() in MUXERS:
        raise OutputError(
            f"{path}: expected a folder for images, got the name of a video: drop the ending {path.suffix}"
        )
    kind = PatternSink if is_numbered(path.name) else ImageSink
    return kind(path, overwrite=overwrite, inputs=list(inputs), numbers=numbers, size=size)


def _other_thing(folder: Path) -> str | None:
    """Name something in a folder that is no image of ours."""
    for file in folder.iterdir() if folder.is_dir() else ():
        if not file.is_file() or file.suffix.lower() not in WRITABLE:
            return file.name
    return None


def _is_replaceable(path: Path) -> bool:
    return path.is_symlink() or path.is_file()
