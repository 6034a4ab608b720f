"""Run the stages in this process, a few clips under way at a time or, where only one model fits, stage by stage.

Separate from the runner, which knows the rules, and from Ray's executor, which has many processes. Several of these
processes may work on one folder: each clip belongs to the one that has claimed it.
"""

from __future__ import annotations

import gc
import sys
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack

from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.runner import Done, Finish, Report, Step, advance, outcome
from realmaster.pairs.stage import Job, Stage

AHEAD = 4
"""Clips under way together where all models are held: enough that none of them waits for a file."""


class LocalExecutor:
    """One process."""

    def __init__(self, *, hold: str = "all", batch: int = 64) -> None:
        """Choose what is held: "all" models from the start, or "one" at a time over batches of clips."""
        self.hold, self.batch = hold, batch

    @property
    def at_once(self) -> int:
        """Clips that are under way together."""
        return AHEAD if self.hold == "all" else self.batch

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
        """Work all jobs off.

        Raises:
            RealMasterError: something that would hit every clip.
        """
        if self.hold == "all":
            for stage in stages:
                stage.setup()
            with _Line(stages, pairs, digest, report, finish) as line:
                line.work_off(jobs)
            return
        waiting = list(jobs)
        while waiting:
            with ExitStack() as claims:
                batch: list[Job] = []
                while waiting and len(batch) < self.batch:
                    job = waiting.pop(0)
                    claim = pairs.take(job.clip.id)
                    if claim is None:
                        finish(Done(job.clip.id, "taken"))
                    else:
                        claims.push(claim)
                        batch.append(job)
                for stage in stages:
                    batch = self._carry(stage, batch, pairs, digest, report, finish)

    def _carry(
        self, stage: Stage, jobs: Sequence[Job], pairs: PairSet, digest: str, report: Report, finish: Finish
    ) -> list[Job]:
        """Carry claimed jobs through one stage; give those that go on."""
        if jobs:
            stage.setup()
        going: list[Job] = []
        for job in jobs:
            step = advance(stage, job, pairs, digest)
            report(step)
            if step.job is None or stage.name == "finish":
                finish(outcome(step, pairs))
            else:
                going.append(step.job)
        if jobs:
            release(stage)
        return going


class _Line:
    """Stages with models in this thread, so that Ctrl-C stops them; each other stage in a thread of its own beside it.

    A stage has one clip at a time, as on Ray. Claims, reports and outcomes are this thread's.
    """

    def __init__(self, stages: Sequence[Stage], pairs: PairSet, digest: str, report: Report, finish: Finish) -> None:
        self._stages, self._pairs, self._digest = stages, pairs, digest
        self._report, self._finish = report, finish
        self._claims: dict[str, ExitStack] = {}
        self._ready: list[deque[Job]] = [deque() for _ in stages]  # for this thread, by stage
        self._running: dict[Future[Step], int] = {}
        self._threads = {
            index: ThreadPoolExecutor(1, thread_name_prefix=stage.name)
            for index, stage in enumerate(stages)
            if getattr(stage, "is_beside_models", False)
        }

    def __enter__(self) -> _Line:
        return self

    def __exit__(self, *_: object) -> None:
        """Let a clip's running stage end, begin no other, and let all claims go."""
        for threads in self._threads.values():
            threads.shutdown(wait=True, cancel_futures=True)
        for claim in self._claims.values():
            claim.close()

    def work_off(self, jobs: Sequence[Job]) -> None:
        waiting = deque(jobs)
        while waiting or self._claims:
            while waiting and len(self._claims) < AHEAD:
                self._begin(waiting.popleft())
            last = max((index for index, queue in enumerate(self._ready) if queue), default=None)
            if last is not None:
                self._heard(last, self._advance(last, self._ready[last].popleft()))
            for done in [future for future in self._running if future.done()] or self._wait(last is None):
                self._heard(self._running.pop(done), done.result())

    def _begin(self, job: Job) -> None:
        claim = self._pairs.take(job.clip.id)
        if claim is None:
            self._finish(Done(job.clip.id, "taken"))
            return
        self._claims[job.clip.id] = claim
        self._give(0, job)

    def _give(self, index: int, job: Job) -> None:
        if index in self._threads:
            self._running[self._threads[index].submit(self._advance, index, job)] = index
        else:
            self._ready[index].append(job)

    def _advance(self, index: int, job: Job) -> Step:
        return advance(self._stages[index], job, self._pairs, self._digest)

    def _wait(self, has_nothing_else: bool) -> list[Future[Step]]:
        if not (has_nothing_else and self._running):
            return []
        return list(wait(self._running, return_when=FIRST_COMPLETED).done)

    def _heard(self, index: int, step: Step) -> None:
        self._report(step)
        if step.job is None or index == len(self._stages) - 1:
            self._claims.pop(step.clip).close()
            self._finish(outcome(step, self._pairs))
        else:
            self._give(index + 1, step.job)


def release(stage: Stage) -> None:
    """Let a stage's models go, on the accelerator too."""
    close = getattr(stage, "close", None)
    if close is not None:
        close()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
