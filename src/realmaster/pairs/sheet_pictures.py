"""One picture of a clip for the contact sheet: source, anchors, edges and result, a row each, moments as columns.

Separate from the page because only this part reads clips: each is read once, a thumbnail in memory for every column.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.evaluation.side_by_side import evenly, frames_of, resized
from realmaster.evaluation.stacked import data_uri
from realmaster.media.reader import open_clip
from realmaster.pairs.record import Record
from realmaster.pairs.store import Place, Store, open_store

Frame = npt.NDArray[np.uint8]  # [H, W, 3]
ROWS = (("source", "engine"), ("anchors", ""), ("edges", "control"), ("result", "camera"))
_QUALITY = 72
_GAP = 2  # pixels between thumbnails
_EMPTY = 24  # grey where a row has nothing at this moment


@dataclass(frozen=True)
class ClipPicture:
    """The picture of a clip, and what its rows and columns are."""

    uri: str  # of a WebP
    width: int
    height: int
    rows: tuple[str, ...]
    frames: tuple[int, ...]  # frame index of each column


def take_picture(place: Place, record: Record, *, num_columns: int = 6, width: int = 160) -> ClipPicture | None:
    """Draw a clip of a set; None where it has no files (given up before it had any).

    Rows that the clip has nothing for are left out; the first and the last frame are always among the columns.

    Args:
        place: the set.
        record: the clip.
        num_columns: moments, at even distances.
        width: pixels of a thumbnail.

    Raises:
        MediaError: a file of the record is missing or cannot be read.
    """
    cut, store = record.clip.cut, open_store(place)
    columns = evenly(cut.num_frames, num_columns)
    height = max(1, round(width * cut.height / cut.width))
    grid: dict[str, dict[int, Frame]] = {}
    for row, file in ROWS:
        if file in record.files:
            grid[row] = _moments(store, record.files[file], columns, (width, height), cut.frame_rate)
        elif row == "anchors" and record.anchors:
            grid[row] = _anchors(store, record, columns, (width, height))
    grid = {row: found for row, found in grid.items() if found}
    if not grid:
        return None
    sheet = np.full(
        (len(grid) * (height + _GAP) - _GAP, len(columns) * (width + _GAP) - _GAP, 3), _EMPTY, dtype=np.uint8
    )
    for y, found in enumerate(grid.values()):
        for x, index in enumerate(columns):
            if index in found:
                top, left = y * (height + _GAP), x * (width + _GAP)
                sheet[top : top + height, left : left + width] = found[index]
    done, data = cv2.imencode(".webp", sheet[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _QUALITY])
    if not done:
        raise MediaError(f"{record.id}: expected to encode a picture of {sheet.shape[1]}x{sheet.shape[0]}, could not")
    return ClipPicture(
        data_uri("image/webp", data.tobytes()), sheet.shape[1], sheet.shape[0], tuple(grid), tuple(columns)
    )


def _moments(store: Store, name: str, columns: list[int], size: tuple[int, int], frame_rate: int) -> dict[int, Frame]:
    wanted = set(columns)
    with open_clip(_file(store, name), frame_rate=Fraction(frame_rate)) as clip:  # imported looks differ in rate
        return {index: resized(frame, size) for index, frame in enumerate(frames_of(clip)) if index in wanted}


def _anchors(store: Store, record: Record, columns: list[int], size: tuple[int, int]) -> dict[int, Frame]:
    """Anchors stand in their column, or in the nearest one where the sheet shows other moments."""
    found: dict[int, Frame] = {}
    for index in record.anchors:
        file = record.files.get(f"anchor_{index:04d}")
        if file is None:
            continue
        with open_clip(_file(store, file)) as clip:
            frame = next(frames_of(clip))
        found.setdefault(min(columns, key=lambda column: (abs(column - index), column)), resized(frame, size))
    return found


def _file(store: Store, name: str) -> Path:
    if not store.exists(name):
        raise MediaError(f"{store.root}/{name}: expected this file, found none: remove the clip's record and build")
    return store.reading(name)
