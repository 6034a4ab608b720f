"""One run at a time in an output folder: two would write each other's checkpoints and log."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from realmaster.errors import ConfigError

_NAME = ".lock"


@contextmanager
def only_run(folder: Path) -> Iterator[None]:
    """Hold a run's folder, which exists, until the block ends; a process that is killed lets it go.

    Raises:
        ConfigError: another process holds it.
    """
    lock = FileLock(folder / _NAME)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise ConfigError(
            f"{folder}: expected an output in which no other run is at work, one is: wait until it has ended, or "
            "choose another output"
        ) from error
    try:
        yield
    finally:
        lock.release()
