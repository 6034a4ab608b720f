"""Build a set of pairs: plan, check, carry every clip that is not finished through the stages, write the manifests.

The one function that a command or a program calls. It can be killed at any moment and called again.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from realmaster.errors import DataError
from realmaster.pairs.disk import check_room
from realmaster.pairs.journal import Journal
from realmaster.pairs.kept_thresholds import THRESHOLDS, thresholds_of
from realmaster.pairs.local import LocalExecutor
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.planning import PLAN, Plan, Progress, Scanner, make_plan, scan_here
from realmaster.pairs.record import write_manifests
from realmaster.pairs.runner import Done, Execute, Step
from realmaster.pairs.scoring import Scorer
from realmaster.pairs.settings import PairSettings
from realmaster.pairs.stage import Job, Stage
from realmaster.pairs.stages import make_stages
from realmaster.pairs.store import read_text, write_text

SET = "set.json"


@dataclass
class Tally:
    """What a run did, and what the set now holds."""

    plan: Plan
    num_known: int = 0  # finished before this run
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: dict[str, str] = field(default_factory=dict)  # of clips that failed or wait
    rows: dict[str, int] = field(default_factory=dict)  # of the manifests
    was_stopped: bool = False


def build_pairs(
    settings: PairSettings,
    *,
    execute: Execute | None = None,
    scanner: Scanner = scan_here,
    retry: bool = False,
    progress: Progress | None = None,
    scan_progress: Progress | None = None,
    stages: Sequence[Stage] | None = None,
) -> Tally:
    """Build a set, or go on with one.

    Args:
        settings: the set.
        execute: carries the clips through the stages; by default in this process.
        scanner: looks through footage; by default in this process.
        retry: try the clips again that failed before.
        progress: called with (clips done, clips in all); `scan_progress` with videos.
        stages: in place of the paper's.

    Raises:
        DataError: the set was made with other settings, the footage has no room for a clip, or clip after clip failed.
        ConfigError, MediaError, MissingWeightsError, MissingExtraError, OutputError: what would hit every clip; nothing
            is begun, or the run ends.
    """
    pairs = PairSet(settings.output)
    with pairs.lease():
        _check_settings(pairs, settings)
        plan = make_plan(pairs, settings, scanner=scanner, progress=scan_progress)
        finished, failed = pairs.finished(), pairs.failures()
        if retry:
            for clip in failed:
                pairs.forgive(clip)
            failed = {}
        jobs = [Job(clip) for clip in plan.clips if clip.id not in finished and clip.id not in failed]
        tally = Tally(plan, num_known=sum(clip.id in finished for clip in plan.clips))
        tally.reasons |= {name: failure.reason for name, failure in failed.items()}
        tally.outcomes["failed"] += len(failed)
        if jobs:
            compute = settings.compute
            executor = execute or LocalExecutor(hold=compute.hold, batch=compute.batch)
            check_room(pairs.store, [job.clip for job in jobs], settings, at_once=executor.at_once)
            Scorer(settings.scoring).setup()  # a face model that is missing is said before anything is made
            run = _Run(pairs, tally, len(plan.clips), settings.compute.stop_after, progress)
            thresholds_of(pairs.store, settings.thresholds)
            made = make_stages(settings, pairs.root) if stages is None else stages
            try:
                executor(made, jobs, pairs, settings.digest, report=run.report, finish=run.finish)
            finally:
                run.journal.close()
                tally.rows = _write_manifests(pairs)
        else:
            tally.rows = _write_manifests(pairs)
    return tally


class _Run:
    """Books of one run: the journal, the tally, and the brake."""

    def __init__(
        self, pairs: PairSet, tally: Tally, total: int, stop_after: int | None, progress: Progress | None
    ) -> None:
        self.journal = Journal(pairs)
        self._tally, self._total, self._progress = tally, total, progress
        self._stop_after = stop_after
        self._in_a_row = 0
        self._show()

    def report(self, step: Step) -> None:
        if not step.was_done and step.job is not None:
            self.journal.add(step.stage, step.clip, step.seconds, step.model_spans)

    def finish(self, done: Done) -> None:
        self._tally.outcomes[done.outcome] += 1
        if done.outcome in ("failed", "waiting"):
            self._tally.reasons[done.clip] = done.reason or ""
        self._in_a_row = self._in_a_row + 1 if done.outcome == "failed" else 0
        self._show()
        if self._stop_after is not None and self._in_a_row >= self._stop_after:
            raise DataError(
                f"{self._in_a_row} clips failed one after the other, the last: {done.reason}: mend this, then run "
                "again with --retry"
            )

    def _show(self) -> None:
        if self._progress is not None:
            self._progress(self._tally.num_known + sum(self._tally.outcomes.values()), self._total)


def _write_manifests(pairs: PairSet) -> dict[str, int]:
    """Rebuild the manifests, also of a set without a record yet."""
    return write_manifests(pairs.store, [pairs.record(clip) for clip in sorted(pairs.finished())])


def _check_settings(pairs: PairSet, settings: PairSettings) -> None:
    """Write the set's settings down, or compare them with those it was begun with.

    Until a first clip is made, they may change: then the plan is made anew.

    Raises:
        DataError: they differ in something that decides pictures, and there are clips.
    """
    with pairs.exclusive("settings"):
        changed: list[str] = []
        if pairs.store.exists(SET):
            try:
                changed = _differences(json.loads(read_text(pairs.store, SET))["settings"], settings.deciding())
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise DataError(
                    f"{pairs.root}/{SET}: expected the settings of a set, it is damaged: restore it"
                ) from error
            if not changed:
                return
        if changed and (pairs.finished() or any(pairs.under_way().values())):
            raise DataError(
                f"{pairs.root}: expected the settings that this set was begun with, got another {', '.join(changed)}: "
                "choose another folder, or the same settings"
            )
        for name in (PLAN, THRESHOLDS):
            pairs.store.remove(name)
        values = {"digest": settings.digest, "settings": settings.deciding()}
        write_text(pairs.store, SET, json.dumps(values, indent=1, ensure_ascii=False) + "\n")


def _differences(known: object, wanted: object, name: str = "") -> list[str]:
    """Name the settings that differ, by their dotted names."""
    if isinstance(known, dict) and isinstance(wanted, dict):
        found = []
        for key in sorted({*known, *wanted}):
            found += _differences(known.get(key), wanted.get(key), f"{name}.{key}" if name else key)
        return found
    return [] if known == wanted else [name]
