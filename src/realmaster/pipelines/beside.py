"""Work that goes on beside the model: one run of items at a time, on a thread of its own, its results in order.

Carrying a change to full size is the CPU's work, most of it on one core. While that is done for one window, the model
translates the next, on the cores that are left or on its device.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Generic, Self, TypeVar

from realmaster.pipelines.stopwatch import Stopwatch

T = TypeVar("T")


class Beside(Generic[T]):
    """Works out one iterator while its caller prepares the next.

    As a context manager it ends what runs when the block fails: after the item that is being worked out.
    """

    def __init__(self, watch: Stopwatch, stage: str) -> None:
        """Count as `stage` what the caller waits for; what is done meanwhile costs it nothing."""
        self._watch, self._stage = watch, stage
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"realmaster-{stage}")
        self._ended = Event()
        self._running: Future[list[T]] | None = None

    def go_on(self, items: Iterator[T]) -> list[T]:
        """Begin with these items, once those given before are done, which are returned; none the first time.

        Raises:
            Exception: what the items before raised.
        """
        done = self.finish()
        self._running = self._thread.submit(self._work, items)
        return done

    def finish(self) -> list[T]:
        """Wait for the last items.

        Raises:
            Exception: what they raised.
        """
        running, self._running = self._running, None
        if running is None:
            return []
        with self._watch.stage(self._stage):
            return running.result()

    def _work(self, items: Iterator[T]) -> list[T]:
        done = []
        for item in items:
            done.append(item)
            if self._ended.is_set():
                break
        return done

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.shutdown(wait=True, cancel_futures=True)
