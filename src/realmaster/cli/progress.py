"""The progress bar on stderr: frames done, frames per second, time left."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int | None], None]


@contextmanager
def progress_bar(*, quiet: bool = False, unit: str = "frame") -> Iterator[Progress]:
    """Give a function of (done, total or None) that draws the bar; nothing is drawn when stderr is no terminal."""
    with tqdm(
        disable=True if quiet else None,
        file=sys.stderr,
        unit=unit,
        unit_scale=False,
        dynamic_ncols=True,
        smoothing=0.1,
        leave=False,
    ) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)
            bar.refresh()

        yield show
