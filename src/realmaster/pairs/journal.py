"""How long things took: one line for each stage of each clip, in a file of each process.

Separate from the records, which hold no times, so that the same clip made twice is the same bytes.
"""

from __future__ import annotations

import json
import math
import os
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from realmaster.pairs.pair_set import WORK, PairSet
from realmaster.pairs.runner import Span
from realmaster.pairs.store import read_text

JOURNAL = f"{WORK}/journal"


@dataclass(frozen=True)
class Entry:
    """One stage of one clip: its seconds, when it ended (since 1970), and from when to when a model was at work."""

    stage: str
    clip: str
    seconds: float
    ended_at: float
    model_spans: tuple[Span, ...] = ()

    @property
    def model_seconds(self) -> float:
        """Seconds within the models."""
        return sum(end - start for start, end in self.model_spans)


class Journal:
    """This process's file. Only the process that leads a run writes; an object store gets it at the end."""

    def __init__(self, pairs: PairSet) -> None:
        """Name the file; it is made with the first line."""
        self._pairs = pairs
        self._name = f"{JOURNAL}/{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.jsonl"
        self._lines: list[str] = []

    def add(self, stage: str, clip: str, seconds: float, model_spans: Sequence[Span]) -> None:
        """Write one line."""
        spans = tuple((round(start, 4), round(end, 4)) for start, end in model_spans)
        entry = Entry(stage, clip, round(seconds, 4), round(time.time(), 4), spans)
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


def read_runs(pairs: PairSet) -> list[list[Entry]]:
    """Read what each process wrote, in the order of time; a line that a killed process cut is passed over."""
    names = pairs.store.names(JOURNAL)
    runs = [_parse(read_text(pairs.store, f"{JOURNAL}/{name}").splitlines()) for name in names]
    return [sorted(run, key=lambda entry: entry.ended_at) for run in runs if run]


def idle_share(runs: Iterable[Sequence[Entry]]) -> float | None:
    """Return the share of the runs' time, first stage to last, in which no model worked; None before anything ran."""
    total = busy = 0.0
    for run in runs:
        total += max(entry.ended_at for entry in run) - min(entry.ended_at - entry.seconds for entry in run)
        reached = -math.inf
        for start, end in sorted(span for entry in run for span in entry.model_spans):
            busy += max(end - max(start, reached), 0.0)
            reached = max(reached, end)
    return 1 - busy / total if total > 0 else None


def _parse(lines: Iterable[str]) -> list[Entry]:
    entries = []
    for line in lines:
        try:
            values = json.loads(line)
            spans = tuple((float(start), float(end)) for start, end in values["model_spans"])
            stage, clip = str(values["stage"]), str(values["clip"])
            entries.append(Entry(stage, clip, float(values["seconds"]), float(values["ended_at"]), spans))
        except (ValueError, TypeError, KeyError):
            continue
    return entries
