"""How far a set is: counts, rates, time left, reasons; while others work on it, or long after.

Separate from building: it reads and never writes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from realmaster.errors import DataError
from realmaster.pairs.journal import Entry, idle_share, read_runs
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.planning import read_plan
from realmaster.pairs.record import Record
from realmaster.pairs.stage import STAGES
from realmaster.pairs.thresholds import rule_of

_RECENT = 20  # finished clips from which the present rate is taken


@dataclass(frozen=True)
class StageRate:
    """What one stage took: clips, seconds of work, and of these within the models."""

    num_clips: int
    seconds: float
    model_seconds: float

    @property
    def clips_per_hour(self) -> float:
        """Clips that one worker does in an hour of work."""
        return 3600 * self.num_clips / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Status:
    """How far a set is."""

    root: str
    num_planned: int
    by_split: Mapping[str, tuple[int, int]]  # accepted, planned
    num_accepted: int
    num_rejected: int
    num_failed: int
    under_way: Mapping[str, int]  # clips by the last stage that is done
    reasons: Mapping[str, int]  # of rejected clips, by rule; a clip counts under its first
    failures: Mapping[str, int]  # by stage and reason
    stages: Mapping[str, StageRate]
    share_without_models: float | None  # of the runs' time, that in which no model worked
    clips_per_hour: float | None  # of the set, lately
    seconds_left: float | None
    dropped: Mapping[str, int] = field(default_factory=dict)  # stretches of footage, by reason
    unusable: Mapping[str, str] = field(default_factory=dict)  # videos
    missing: Mapping[str, int] = field(default_factory=dict)  # clips asked for beyond what the footage has room for

    @property
    def num_left(self) -> int:
        """Clips that are neither finished nor set aside."""
        return self.num_planned - self.num_accepted - self.num_rejected - self.num_failed

    def as_dict(self) -> dict[str, Any]:
        """Give everything as JSON."""
        stages = {
            name: {
                "clips": rate.num_clips,
                "seconds": round(rate.seconds, 2),
                "model_seconds": round(rate.model_seconds, 2),
                "clips_per_hour": round(rate.clips_per_hour, 1),
            }
            for name, rate in self.stages.items()
        }
        values = {key: value for key, value in self.__dict__.items() if key not in ("stages", "by_split")}
        splits = {split: {"accepted": kept, "planned": planned} for split, (kept, planned) in self.by_split.items()}
        return values | {
            "num_left": self.num_left,
            "by_split": splits,
            "stages": stages,
        }


def read_status(root: str) -> Status:
    """Read how far a set is.

    Raises:
        DataError: there is no set, or one of its files was edited into nonsense.
    """
    pairs = PairSet(root)
    found = read_plan(pairs)
    if found is None:
        raise DataError(f"{root}: expected a set of pairs with a plan, found none: build it first")
    plan, _ = found
    finished, failures = pairs.finished(), pairs.failures()
    records = [pairs.record(clip.id) for clip in plan.clips if clip.id in finished]
    runs = read_runs(pairs)
    entries = sorted((entry for run in runs for entry in run), key=lambda entry: entry.ended_at)
    rate = _recent_rate(entries)
    failed = {name: failure for name, failure in failures.items() if name not in finished}
    kept = Counter(record.clip.split for record in records if record.accepted)
    planned = Counter(clip.split for clip in plan.clips)
    left = len(plan.clips) - len(records) - len(failed)
    return Status(
        root=root,
        num_planned=len(plan.clips),
        by_split={split: (kept[split], planned[split]) for split in planned},
        num_accepted=sum(record.accepted for record in records),
        num_rejected=sum(not record.accepted for record in records),
        num_failed=len(failed),
        under_way=_under_way(pairs, finished),
        reasons=dict(Counter(_rule(record) for record in records if not record.accepted).most_common()),
        failures=dict(Counter(f"{failure.stage}: {failure.reason}" for failure in failed.values()).most_common()),
        stages=_stages(entries),
        share_without_models=idle_share(runs),
        clips_per_hour=rate,
        seconds_left=None if not rate or not left else 3600 * left / rate,
        dropped=dict(Counter(stretch.reason for found in plan.dropped.values() for stretch in found).most_common()),
        unusable=plan.unusable,
        missing=plan.missing,
    )


def _rule(record: Record) -> str:
    rule = rule_of(record.reason or "")
    return rule if record.rejected_at is None else f"{record.rejected_at}: {rule}"


def _under_way(pairs: PairSet, finished: set[str]) -> dict[str, int]:
    counts = Counter(
        max(stages, key=lambda stage: STAGES.index(stage) if stage in STAGES else -1) if stages else "begun"
        for clip, stages in pairs.under_way().items()
        if clip not in finished
    )
    return dict(counts)


def _stages(entries: Sequence[Entry]) -> dict[str, StageRate]:
    found = {}
    for stage in STAGES:
        mine = [entry for entry in entries if entry.stage == stage]
        if mine:
            seconds, model = sum(e.seconds for e in mine), sum(e.model_seconds for e in mine)
            found[stage] = StageRate(len(mine), seconds, model)
    return found


def _recent_rate(entries: Sequence[Entry]) -> float | None:
    """Clips finished an hour, over the last of them; None with fewer than two."""
    ends = [entry.ended_at for entry in entries if entry.stage == "finish"][-_RECENT:]
    return 3600 * (len(ends) - 1) / (ends[-1] - ends[0]) if len(ends) > 1 and ends[-1] > ends[0] else None
