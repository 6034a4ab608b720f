"""Rows of results: one for each clip, method and metric, kept on disk as they are made.

Separate from the run because they are its memory: a file for each clip of each method, written whole, and named by what
was measured with what. `results.jsonl` is put together from them.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from realmaster.media.output import temporary

IS_TRUTH = "this is the truth"  # why it has no error against itself


@dataclass(frozen=True)
class Row:
    """A figure of one clip, or the reason why it is absent, and what it took."""

    method: str
    clip: str
    metric: str
    value: float | None
    reason: str
    details: dict[str, Any]
    seconds: float
    num_frames: int
    version: int
    made_with: str
    is_final: bool

    def still_holds(self, version: int, made_with: str) -> bool:
        """Tell whether a run that measures in this way may take the row as it is."""
        return (self.version, self.made_with) == (version, made_with) and (self.value is not None or self.is_final)


class RowFolder:
    """The rows of one comparison."""

    def __init__(self, folder: Path) -> None:
        """Keep rows in a folder."""
        self._folder = folder

    def read(self, method: str, clip: str, inputs: str) -> dict[str, Row]:
        """Give the rows of a clip that were measured on the same files: metric to row."""
        try:
            values = json.loads(self._file(method, clip).read_text(encoding="utf-8"))
            if values["inputs"] != inputs:
                return {}
            rows = [Row(**row) for row in values["rows"]]
        except (OSError, ValueError, KeyError, TypeError):
            return {}  # absent, or of another version: measured again
        return {row.metric: row for row in rows}

    def write(self, method: str, clip: str, inputs: str, rows: Iterable[Row]) -> None:
        """Write the rows of a clip, whole.

        Raises:
            OutputError: the folder cannot be written.
        """
        file = self._file(method, clip)
        with temporary(file) as part:
            file.parent.mkdir(parents=True, exist_ok=True)
            content = {"inputs": inputs, "rows": [asdict(row) for row in rows]}
            part.write_text(json.dumps(content, indent=1, allow_nan=False), encoding="utf-8")

    def _file(self, method: str, clip: str) -> Path:
        return self._folder / file_name(method) / f"{file_name(clip)}.json"


def write_results(path: Path, rows: Iterable[Row]) -> None:
    """Write `results.jsonl`: a line for each row, whole.

    Raises:
        OutputError: the file cannot be written.
    """
    with temporary(path) as part:
        part.write_text("".join(json.dumps(asdict(row), allow_nan=False) + "\n" for row in rows), encoding="utf-8")


def file_name(text: str) -> str:
    """Make a file name of a name; other names get other files."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip(".-")[:60]
    return plain if plain == text else f"{plain}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
