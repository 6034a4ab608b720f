"""Outputs appear whole or not at all: checked first, written under a temporary name in the same folder, renamed last.

Separate from the writers because images, videos, folders and report pages all keep this promise.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from realmaster.errors import OutputError


def check_output(path: str | Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> Path:
    """Refuse, before any work, an output that could not be put in place at the end.

    Args:
        path: file or folder to write.
        overwrite: whether it may replace what is there.
        inputs: files or folders that must not be replaced, whatever `overwrite` says; symbolic links are followed.

    Raises:
        OutputError: the path equals an input, exists already, or its folder is missing or cannot be written.
    """
    path = Path(path)
    for source in map(Path, inputs):
        if is_same_file(path, source) or (path.is_dir() and source.resolve().is_relative_to(path.resolve())):
            raise OutputError(f"{path}: expected an output other than the input, got the same: choose another name")
    if path.is_symlink() and not path.exists():
        raise OutputError(f"{path}: expected a file or a free name, found a link that leads nowhere: remove it")
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: expected a free name, found something there: choose another or add --overwrite")
    folder = path.absolute().parent
    if not folder.is_dir():
        raise OutputError(f"{path}: expected the folder {folder} to exist, it does not: make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: expected a folder that can be written, {folder} cannot: choose another place")
    return path


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths are one file or folder, through symbolic and hard links."""
    try:
        return one.samefile(other)
    except OSError:
        return False  # at least one does not exist yet


def temporary_path(path: Path) -> Path:
    """Name a hidden neighbour of `path` with the same ending."""
    return path.absolute().with_name(f".{path.stem[:100]}.{secrets.token_hex(4)}.part{path.suffix}")


def remove(path: Path) -> None:
    """Remove a temporary file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def put_in_place(part: Path, path: Path) -> None:
    """Rename a finished temporary file or folder to its name, replacing what is there.

    Raises:
        OutputError: the rename was refused; nothing is lost of what was there before.
    """
    target = path.resolve()  # a symbolic link stays a link: what it leads to is replaced
    old = None
    try:
        if part.is_dir() and target.is_dir():  # a folder cannot be renamed over one that is not empty
            old = temporary_path(target)
            target.rename(old)
        part.replace(target)
    except OSError as error:
        if old is not None and old.exists() and not target.exists():
            old.rename(target)
        raise cannot_write(path, error) from error
    if old is not None:
        remove(old)


def cannot_write(path: Path, error: Exception) -> OutputError:
    """Turn a failure of the operating system or of libav into one line with a remedy."""
    code = getattr(error, "errno", None)
    reason = getattr(error, "strerror", None) or str(error)
    remedy = {
        errno.ENOSPC: "free some space or choose another disk",
        errno.EDQUOT: "free some space or choose another disk",
        errno.EACCES: "choose another place",
        errno.EROFS: "choose another place",
    }.get(code if isinstance(code, int) else 0, "choose another place or format")
    return OutputError(
        f"{path}: expected to write this output, could not ({reason}): {remedy}; nothing was left behind"
    )


@contextmanager
def temporary(path: Path) -> Iterator[Path]:
    """Give a temporary name to write a file under; rename it when the block ends, remove it when the block fails.

    Raises:
        OutputError: the file cannot be written.
    """
    part = temporary_path(path)
    try:
        yield part
        put_in_place(part, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        remove(part)
