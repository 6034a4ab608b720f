"""The progress bar on stderr: frames done, frames per second, time left."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

Progress = Callable[[int, int | None], None]


@contextmanager
def progress_bar(*, quiet: bool = False, unit: str = "frame", title: str | None = None) -> Iterator[Progress]:
    """Give a function of (done, total or None) that draws the bar; nothing is drawn when stderr is no terminal."""
    with tqdm(
        disable=True if quiet else None,
        file=sys.stderr,
        unit=unit,
        desc=title,
        ncols=min(shutil.get_terminal_size().columns, 100),  # 80 where a terminal does not know its size,
        nrows=20,  # for which tqdm's own measure would draw nothing
        smoothing=0.1,
        leave=False,
    ) as bar:

        def show(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)
            bar.refresh()

        yield show
