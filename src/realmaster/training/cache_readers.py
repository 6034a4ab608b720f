"""Processes that read clips while the models encode, and claims that keep several builders of one cache apart.

Separate from `cache.py`, which says what is made: here is only who does it, and when.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from threading import Thread
from types import TracebackType
from typing import Any, Self, TypeVar

from filelock import FileLock, Timeout

from realmaster.errors import MemoryLimitError, RealMasterError

T = TypeVar("T")


class Readers:
    """Runs functions in `workers` processes, or at once in this one where there are none."""

    def __init__(self, workers: int) -> None:
        """Start no process before there is work."""
        self.workers = workers
        self._pool: ProcessPoolExecutor | None = None

    def submit(self, function: Callable[..., T], *arguments: Any, **named: Any) -> Future[T]:
        """Begin to run a function of a module with arguments that can be sent to a process."""
        if self.workers > 0:
            if self._pool is None:  # spawned, not forked: this process may hold threads of CUDA and OpenCV
                self._pool = ProcessPoolExecutor(self.workers, get_context("spawn"), initializer=_begin)
            return self._pool.submit(function, *arguments, **named)
        future: Future[T] = Future()
        try:
            future.set_result(function(*arguments, **named))
        except RealMasterError as error:
            future.set_exception(error)
        return future

    def result(self, future: Future[T]) -> T:
        """Wait for what a function gives; its errors are raised here.

        Raises:
            MemoryLimitError: a process was killed, most likely for want of memory.
        """
        try:
            return future.result()
        except BrokenProcessPool as error:
            raise MemoryLimitError(
                f"expected {self.workers} processes to read clips, one was killed (memory?): lower the workers; "
                "what is in the cache is kept (a script has to call this under `if __name__ == '__main__':`)"
            ) from error

    def __enter__(self) -> Self:
        """Give the readers themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Drop what has not begun and end the processes."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)


class Claim:
    """The right to make one entry; it ends with its process, however that ends."""

    def __init__(self, folder: Path, entry: Path) -> None:
        """Name the claim for an entry; nothing is claimed yet."""
        self.entry = entry
        self._file = folder / "claims" / f"{entry.stem}.lock"
        self._file.parent.mkdir(parents=True, exist_ok=True)
        self._lock = FileLock(self._file)

    def take(self, *, wait: bool = False) -> bool:
        """Take the claim; False if another process holds it and we do not wait. A made entry may be there by then."""
        try:
            self._lock.acquire(timeout=-1 if wait else 0, poll_interval=0.2)
        except Timeout:
            return False
        return True

    def release(self) -> None:
        """Give the claim back. Its file goes first, so that whoever comes later begins with another one."""
        self._file.unlink(missing_ok=True)
        self._lock.release()


def _begin() -> None:
    """Leave Ctrl-C to the process that started us, and end when it ends: killed, it cannot tell us."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)
