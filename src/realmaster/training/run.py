"""`realmaster train CONFIG`, top to bottom: data, base, adapter, steps, validations, checkpoints.

The run is a function of its settings: every clip's noise comes from the clip's own draw, so the losses are the same
however the work is spread over processes, and the same again after a process was killed.
"""

from __future__ import annotations

import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from realmaster.errors import RealMasterError
from realmaster.models.adapter import write_adapter
from realmaster.models.adapter_metadata import expert_path
from realmaster.pipelines.translate import Translator
from realmaster.training.buckets import BucketSampler
from realmaster.training.card import describe_adapter
from realmaster.training.checkpoints import Checkpoint, Checkpoints
from realmaster.training.dataset import Batch, load_batches
from realmaster.training.experts import TrainedExpert
from realmaster.training.problems import not_finite, refuse_changes, too_large
from realmaster.training.processes import (
    gather_objects,
    mean_over_processes,
    peak_memory_gb,
    start_processes,
    start_trackers,
    track_pictures,
    write_settings,
)
from realmaster.training.run_lock import only_run
from realmaster.training.run_log import RunLog
from realmaster.training.settings import TrainSettings, plan_turns
from realmaster.training.setup import Prepared, prepare
from realmaster.training.validation import (
    Score,
    make_grid,
    mean_scores,
    validate_clips,
    warn_unknown_figure,
    write_grid,
)

if TYPE_CHECKING:
    from accelerate import Accelerator

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Progress:
    """Where a run is: for the line that a user watches."""

    step: int
    num_steps: int
    losses: Mapping[str, float]  # of each expert that has trained: the mean of its latest steps
    samples_per_second: float
    memory_gb: float
    seconds_left: float


Show = Callable[[Progress], None]
ShowCache = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Trained:
    """What a run leaves: its newest checkpoint, its best one (None without validation), and the steps done."""

    newest: Checkpoint
    best: Checkpoint | None
    num_steps: int


def train(
    settings: TrainSettings,
    *,
    score: Score | None = None,
    show: Show | None = None,
    show_cache: ShowCache | None = None,
) -> Trained:
    """Train an adapter as the settings say, or go on with a run that was broken off.

    Args:
        settings: the config.
        score: gives figures for (output, truth) of a validation clip; None validates by eye alone.
        show: called after every step, in the main process.
        show_cache: called with (clips encoded, clips in all) while the cache is made.

    Raises:
        ConfigError, DataError, MissingWeightsError, MissingExtraError, AdapterError: the settings ask for what is not
            there or does not fit. NumericalError: a loss is not finite. OutputError: a checkpoint cannot be written.
    """
    if settings.threads is not None:
        torch.set_num_threads(settings.threads)
    accelerator = start_processes(settings)
    settings.output.mkdir(parents=True, exist_ok=True)
    with only_run(settings.output) if accelerator.is_main_process else nullcontext():
        return _train(settings, accelerator, score=score, show=show, show_cache=show_cache)


def _train(
    settings: TrainSettings,
    accelerator: Accelerator,
    *,
    score: Score | None,
    show: Show | None,
    show_cache: ShowCache | None,
) -> Trained:
    checkpoints = Checkpoints(
        settings.output / "checkpoints", keep=settings.checkpoints.keep, figure=settings.validation.figure
    )
    newest = checkpoints.newest()
    prepared = prepare(settings, accelerator, show_cache=show_cache if accelerator.is_main_process else None)
    run = Run(settings, accelerator, prepared, checkpoints, score=score, show=show)
    if newest is not None:
        run.resume(newest)
    else:
        RunLog(settings.output / "log.jsonl").cut(-1)  # of a run killed before its first checkpoint
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        write_settings(settings, settings.output / "config.yaml")
    start_trackers(accelerator, settings, step=run.step)
    try:
        run.train()
    finally:
        accelerator.end_training()
    last = checkpoints.newest()
    assert last is not None, "a run ends with a checkpoint"
    return Trained(last, checkpoints.best(), run.step)


