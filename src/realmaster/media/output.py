"""Outputs appear whole or not at all: checked first, written under a temporary name in the same folder, renamed last.

Separate from the writers because images, videos, folders and report pages all keep this promise.
"""

from __future__ import annotations

import errno
import glob
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from realmaster.errors import OutputError

_FORGOTTEN_SECONDS = 86400.0  # what nobody has written to for a day belongs to no run that goes on


def check_name(path: str | Path) -> Path:
    """Refuse a path without a name of its own.

    Raises:
        OutputError: it is empty, or a folder such as "." or "..".
    """
    if not str(path):
        raise OutputError("expected the name of an output, got an empty one: give a video, a folder or a pattern")
    if Path(path).name in ("", ".."):
        raise OutputError(
            f"{path}: expected the name of an output, got the folder for it: add the name of a video, of a folder or "
            "a pattern"
        )
    return Path(path)


def check_output(path: str | Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> Path:
    """Refuse, before any work, an output that could not be put in place at the end.

    Args:
        path: file or folder to write.
        overwrite: whether it may replace what is there.
        inputs: files or folders that must not be replaced, whatever `overwrite` says; symbolic links are followed.

    Raises:
        OutputError: the path equals an input, exists already, is a pipe or a device, or its folder is missing or
            cannot be written.
    """
    path = Path(path)
    for source in map(Path, inputs):
        if is_same_file(path, source) or (path.is_dir() and source.resolve().is_relative_to(path.resolve())):
            raise OutputError(f"{path}: expected an output other than the input, got the same: choose another name")
    if path.is_symlink() and not path.exists():
        raise OutputError(f"{path}: expected a file or a free name, found a link that leads nowhere: remove it")
    if path.exists() and not overwrite:
        raise OutputError(
            f"{path}: expected a free name, found something there: choose another or add --overwrite (in Python "
            "overwrite=True)"
        )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OutputError(f"{path}: expected a regular file to replace, found a pipe or a device: choose another name")
    check_folder(path, path.absolute().parent)
    return path


def check_file(path: str | Path, *, overwrite: bool, inputs: Iterable[str | Path] = ()) -> Path:
    """Refuse what `check_output` refuses, and a folder in the place of a file.

    Raises:
        OutputError: see `check_output`.
    """
    path = check_output(path, overwrite=overwrite, inputs=inputs)
    if path.is_dir():
        raise OutputError(f"{path}: expected a file to replace, found a folder: choose another name")
    return path


def check_folder(path: Path, folder: Path) -> None:
    """Refuse a folder in which an output `path` cannot be made.

    Raises:
        OutputError: it is missing, or cannot be written.
    """
    if not folder.is_dir():
        raise OutputError(f"{path}: expected the folder {folder} to exist, it does not: make it first")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: expected a folder that can be written, {folder} cannot: choose another place")


def is_same_file(one: Path, other: Path) -> bool:
    """Tell whether two paths are one file or folder, through symbolic and hard links."""
    try:
        return one.samefile(other)
    except OSError:
        return False  # at least one does not exist yet


def temporary_path(path: Path) -> Path:
    """Name a hidden neighbour of `path` with the same ending."""
    return path.absolute().with_name(f".{_short(path.stem)}.{secrets.token_hex(4)}.part{path.suffix}")


def _short(name: str) -> str:
    """Cut a name to 100 bytes, in whole letters: a file system counts bytes, of which a letter takes up to four."""
    name = name[:100]
    while len(os.fsencode(name)) > 100:
        name = name[:-1]
    return name


def leftovers(path: Path) -> list[str]:
    """Say which temporary files of an output a run that was killed has left: those that have not changed for a day.

    They are told and not removed: a run on another machine, or one that sleeps, would lose its work.
    """
    pattern = f".{glob.escape(_short(path.stem))}.{'[0-9a-f]' * 8}.part{glob.escape(path.suffix)}"
    told = []
    for file in sorted(path.absolute().parent.glob(pattern)):
        with suppress(OSError):
            if time.time() - file.stat().st_mtime > _FORGOTTEN_SECONDS:
                told.append(f"{file} is left of a run that was killed: remove it if none is writing it still")
    return told


def remove(path: Path) -> None:
    """Remove a temporary file or folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def put_in_place(part: Path, path: Path, *, overwrite: bool = True) -> None:
    """Rename a finished temporary file or folder to its name, replacing what is there.

    Without `overwrite` it replaces nothing but an empty folder by a folder.

    Raises:
        OutputError: the rename was refused, and nothing is lost of what was there before; or, without `overwrite`, the
            name was taken meanwhile, and what was finished is kept under a name that the message tells.
    """
    if not overwrite:
        try:
            is_done = rename_to_free(part, path)
        except OSError as error:
            raise cannot_write(path, error) from error
        if not is_done:
            raise keep(part, path, "expected a name that is still free at the end, found something there")
        return
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


def rename_to_free(part: Path, path: Path) -> bool:
    """Rename a file or folder if its new name is free, in one step where the system has one; say whether it was.

    Raises:
        OSError: the system refuses for another reason.
    """
    if part.is_dir():
        if path.is_dir():
            with suppress(OSError):
                path.resolve().rmdir()  # an empty one gives way; a symbolic link to it stays
            if path.is_dir():
                return False
        elif os.path.lexists(path):
            return False
        try:
            part.rename(path.resolve())
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                return False
            raise
        return True
    try:
        os.link(part, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        if os.path.lexists(path):
            return False
        part.rename(path)
        return True
    part.unlink()
    return True


def keep(part: Path, path: Path, problem: str, near: Path | None = None) -> OutputError:
    """Keep finished work beside the output (or `near` another name) and give the error that says where.

    Raises:
        OSError: it cannot be renamed.
    """
    near = near or path
    kept = near.with_name(f"{_short(near.stem)}.{secrets.token_hex(4)}{near.suffix}")
    part.rename(kept)
    return OutputError(f"{path}: {problem}: the finished work is in {kept}; give it the name it should have")


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
def temporary(path: Path, *, overwrite: bool = True) -> Iterator[Path]:
    """Give a temporary name to write a file under; rename it when the block ends, remove it when the block fails.

    Raises:
        OutputError: the file cannot be written, or see `put_in_place`.
    """
    part = temporary_path(path)
    try:
        yield part
        put_in_place(part, path, overwrite=overwrite)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        remove(part)
