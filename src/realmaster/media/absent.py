"""What to say of a name that nothing readable fits: a kind that is not read, or another program's way to count.

Separate because the readers know only what they read; this file knows what else people give.
"""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

from realmaster.errors import MediaError
from realmaster.media.images import READABLE

_PLACEHOLDER = re.compile(r"%0?\d*d|#+|@+|\$F\d*")
"""The place of the number as C, Nuke, Houdini and others write it."""

_OTHER_IMAGES = frozenset(
    (
        *(".tif", ".tiff", ".dpx", ".cin", ".tga", ".hdr", ".psd", ".jp2", ".j2k", ".avif", ".heic", ".jxl", ".sgi"),
        *(".rgb", ".pic", ".iff", ".ppm", ".pgm", ".dng", ".cr2", ".nef", ".arw", ".rat", ".ktx", ".dds"),
    )
)


def no_images(path: Path) -> MediaError:
    """Say that a folder or pattern holds no image that can be read, and what it holds instead."""
    expected = f"{path}: expected images ({', '.join(READABLE)})"
    counts = not path.is_dir() and _PLACEHOLDER.search(path.name)  # then every file that fits was meant
    files = [file for file in _fitting(path) if counts or file.suffix.lower() in _OTHER_IMAGES]
    if files:
        kinds = Counter(file.suffix.lower() for file in files)
        found = ", ".join(f"{count} {kind}" for kind, count in sorted(kinds.items()))
        return MediaError(f"{expected}, found {found}, which is not read as images: export PNG or EXR")
    return MediaError(f"{expected}, found none: check the folder or the pattern")


def nothing_there(path: Path) -> MediaError:
    """Say that a name leads to nothing, or that it counts in a way that is not read here."""
    files = _fitting(path)
    readable = [file for file in files if file.suffix.lower() in READABLE]
    if match := _PLACEHOLDER.search(path.name):
        known = path.name[: match.start()] + _as_printf(match.group()) + path.name[match.end() :]
        if readable and known != path.name:
            return MediaError(
                f"{path}: expected a number's place such as %04d, found {match.group()}: write {path.parent / known}"
            )
    if files and not readable and (match or any(file.suffix.lower() in _OTHER_IMAGES for file in files)):
        return no_images(path)
    return MediaError(f"{path}: expected a video, an image folder or a pattern, found nothing there: check the path")


def _fitting(path: Path) -> list[Path]:
    """List the files of a folder, or those that a pattern of any program fits."""
    folder = path if path.is_dir() else path.parent
    if not folder.is_dir():
        return []
    files = [file for file in sorted(folder.iterdir()) if not file.name.startswith(".") and file.is_file()]
    if path.is_dir():
        return files
    if match := _PLACEHOLDER.search(path.name):
        before, after = re.escape(path.name[: match.start()]), re.escape(path.name[match.end() :])
        return [file for file in files if re.fullmatch(rf"{before}\d+{after}", file.name)]
    return [file for file in folder.glob(path.name) if file in files] if set("*?[") & set(path.name) else []


def _as_printf(placeholder: str) -> str:
    if placeholder.startswith("%"):
        return placeholder
    digits = placeholder[2:] if placeholder.startswith("$") else str(len(placeholder))
    return f"%0{digits}d" if digits not in ("", "1") else "%d"
