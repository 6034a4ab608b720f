"""A set in numbers: what it holds, what was dropped and why, and how every score is spread.

Separate from `status`, which tells how far a run is: this looks at records alone, also of an imported set.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.record import read_records
from realmaster.pairs.scores import heading, in_order, written
from realmaster.pairs.sheet import rules_of
from realmaster.pairs.store import Place

PERCENTILES = (5, 25, 50, 75, 95)


@dataclass(frozen=True)
class Spread:
    """How a score is spread over the clips that have it."""

    num_clips: int
    low: float
    percentiles: tuple[float, ...]  # at `PERCENTILES`
    high: float


@dataclass(frozen=True)
class SetStats:
    """A set in numbers."""

    num_clips: int
    num_kept: int
    num_set_aside: int  # clips that failed and have no record
    seconds: float  # of the kept clips
    num_bytes: int  # of all files
    splits: dict[str, int]  # kept clips of each
    sources: dict[str, tuple[int, int]]  # source: clips, of these kept
    sizes: dict[str, int]  # kept clips, "832x480x81"
    reasons: dict[str, int]  # rule or stage: clips that it dropped; a clip may miss several rules
    scores: dict[str, Spread]

    def as_json(self) -> dict[str, Any]:
        """Give plain values."""
        return asdict(self)


def set_stats(place: Place) -> SetStats:
    """Count a set.

    Raises:
        DataError: there is no set, or a record cannot be read.
    """
    records = read_records(place)
    pairs = PairSet(place)
    kept = [record for record in records if record.accepted]
    sources: dict[str, tuple[int, int]] = {}
    for record in records:
        total, good = sources.get(record.clip.cut.source, (0, 0))
        sources[record.clip.cut.source] = total + 1, good + record.accepted
    values: dict[str, list[float]] = defaultdict(list)
    for record in records:
        for name, value in record.scores.items():
            values[name].append(value)
    cuts = [record.clip.cut for record in kept]
    return SetStats(
        num_clips=len(records),
        num_kept=len(kept),
        num_set_aside=len(pairs.failures()),
        seconds=sum(cut.num_frames / cut.frame_rate for cut in cuts),
        num_bytes=sum(pairs.store.size(file) for record in records for file in record.files.values()),
        splits=dict(sorted(Counter(record.clip.split for record in kept).items())),
        sources=dict(sorted(sources.items())),
        sizes=dict(sorted(Counter(f"{cut.width}x{cut.height}x{cut.num_frames}" for cut in cuts).items())),
        reasons=dict(Counter(rule for record in records for rule in rules_of(record)).most_common()),
        scores={name: _spread(values[name]) for name in in_order(list(values))},
    )


def as_text(stats: SetStats) -> str:
    """Write the numbers for people."""
    share = f" ({stats.num_kept / stats.num_clips:.0%})" if stats.num_clips else ""
    aside = f"; {stats.num_set_aside} more set aside" if stats.num_set_aside else ""
    lines = [
        f"clips     {stats.num_clips}, {stats.num_kept} kept{share}{aside}",
        f"kept      {stats.seconds:.0f} s of film, {stats.num_bytes / 1e6:.1f} MB with what was dropped",
        f"splits    {_counts(stats.splits)}",
        f"sizes     {_counts(stats.sizes)}",
        "sources   " + ("; ".join(f"{name} {good} of {total}" for name, (total, good) in stats.sources.items()) or "-"),
        f"dropped   {_counts(stats.reasons)}",
    ]
    if not stats.scores:
        return "\n".join(lines)
    rows = [["score", "clips", "lowest", *(f"{p} %" for p in PERCENTILES), "highest"]]
    for name, spread in stats.scores.items():
        figures = [written(name, value) for value in (spread.low, *spread.percentiles, spread.high)]
        rows.append([heading(name), str(spread.num_clips), *figures])
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    table = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join([*lines, "", *table])


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "-"


def _spread(values: Sequence[float]) -> Spread:
    points = np.percentile(values, PERCENTILES)
    return Spread(len(values), float(min(values)), tuple(float(point) for point in points), float(max(values)))
