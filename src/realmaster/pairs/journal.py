"""How long things took: one line for each stage of each clip, in a file of each process.

Separate from the records, which hold no times, so that the same clip made twice is the same bytes.
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterable
from dataclasses import dataclass

from realmaster.pairs.pair_set import WORK, PairSet
from realmaster.pairs.store import read_text

JOURNAL = f"{WORK}/journal"


@dataclass(frozen=True)
class Entry:
    """One stage of one clip: seconds in all, seconds within the models, and when it ended (seconds since 1970)."""

    stage: str
    clip: str
    seconds: float
    model_seconds: float
    ended_at: float


class Journal:
    """This process's file. Only the process that leads a run writes; an object store gets it at the end."""

    def __init__(self, pairs: PairSet) -> None:
        """Name the file; it is made with the first line."""
        self._pairs = pairs
        self._name = f"{JOURNAL}/{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"
        self._lines: list[str] = []

    def add(self, stage: str, clip: str, seconds: float, model_seconds: float) -> None:
        """Write one line."""
        entry = Entry(stage, clip, round(seconds, 4), round(model_seconds, 4), round(time.time(), 3))
        line = json.dumps(entry.__dict__) + "\n"
        folder = self._pairs.store.folder
        if folder is None:
            self._lines.append(line)
            return
        path = folder / self._name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(line)

    def close(self) -> None:
        """Put what is held back in place."""
        if self._lines:
            with self._pairs.store.writing(self._name) as part:
                part.write_text("".join(self._lines), encoding="utf-8")
            self._lines = []


def read_journal(pairs: PairSet) -> list[Entry]:
    """Read what all processes wrote, in the order of time; a line that a killed process cut is passed over."""
    entries: list[Entry] = []
    for name in pairs.store.names(JOURNAL):
        entries += _parse(read_text(pairs.store, f"{JOURNAL}/{name}").splitlines())
    return sorted(entries, key=lambda entry: entry.ended_at)


def _parse(lines: Iterable[str]) -> list[Entry]:
    entries = []
    for line in lines:
        try:
            entries.append(Entry(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return entries
