"""Carry one clip through one stage: skip what is done, mark what gets done, set aside what fails.

Separate because both executors do exactly this, in this process or in a worker far away; so the rules of resuming stand
once. What a clip alone can suffer costs that clip. What would hit every clip (no room on the disk, weights missing, no
memory) ends the run.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from realmaster.errors import (
    AdapterError,
    ClusterError,
    ConfigError,
    MemoryLimitError,
    MissingExtraError,
    MissingWeightsError,
    OutputError,
    RealMasterError,
)
from realmaster.pairs.pair_set import Failure, PairSet
from realmaster.pairs.stage import Job, Stage
from realmaster.pipelines.edit_folder import EditMissingError

logger = logging.getLogger(__name__)

FATAL = (MissingWeightsError, MissingExtraError, ClusterError, ConfigError, OutputError, MemoryLimitError, AdapterError)
Span = tuple[float, float]
"""From when to when, in seconds since 1970."""
Outcome = Literal["accepted", "rejected", "failed", "waiting", "taken"]


@dataclass(frozen=True)
class Step:
    """What one stage did to one clip: the job after it, or why there is none."""

    stage: str
    clip: str
    job: Job | None
    seconds: float = 0.0
    model_spans: tuple[Span, ...] = ()
    was_done: bool = False
    failure: Failure | None = None
    waits_for: str | None = None  # an edit that somebody has to make first


@dataclass(frozen=True)
class Done:
    """What became of a clip in this run; "taken": another process has it."""

    clip: str
    outcome: Outcome
    reason: str | None = None


Report = Callable[[Step], None]
Finish = Callable[[Done], None]


class Execute(Protocol):
    """An executor: carries jobs through the stages, on this machine or on many."""

    @property
    def at_once(self) -> int:
        """Clips that are under way together, for the count of disk space."""

    def __call__(
        self,
        stages: Sequence[Stage],
        jobs: Sequence[Job],
        pairs: PairSet,
        digest: str,
        *,
        report: Report,
        finish: Finish,
    ) -> None:
        """Work all jobs off; `report` hears of every stage, `finish` of every clip.

        Raises:
            RealMasterError: something that would hit every clip.
        """


def advance(stage: Stage, job: Job, pairs: PairSet, digest: str) -> Step:
    """Carry a job through one stage, unless that is done already.

    Raises:
        RealMasterError: something that would hit every clip.
    """
    if job.rejected_at is not None and stage.name != "finish":
        return Step(stage.name, job.clip.id, job, was_done=True)
    done = pairs.load(stage.name, job, digest)
    if done is not None:
        return Step(stage.name, job.clip.id, done, was_done=True)
    started = time.perf_counter()
    spans: list[Span] = getattr(stage, "model_spans", [])
    spans.clear()
    try:
        after = stage(job)
        if stage.name != "finish":
            pairs.mark(stage.name, after, digest)
    except EditMissingError as error:
        return Step(stage.name, job.clip.id, None, waits_for=str(error))
    except Exception as error:
        if is_fatal(error):
            raise
        if not isinstance(error, RealMasterError):
            logger.debug("%s: %s", job.clip.id, stage.name, exc_info=True)
        words = str(error) if isinstance(error, RealMasterError) else f"{type(error).__name__}: {error}"
        failure = Failure(job.clip.id, stage.name, " ".join(words.split()))
        pairs.set_aside(failure)
        logger.warning("%s failed (%s): %s", failure.clip, failure.stage, failure.reason)
        return Step(stage.name, job.clip.id, None, failure=failure)
    finally:
        pairs.store.forget(pairs.work(job.clip.id, ""))
    seconds = time.perf_counter() - started
    return Step(stage.name, job.clip.id, after, seconds, tuple(spans))


def is_fatal(error: BaseException) -> bool:
    """Say whether an error would hit every clip: what is missing, a full disk, no memory."""
    if isinstance(error, (*FATAL, MemoryError)) or type(error).__name__ == "OutOfMemoryError":
        return True
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return True
        cause = cause.__cause__
    return False


def outcome(step: Step, pairs: PairSet) -> Done:
    """Say what became of a clip after its last step in this run."""
    if step.failure is not None:
        return Done(step.clip, "failed", step.failure.reason)
    if step.waits_for is not None:
        return Done(step.clip, "waiting", step.waits_for)
    record = pairs.record(step.clip)
    return Done(step.clip, "accepted" if record.accepted else "rejected", record.reason)
