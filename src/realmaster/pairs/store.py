"""Where a set lies: a folder of this machine or a shared one, or an object store that fsspec reaches.

Separate because stages only ever want a file to read, or a name to write under, and every write is whole or not at all:
a rename in a folder, one object in a store. Names are written with slashes and relative to the set.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from realmaster.errors import OutputError
from realmaster.media.output import cannot_write, put_in_place, remove, temporary_path
from realmaster.optional import require


class Store(Protocol):
    """The files of a set."""

    root: str

    @property
    def folder(self) -> Path | None:
        """The folder where it is one, None for an object store."""

    def exists(self, name: str) -> bool:
        """Say whether a file is there, and so whole."""

    def names(self, folder: str) -> list[str]:
        """Give the names of the files in a folder, without those that are being written; sorted."""

    def size(self, name: str) -> int:
        """Give the bytes of a file, 0 where there is none."""

    def reading(self, name: str) -> Path:
        """Give a file of this machine with the content."""

    def writing(self, name: str) -> Any:
        """Give a context with a path to write to; it becomes `name` when the block ends well."""

    def remove(self, name: str) -> None:
        """Remove a file or a folder, if it is there."""

    def forget(self, folder: str) -> None:
        """Let go of what this machine holds of a folder beside the set itself."""


Place = str | Path | Store
"""Where a set lies: a folder, an address, or either one opened."""


def folder_of(place: Place) -> Path | None:
    """Give the folder that a place is or would be, None for an address; nothing is made."""
    if not isinstance(place, str | Path):
        return place.folder
    return None if "://" in str(place) else Path(place)


def open_store(place: Place) -> Store:
    """Open the place of a set: an address with :// by fsspec, anything else as a folder, which is made if need be.

    Raises:
        OutputError: the folder cannot be made, or no file system answers to the address.
    """
    if not isinstance(place, str | Path):
        return place
    folder = folder_of(place)
    return RemoteStore(str(place)) if folder is None else FolderStore(folder)


class FolderStore:
    """A folder."""

    def __init__(self, folder: Path) -> None:
        """Make the folder if it is not there.

        Raises:
            OutputError: it cannot be made, or is a file.
        """
        self._folder = folder
        self.root = str(folder)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{folder}: expected a folder for the pairs, could not make it ({error.strerror}): choose another place"
            ) from error

    @property
    def folder(self) -> Path | None:
        """The folder."""
        return self._folder

    def exists(self, name: str) -> bool:
        """Say whether a file is there."""
        return (self._folder / name).is_file()

    def names(self, folder: str) -> list[str]:
        """List the files of a folder."""
        place = self._folder / folder
        if not place.is_dir():
            return []
        return sorted(file.name for file in place.iterdir() if not file.name.startswith("."))

    def size(self, name: str) -> int:
        """Ask the file system."""
        return (self._folder / name).stat().st_size if self.exists(name) else 0

    def reading(self, name: str) -> Path:
        """Give the file itself."""
        return self._folder / name

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a hidden neighbour; rename it at the end.

        Raises:
            OutputError: it cannot be written; nothing is left behind.
        """
        path = self._folder / name
        part = temporary_path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            yield part
            put_in_place(part, path)
        except OSError as error:
            raise cannot_write(path, error) from error
        finally:
            remove(part)

    def remove(self, name: str) -> None:
        """Remove a file or a folder."""
        remove(self._folder / name)

    def forget(self, folder: str) -> None:
        """Do nothing: there are no copies."""


class RemoteStore:
    """An object store, or any file system that fsspec reaches; what is read is copied to this machine for a while."""

    def __init__(self, root: str) -> None:
        """Connect.

        Raises:
            OutputError: the protocol is unknown or its package is not installed.
        """
        fsspec = require("fsspec", extra="ray")
        self.root = root.rstrip("/")
        try:
            self._files, self._base = fsspec.core.url_to_fs(self.root)
        except (ImportError, ValueError) as error:
            raise OutputError(
                f"{root}: expected an address that fsspec reaches, it does not ({error}): install its package, such as "
                "s3fs or gcsfs"
            ) from error

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        """Travel to another process by address alone."""
        return RemoteStore, (self.root,)

    @property
    def folder(self) -> Path | None:
        """There is no folder."""
        return None

    def exists(self, name: str) -> bool:
        """Ask the store."""
        return bool(self._files.isfile(f"{self._base}/{name}"))

    def names(self, folder: str) -> list[str]:
        """List the objects of a folder."""
        place = f"{self._base}/{folder}"
        self._files.invalidate_cache(place)
        try:
            found = self._files.ls(place, detail=False)
        except FileNotFoundError:
            return []
        return sorted(name for path in found if not (name := PurePosixPath(path).name).startswith("."))

    def size(self, name: str) -> int:
        """Ask the store."""
        return int(self._files.size(f"{self._base}/{name}") or 0) if self.exists(name) else 0

    def reading(self, name: str) -> Path:
        """Fetch the object, unless this process has it."""
        path = self._place(name)
        if not path.is_file():
            path.parent.mkdir(parents=True, exist_ok=True)
            part = temporary_path(path)
            try:
                self._files.get_file(f"{self._base}/{name}", str(part))
            except OSError as error:
                raise OutputError(f"{self.root}/{name}: expected this file, could not fetch it ({error})") from error
            part.replace(path)
        return path

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Give a file of this machine; upload it at the end, as one object."""
        path = self._place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = temporary_path(path)
        try:
            yield part
            self._files.makedirs(str(PurePosixPath(f"{self._base}/{name}").parent), exist_ok=True)
            self._files.put_file(str(part), f"{self._base}/{name}")
            remove(path)  # an older copy
        except OSError as error:
            raise OutputError(
                f"{self.root}/{name}: expected to write this file, could not ({error}): try again"
            ) from error
        finally:
            remove(part)

    def remove(self, name: str) -> None:
        """Remove an object, or all below a name."""
        remove(self._place(name))
        place = f"{self._base}/{name}"
        if self._files.exists(place):
            self._files.rm(place, recursive=True)

    def forget(self, folder: str) -> None:
        """Remove the copies of a folder."""
        remove(self._place(folder))

    def _place(self, name: str) -> Path:
        return _copies(self.root) / name


@cache
def _copies(root: str) -> Path:
    """Make the folder of this process's copies of a store; it goes with the process."""
    folder = tempfile.mkdtemp(prefix="realmaster-set-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)


def write_text(store: Store, name: str, text: str) -> None:
    """Put a text in place, whole."""
    with store.writing(name) as part:
        part.write_text(text, encoding="utf-8")


def read_text(store: Store, name: str) -> str:
    """Read a text; in an object store, its newest state."""
    store.forget(name)
    return store.reading(name).read_text(encoding="utf-8")


def free_bytes(store: Store) -> int | None:
    """Say how much room is left; None where a store has no bottom."""
    return None if store.folder is None else shutil.disk_usage(store.folder).free
