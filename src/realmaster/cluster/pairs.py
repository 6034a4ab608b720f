"""The stages of the pair pipeline on Ray: actors that hold the models, clips streaming from stage to stage.

Separate from the local executor because here work is somewhere else and may die there. The driver alone claims clips,
keeps the books and decides; a worker only runs `advance`, as the local executor does, so the results are the same. The
nodes share the set's folder, or reach its object store. A worker that dies costs its clip one attempt, at the stage
where it was: what the stages before left is there.
"""

from __future__ import annotations

import logging
import os
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realmaster.data.scan import Scan
from realmaster.errors import ClusterError
from realmaster.pairs.pair_set import Failure, PairSet
from realmaster.pairs.planning import ScanTask, scan_one
from realmaster.pairs.runner import Done, Finish, Report, Step, advance, outcome
from realmaster.pairs.settings import ComputeSettings
from realmaster.pairs.stage import STAGES, Job, Stage

logger = logging.getLogger(__name__)


class Worker:
    """One process of one stage; its models are loaded once."""

    def __init__(self, stage: Stage, root: str, folder: str) -> None:
        """Take the stage, which is not set up yet, and the folder to which relative paths are relative."""
        self._stage, self._root, self._folder = stage, root, folder
        self._pairs: PairSet | None = None

    def ready(self) -> None:
        """Load the models.

        Raises:
            RealMasterError: something is missing.
        """
        if self._pairs is None:
            enter(self._folder)
            self._stage.setup()
            self._pairs = PairSet(self._root)

    def carry(self, job: Job, digest: str) -> Step:
        """Carry a job through the stage.

        Raises:
            RealMasterError: something that would hit every clip.
        """
        self.ready()
        assert self._pairs is not None, "ready"
        return advance(self._stage, job, self._pairs, digest)


@dataclass(frozen=True)
class Utilisation:
    """How busy one stage was: its workers, clips, and the share of the run's time that a worker worked."""

    stage: str
    num_workers: int
    num_clips: int
    busy: float