class Run:
    """A run in the middle of its steps."""

    def __init__(
        self,
        settings: TrainSettings,
        accelerator: Accelerator,
        prepared: Prepared,
        checkpoints: Checkpoints,
        *,
        score: Score | None = None,
        show: Show | None = None,
    ) -> None:
        """Begin at the first step; `resume` goes on from a checkpoint."""
        self.settings, self.accelerator, self.checkpoints = settings, accelerator, checkpoints
        self.models, self.profile, self.dataset = prepared.models, prepared.profile, prepared.dataset
        self.experts, self.validation_rows = prepared.experts, prepared.validation_rows
        self.score, self.show = score, show
        self.turns = plan_turns(settings.experts, settings.turn_steps)
        self.step = 0
        data = settings.data
        self.sampler = BucketSampler(
            self.dataset,
            data.batch_size,
            settings.seed,
            accelerator.process_index,
            accelerator.num_processes,
            accumulation=data.accumulation,
            drop_captions=data.drop_captions,
        )
        self.log = RunLog(settings.output / "log.jsonl")
        self.latest: dict[str, deque[float]] = {}
        self.step_seconds: deque[float] = deque(maxlen=50)

    def train(self) -> None:
        """Do the steps that are left; validate, save and report on the way.

        Raises:
            NumericalError: a loss or gradient is not finite. OutputError: a checkpoint cannot be written.
        """
        if self.step == 0 and self.validation_rows and self.settings.validation.at_start:
            self.record(self.validate())
        batches = load_batches(
            self.dataset,
            self.sampler,
            num_workers=self.settings.data.readers,
            pin_memory=self.accelerator.device.type == "cuda",
        )
        while self.step < len(self.turns):
            name = self.turns[self.step]
            self.models.bring(name)
            expert = self.experts[name]
            with expert.step.reading():
                while self.step < len(self.turns) and self.turns[self.step] == name:
                    start = time.monotonic()
                    self.take_step(expert, [next(batches) for _ in range(self.settings.data.accumulation)])
                    self.step_seconds.append(time.monotonic() - start)
                    self.report()
                    if self.is_due:
                        break
            if self.is_due:
                self.save(self.validate_or_save() if self.validates else {})

    def take_step(self, expert: TrainedExpert, batches: Sequence[Batch]) -> None:
        """Take one optimizer step and log it.

        Raises:
            NumericalError: the loss or the gradient is not finite, on any process; the weights are left as they were.
        """
        rate = expert.rate
        try:
            losses = expert.train_step(batches)
        except torch.OutOfMemoryError as error:
            raise too_large(
                self.settings, batches, error, step=self.step + 1, device=self.accelerator.device
            ) from error
        values = mean_over_processes(self.accelerator, losses)
        if not all(math.isfinite(value) for value in values.values()):
            mine = [self.dataset.row(index).where for batch in batches for index in batch["index"]]
            clips = gather_objects(self.accelerator, mine)
            raise not_finite(values, clips, self.checkpoints.newest(), step=self.step + 1, expert=expert.name)
        expert.apply()
        self.step += 1
        self.latest.setdefault(expert.name, deque(maxlen=20)).append(values["loss"])
        numbers = {"loss": values["loss"], "norm": values["norm"], "rate": rate}
        self.record({"expert": expert.name, **numbers}, tracked={f"{expert.name}/{k}": v for k, v in numbers.items()})

    def validate_or_save(self) -> dict[str, float]:
        """Validate; if that fails, the steps since the last checkpoint are not lost with it.

        Raises:
            RealMasterError: a clip cannot be read, or differs from its truth in size or length.
        """
        try:
            return self.validate()
        except RealMasterError:
            if self.accelerator.num_processes == 1:  # others may not have failed, and would not come to save
                self.save({})
            raise

    @property
    def validates(self) -> bool:
        """Whether this step is followed by a validation."""
        ended = self.step == len(self.turns)
        return bool(self.validation_rows) and (ended or self.step % self.settings.validation.every == 0)

    @property
    def is_due(self) -> bool:
        """Whether this step is followed by a checkpoint; a validation always is."""
        return self.step == len(self.turns) or self.step % self.settings.checkpoints.every == 0 or self.validates

    def validate(self) -> dict[str, float]:
        """Translate the validation clips, write them as a grid, and give their mean scores.

        With DDP the clips are shared out; with FSDP all processes work on each, since each has a part of the weights.
        """
        settings, accelerator = self.settings.validation, self.accelerator
        sharded = self.settings.parallel == "fsdp"
        rank, count = (0, 1) if sharded else (accelerator.process_index, accelerator.num_processes)
        numbered = list(enumerate(self.validation_rows))[rank::count]
        translator = Translator(self.profile, self.models, mode=self.settings.reference.mode)
        with ExitStack() as kept:
            for expert in self.experts.values():
                kept.enter_context(expert.kept_weights())
            mine = validate_clips(translator, numbered, settings, self.score)
        validated = mine if sharded else gather_objects(accelerator, mine)
        scores = mean_scores(validated)
        if accelerator.is_main_process:
            warn_unknown_figure(settings.figure, validated)
            grid = make_grid(validated)
            write_grid(grid, self.settings.output / "validation" / f"step-{self.step:08d}.mp4", self.validation_rows[0])
            track_pictures(accelerator, "validation", grid[len(grid) // 2][None], step=self.step)
        return scores

    def save(self, scores: Mapping[str, float]) -> None:
        """Write a checkpoint with the scores of this step; every process has to call it."""
        tensors = {f"{n}/{k}": v for n, expert in self.experts.items() for k, v in expert.state().items()}
        adapters = {name: expert.adapter_state() for name, expert in self.experts.items()}
        state = {
            "identity": self.settings.identity(),
            "index": {name: expert.index for name, expert in self.experts.items()},
            "sampler": self.sampler.state_dict(),
        }

        def write(folder: Path) -> None:
            for name, weights in adapters.items():
                path = expert_path(folder / "adapter.safetensors", name, tagged=len(self.profile.transformers) > 1)
                card = describe_adapter(self.settings, self.profile, self.dataset, name, self.experts)
                write_adapter(weights, path, card)

        if scores:
            self.record(scores)
        if self.accelerator.is_main_process:
            self.checkpoints.save(self.step, tensors, state, scores, write)
        self.accelerator.wait_for_everyone()

    def resume(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint: weights, moments, place in the data, and the log cut back to it.

        Raises:
            ConfigError: the settings or the data differ in what decides the weights, or the checkpoint is damaged.
        """
        tensors, state = self.checkpoints.load(checkpoint)
        refuse_changes(state["identity"], self.settings.identity(), self.settings.output)
        self.sampler.load_state_dict(state["sampler"])
        for name, expert in self.experts.items():
            mine = {key.removeprefix(f"{name}/"): v for key, v in tensors.items() if key.startswith(f"{name}/")}
            expert.load_state(mine, state["index"][name])
        self.step = checkpoint.step
        if self.accelerator.is_main_process:
            self.log.cut(self.step)
        logger.info("going on from %s", checkpoint.folder)

    def record(self, values: Mapping[str, Any], *, tracked: Mapping[str, float] | None = None) -> None:
        """Write a line of the log, and show numbers to the trackers."""
        if self.accelerator.is_main_process:
            self.log.write(self.step, values)
        numbers = tracked if tracked is not None else {f"validation/{k}": v for k, v in values.items()}
        self.accelerator.log(dict(numbers), step=self.step)

    def report(self) -> None:
        """Show where the run is."""
        if self.show is None or not self.accelerator.is_main_process:
            return
        seconds = sum(self.step_seconds) / len(self.step_seconds)
        self.show(
            Progress(
                step=self.step,
                num_steps=len(self.turns),
                losses={name: sum(values) / len(values) for name, values in self.latest.items()},
                samples_per_second=self.sampler.group_size / seconds,
                memory_gb=peak_memory_gb(self.accelerator.device),
                seconds_left=seconds * (len(self.turns) - self.step),
            )
        )
