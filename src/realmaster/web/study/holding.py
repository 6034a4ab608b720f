"""Who has a study in hand: any number of servers, or the one who replaces it.

Separate from the store, because a server keeps the database that it opened: SQLite would not notice that its folder was
replaced, and would confirm answers into a file that has no name any more. Each server holds a lock file of its own.
Servers pass a door when they come; who replaces the study keeps the door shut. A process that is killed lets both go.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from filelock import FileLock, Timeout

from realmaster.errors import StudyError
from realmaster.web.study.database import DATABASE

_DOOR = ".door.lock"
_SERVER = ".server-{}.lock"
_WAIT_SECONDS = 2.0  # for another server that is coming in


@contextmanager
def being_served(folder: Path) -> Iterator[None]:
    """Hold a study while the block serves it; other servers may hold it too. Enter before the database is opened.

    A folder without a study is not touched: `StudyStore.open` says what is missing.

    Raises:
        StudyError: it is being replaced, or its folder cannot be written.
    """
    if not (folder / DATABASE).is_file():
        yield
        return
    with _door(folder, "expected a study to serve, it is being replaced: wait until `realmaster study create` ends"):
        server = next(lock for number in count() if (lock := _free(folder / _SERVER.format(number))) is not None)
    try:
        yield
    finally:
        server.release()


@contextmanager
def being_replaced(folder: Path) -> Iterator[None]:
    """Hold a study that is there, so that nobody serves it until the block ends.

    Raises:
        StudyError: it is being served, another one is replacing it, or its folder cannot be written.
    """
    with _door(folder, "expected a study that nobody else replaces, another `realmaster study create` does: wait"):
        for file in sorted(folder.glob(_SERVER.format("*"))):
            lock = _free(file)
            if lock is None:
                raise StudyError(
                    f"{folder}: expected a study that nobody serves, found one that is being served: stop "
                    "`realmaster study serve` first"
                )
            lock.release()
        yield


@contextmanager
def _door(folder: Path, problem: str) -> Iterator[None]:
    door = _free(folder / _DOOR, wait_seconds=_WAIT_SECONDS)
    if door is None:
        raise StudyError(f"{folder}: {problem}")
    try:
        yield
    finally:
        door.release()


def _free(file: Path, *, wait_seconds: float = 0.0) -> FileLock | None:
    """Take a lock; None where another holds it."""
    lock = FileLock(file)
    try:
        lock.acquire(timeout=wait_seconds)
    except Timeout:
        return None
    except OSError as error:
        raise StudyError(
            f"{file}: expected to write into the study's folder, could not ({error.strerror or error}): check its "
            "permissions"
        ) from error
    return lock
