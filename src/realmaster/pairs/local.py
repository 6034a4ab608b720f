"""Run the stages in this process, clip by clip or, where only one model fits, stage by stage.

Separate from the runner, which knows the rules, and from Ray's executor, which has many processes. Several of these
processes may work on one folder: each clip belongs to the one that has claimed it.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.runner import Done, Finish, Report, advance, outcome
from realmaster.pairs.stage import Job, Stage


class LocalExecutor:
    """One process."""

    def __init__(self, *, hold: str = "all", batch: int = 64) -> None:
        """Choose what is held: "all" models from the start, or "one" at a time over batches of clips."""
        self.hold, self.batch = hold, batch

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
        waiting = list(jobs)
        while waiting:
            with ExitStack() as claims:
                batch: list[Job] = []
                while waiting and len(batch) < (1 if self.hold == "all" else self.batch):
                    job = waiting.pop(0)
                    # finished by another process, perhaps, since this one made its list
                    if claims.enter_context(pairs.claim(job.clip.id)) and not pairs.is_finished(job.clip.id):
                        batch.append(job)
                    else:
                        finish(Done(job.clip.id, "taken"))
                for stage in stages:
                    batch = self._carry(stage, batch, pairs, digest, report, finish)

    def _carry(
        self, stage: Stage, jobs: Sequence[Job], pairs: PairSet, digest: str, report: Report, finish: Finish
    ) -> list[Job]:
        """Carry claimed jobs through one stage; give those that go on."""
        if self.hold == "one" and jobs:
            stage.setup()
        going: list[Job] = []
        for job in jobs:
            step = advance(stage, job, pairs, digest)
            report(step)
            if step.job is None or stage.name == "finish":
                finish(outcome(step, pairs))
            else:
                going.append(step.job)
        if self.hold == "one" and jobs:
            release(stage)
        return going


def release(stage: Stage) -> None:
    """Let a stage's models go, on the accelerator too."""
    close = getattr(stage, "close", None)
    if close is not None:
        close()
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()
