"""Read a list of training pairs, in the columns that people's tools already write.

Separate from `pair_set.py`, which reads the exact pairs that this project renders and wants to know their weather: a
manifest needs a target, a reference and a caption, from anywhere.

| written by | file | target | reference | caption |
|---|---|---|---|---|
| RealMaster, LTX-2 | JSONL | `video` | `reference_video` | `caption` |
| DiffSynth | CSV | `video` | `vace_video` | `prompt` |
| musubi-tuner | JSONL | `video_path` | `control_path` | `caption` |
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realmaster.errors import DataError
from realmaster.media.sequences import is_pattern

logger = logging.getLogger(__name__)

TARGET_COLUMNS = ("video", "video_path")
REFERENCE_COLUMNS = ("reference_video", "vace_video", "control_path")
CAPTION_COLUMNS = ("caption", "prompt")


@dataclass(frozen=True)
class ManifestRow:
    """One pair: the camera look to be learned (`video`), the render (`reference_video`), what is to be seen."""

    video: Path
    reference_video: Path
    caption: str
    manifest: Path
    line: int
    split: object = None  # as it was written, where there is such a column

    @property
    def where(self) -> str:
        """Say where the row stands: "pairs/manifest.jsonl:12"."""
        return f"{self.manifest}:{self.line}"


@dataclass(frozen=True)
class BrokenRow:
    """A row that cannot be used: where it stands, and one sentence that says why and what to do."""

    where: str
    reason: str


def read_manifest(path: str | Path, *, skip_broken: bool = False) -> list[ManifestRow]:
    """Read a manifest; paths in it are relative to its folder. A pair written twice counts twice.

    Whether the files are videos shows when they are read (`realmaster.training.cache`); here they have to exist.

    Args:
        path: a JSONL or CSV file, or a folder that holds `manifest.jsonl`.
        skip_broken: leave broken rows out, each with a warning, instead of refusing the manifest.

    Raises:
        DataError: the file cannot be read or is empty, or rows are broken: all are logged, the first is named.
    """
    rows, broken = scan_manifest(path)
    refuse_broken(broken, num_rows=len(rows) + len(broken), skip_broken=skip_broken)
    return rows


def scan_manifest(path: str | Path) -> tuple[list[ManifestRow], list[BrokenRow]]:
    """Read a manifest and give the rows that can be used beside those that cannot.

    Raises:
        DataError: the file cannot be read, or has no rows at all.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "manifest.jsonl"
    rows: list[ManifestRow] = []
    broken: list[BrokenRow] = []
    for line, values in _records(path):
        try:
            rows.append(_row(values, path, line))
        except ValueError as error:
            broken.append(BrokenRow(f"{path}:{line}", str(error)))
    if not rows and not broken:
        raise DataError(f"{path}: expected one pair a line, found none: write video, reference_video and caption")
    return rows, broken


def refuse_broken(broken: list[BrokenRow], *, num_rows: int, skip_broken: bool) -> None:
    """Name every broken row in the log; then raise, unless they are to be skipped and some rows are whole.

    Raises:
        DataError: with the number of broken rows and the first of them.
    """
    if not broken:
        return
    for row in broken:
        logger.warning("%s: %s", row.where, row.reason)
    count = f"{len(broken)} of {num_rows} rows are broken"
    if len(broken) == num_rows:
        raise DataError(f"{broken[0].where}: {broken[0].reason}; {count}: nothing is left to train on")
    if not skip_broken:
        raise DataError(f"{broken[0].where}: {broken[0].reason}; {count}: mend them, or set skip_broken")
    logger.warning("%s and skipped", count)


def parse_object(line: str) -> dict[str, Any]:
    """Read one line of JSONL as an object.

    Raises:
        ValueError: it is no JSON object; the message is a whole sentence.
    """
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"expected one JSON object a line ({error.msg}): correct the line") from error
    if not isinstance(values, dict):
        raise ValueError(f"expected a JSON object, got {type(values).__name__}: correct the line")
    return values


def _records(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | ValueError]]:
    """Give (line number, columns, or why the line could not be read)."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: expected a manifest (JSONL or CSV), could not read it ({reason})") from error
    if path.suffix.lower() == ".csv":
        reader = csv.DictReader(text.splitlines(keepends=True))
        try:
            yield from ((reader.line_num, values) for values in reader)
        except csv.Error as error:
            yield reader.line_num, ValueError(f"expected CSV ({error}): correct the line")
        return
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            try:
                yield number, parse_object(line)
            except ValueError as error:
                yield number, error


def _row(values: Mapping[str, Any] | ValueError, manifest: Path, line: int) -> ManifestRow:
    if isinstance(values, ValueError):
        raise values
    if None in values:
        raise ValueError("expected as many cells as the header has columns, found more: quote cells that hold commas")
    video = _file(_column(values, TARGET_COLUMNS), TARGET_COLUMNS[0], manifest.parent)
    reference = _file(_column(values, REFERENCE_COLUMNS), REFERENCE_COLUMNS[0], manifest.parent)
    if video == reference:
        raise ValueError(f"expected two clips, video and reference are both {video}: name the render as reference")
    caption = _column(values, CAPTION_COLUMNS).strip()
    return ManifestRow(video, reference, caption, manifest, line, values.get("split"))


def _column(values: Mapping[str, Any], names: tuple[str, ...]) -> str:
    """Give the text under one of a column's names; an empty caption is a caption."""
    found = {name: values[name] for name in names if values.get(name) is not None}
    if not found:
        raise ValueError(f"expected the column {names[0]!r} (or {', '.join(names[1:])}), found none: add it")
    if len({str(value) for value in found.values()}) > 1:
        raise ValueError(f"expected one of the columns {', '.join(found)}, found several that differ: remove one")
    name, value = next(iter(found.items()))
    if not isinstance(value, str):
        raise ValueError(f"expected text in the column {name!r}, got {type(value).__name__}: correct it")
    return value


def _file(value: str, name: str, folder: Path) -> Path:
    if not value.strip():
        raise ValueError(f"expected a path in the column {name!r}, found nothing: add it")
    path = folder / value.strip()
    if not path.exists() and not is_pattern(path):
        raise ValueError(f"expected a clip at {path}, found nothing there: check the path")
    return path