class RayExecutor:
    """Actors for each stage, and a loop that feeds them."""

    def __init__(self, ray: Any, compute: ComputeSettings) -> None:
        """Take the connected module `ray`, and what each stage gets."""
        self._ray, self._compute = ray, compute
        self.utilisation: list[Utilisation] = []
        self.num_lost = 0  # workers that died

    @property
    def at_once(self) -> int:
        """Clips under way together: two for each worker, so that none waits for the driver."""
        return 2 * sum(self._compute.of(stage).workers for stage in STAGES)

    def scan(self, tasks: Sequence[ScanTask]) -> Iterator[tuple[ScanTask, Scan | str]]:
        """Look through videos on all nodes; gives them as they are done."""
        remote = self._ray.remote(_scan_from)
        waiting = {remote.remote(str(Path.cwd()), task): task for task in tasks}
        while waiting:
            (ref,), _ = self._ray.wait(list(waiting), num_returns=1)
            yield waiting.pop(ref), self._get(ref)

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
            ClusterError: the cluster has not what the stages ask for.
            RealMasterError: something that would hit every clip.
        """
        self._check_resources()
        run = _Run(self._ray, self._compute, stages, pairs, digest, report, finish)
        started = time.perf_counter()
        try:
            self._get(run.ready_refs())
            started = time.perf_counter()
            waiting = deque(jobs)
            while waiting or run.num_under_way:
                while waiting and run.num_under_way < self.at_once:
                    run.begin(waiting.popleft())
                run.dispatch()
                for ref in run.wait():
                    self._hear(run, ref)
        finally:
            seconds = time.perf_counter() - started
            self.num_lost += run.num_lost
            self.utilisation = [
                Utilisation(
                    stage.name,
                    self._compute.of(stage.name).workers,
                    run.num_clips[stage.name],
                    run.busy[stage.name] / max(seconds * self._compute.of(stage.name).workers, 1e-9),
                )
                for stage in stages
            ]
            run.end()

    def utilisation_lines(self) -> list[str]:
        """Say for each stage how busy its workers were."""
        lines = [
            f"{one.stage:10} {one.num_workers:3} worker{'s' if one.num_workers > 1 else ' '} busy {one.busy:4.0%}, "
            f"{one.num_clips} clips"
            for one in self.utilisation
        ]
        return [*lines, *([f"{self.num_lost} workers died and were replaced"] if self.num_lost else [])]

    def _hear(self, run: _Run, ref: Any) -> None:
        """Take the result of one stage of one clip; a worker that died is replaced, and its clip tried again."""
        try:
            step = self._ray.get(ref)
        except self._ray.exceptions.RayActorError as error:
            run.lost(ref, " ".join(str(error).split())[:200])
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        else:
            run.heard(ref, step)

    def _get(self, refs: Any) -> Any:
        try:
            return self._ray.get(refs)
        except self._ray.exceptions.RayTaskError as error:
            raise _cause(error) from error
        except self._ray.exceptions.RayError as error:
            reason = str(error).splitlines()[0]
            raise ClusterError(f"expected a worker on the cluster, it died ({reason}): see Ray's logs") from error

    def _check_resources(self) -> None:
        asked = {
            "CPU": sum(self._compute.of(stage).cpus * self._compute.of(stage).workers for stage in STAGES),
            "GPU": sum(self._compute.of(stage).gpus * self._compute.of(stage).workers for stage in STAGES),
        }
        there = self._ray.cluster_resources()
        short = [f"{count:g} {name}s, it has {there.get(name, 0):g}" for name, count in asked.items()
                 if count > there.get(name, 0) + 1e-6]  # fmt: skip
        if short:
            raise ClusterError(
                f"expected a cluster with {' and '.join(short)}: add nodes, or lower workers, cpus or gpus in "
                "compute.stages"
            )


@dataclass
class _Task:
    """One stage of one clip, running on one worker."""

    index: int
    actor: Any
    job: Job


class _Run:
    """The state of one run: queues between the stages, idle workers, what is running, who is claimed."""

    def __init__(
        self,
        ray: Any,
        compute: ComputeSettings,
        stages: Sequence[Stage],
        pairs: PairSet,
        digest: str,
        report: Report,
        finish: Finish,
    ) -> None:
        self._ray, self._compute, self._stages = ray, compute, stages
        self._pairs, self._digest, self._report, self._finish = pairs, digest, report, finish
        self._queues: list[deque[Job]] = [deque() for _ in stages]
        self._idle: list[list[Any]] = [
            [self._actor(i) for _ in range(compute.of(stage.name).workers)] for i, stage in enumerate(stages)
        ]
        self._actors = [actor for idle in self._idle for actor in idle]
        self._running: dict[Any, _Task] = {}
        self._claims: dict[str, ExitStack] = {}
        self._attempts: Counter[str] = Counter()
        self.busy: dict[str, float] = dict.fromkeys((stage.name for stage in stages), 0.0)
        self.num_clips: Counter[str] = Counter()
        self.num_lost = 0

    @property
    def num_under_way(self) -> int:
        return len(self._claims)

    def ready_refs(self) -> list[Any]:
        return [actor.ready.remote() for actor in self._actors]

    def begin(self, job: Job) -> None:
        """Claim a clip and put it into the first queue, unless another process has it."""
        claim = self._pairs.take(job.clip.id)
        if claim is None:
            self._finish(Done(job.clip.id, "taken"))
            return
        self._claims[job.clip.id] = claim
        self._queues[0].append(job)

    def dispatch(self) -> None:
        """Give idle workers something to do, the last stages first: finished clips make room."""
        for index in reversed(range(len(self._stages))):
            while self._queues[index] and self._idle[index]:
                job, actor = self._queues[index].popleft(), self._idle[index].pop()
                self._running[actor.carry.remote(job, self._digest)] = _Task(index, actor, job)

    def wait(self) -> list[Any]:
        if not self._running:
            return []
        done, _ = self._ray.wait(list(self._running), num_returns=1)
        return list(done)

    def heard(self, ref: Any, step: Step) -> None:
        task = self._running.pop(ref)
        self._idle[task.index].append(task.actor)
        stage = self._stages[task.index].name
        if not step.was_done:
            self.busy[stage] += step.seconds
            self.num_clips[stage] += 1
        self._report(step)
        last = len(self._stages) - 1
        if step.job is None or task.index == last:
            self._end(outcome(step, self._pairs))
        else:
            self._queues[last if step.job.rejected_at is not None else task.index + 1].append(step.job)

    def lost(self, ref: Any, reason: str) -> None:
        task = self._running.pop(ref)
        clip, stage = task.job.clip.id, self._stages[task.index].name
        self.num_lost += 1
        self._attempts[clip] += 1
        self._actors.remove(task.actor)
        actor = self._actor(task.index)
        self._actors.append(actor)
        self._idle[task.index].append(actor)
        logger.warning("%s: its worker died (%s): %s", clip, stage, reason)
        if self._attempts[clip] < self._compute.attempts:
            self._queues[task.index].appendleft(task.job)
            return
        failure = Failure(clip, stage, f"its worker died {self._attempts[clip]} times: {reason}")
        self._pairs.set_aside(failure)
        self._end(Done(clip, "failed", failure.reason))

    def end(self) -> None:
        """Let workers and claims go."""
        for actor in self._actors:
            self._ray.kill(actor)
        for claim in self._claims.values():
            claim.close()
        self._claims = {}

    def _end(self, done: Done) -> None:
        self._claims.pop(done.clip).close()
        self._finish(done)

    def _actor(self, index: int) -> Any:
        given = self._compute.of(self._stages[index].name)
        remote = self._ray.remote(Worker).options(num_cpus=given.cpus, num_gpus=given.gpus, max_restarts=0)
        return remote.remote(self._stages[index], self._pairs.root, str(Path.cwd()))


def enter(folder: str) -> None:
    """Work in the driver's folder, where this node has it: relative paths of the settings begin there."""
    if Path(folder).is_dir():
        os.chdir(folder)


def _scan_from(folder: str, task: ScanTask) -> Scan | str:
    enter(folder)
    return scan_one(task)


def _cause(error: Any) -> BaseException:
    """Give the error that was raised in the worker."""
    cause = getattr(error, "cause", None)
    return cause if isinstance(cause, BaseException) else error
