"""Cut a frame into strips of rows, so that what is worked out for each pixel does not grow with the frame."""

from __future__ import annotations

from collections.abc import Iterator

_PIXELS, _ROWS = 1 << 18, 512  # pixels and rows of a strip at most


def strips(height: int, width: int) -> Iterator[slice]:
    """Give the rows of a frame [height, width], some at a time."""
    rows = min(max(1, _PIXELS // width), _ROWS)
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))
