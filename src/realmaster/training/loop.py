"""One training loop for every part of nano: steps, schedule, average of the weights, log, resume.

Separate because the autoencoder, the base and the adapter differ in their step alone, and from `run`, which trains an
adapter over a base of any size, on many devices, from a cache. A run folder holds the resolved
settings, `log.jsonl`, and `state/` with everything needed to go on: weights, optimizer moments and random state, all in
safetensors and JSON.
"""

from __future__ import annotations

import json
import logging
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from realmaster.config import Settings
from realmaster.errors import ConfigError, NumericalError
from realmaster.training.average import WeightAverage
from realmaster.training.run_log import RunLog
from realmaster.training.schedule import rate_factor

logger = logging.getLogger(__name__)


class LoopSettings(Settings):
    """How long and how fast to train."""

    num_steps: int = Field(10_000, ge=1, description="optimizer steps")
    max_minutes: float | None = Field(None, gt=0, description="stop, with the schedule at its end, after this long")
    learning_rate: float = Field(1e-3, gt=0, description="peak of the schedule")
    warmup_steps: int = Field(50, ge=1, description="steps of linear warm-up")
    final_fraction: float = Field(0.02, ge=0, le=1, description="learning rate at the end, of the peak; cosine between")
    weight_decay: float = Field(0.01, ge=0, description="AdamW decay of matrices and kernels")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of a gradient")
    average: float = Field(0.995, ge=0, lt=1, description="decay of the averaged weights, which are what is kept")
    seed: int = Field(0, ge=0, description="seed of data, noise and initial weights")
    save_every: int = Field(500, ge=1, description="steps between saved states")
    validate_every: int = Field(500, ge=1, description="steps between validations")
    threads: int | None = Field(None, ge=1, description="CPU threads; None leaves PyTorch's choice")


StepFunction = Callable[[int, np.random.Generator], Mapping[str, Tensor]]


class Loop:
    """Train the parameters of `model` that ask for gradients, and keep their average.

    `step(index, generator)` returns losses by name; `loss` is what is minimised, the rest is logged.
    """

    def __init__(self, folder: Path, model: nn.Module, settings: LoopSettings) -> None:
        """Prepare the run folder and go on from its state if it has one."""
        self.folder, self.model, self.settings = folder, model, settings
        folder.mkdir(parents=True, exist_ok=True)
        if settings.threads is not None:
            torch.set_num_threads(settings.threads)
        self.parameters = {name: p for name, p in model.named_parameters() if p.requires_grad}
        if not self.parameters:
            raise ConfigError("expected parameters to train, found none: choose a part that trains")
        groups = [
            {"params": [p for p in self.parameters.values() if p.ndim >= 2], "weight_decay": settings.weight_decay},
            {"params": [p for p in self.parameters.values() if p.ndim < 2], "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, lr=settings.learning_rate, betas=(0.9, 0.95))
        self.average = WeightAverage(self.parameters, settings.average)
        self.log = RunLog(folder / "log.jsonl")
        self.generator = np.random.default_rng(settings.seed)
        torch.manual_seed(settings.seed)
        self.index, self.elapsed_seconds = 0, 0.0
        if (folder / "state" / "state.json").exists():
            self._load_state()

    @property
    def progress(self) -> float:
        """How far the run is, 0 to 1, by steps or by time, whichever is further."""
        progress = self.index / self.settings.num_steps
        if self.settings.max_minutes is not None:
            progress = max(progress, self.elapsed_seconds / (60 * self.settings.max_minutes))
        return min(progress, 1.0)

    def run(self, step: StepFunction, validate: Callable[[], Mapping[str, float]] | None = None) -> None:
        """Train until the steps or the minutes are spent; log losses and validation scores; leave a state behind.

        Raises:
            NumericalError: the loss is not finite.
        """
        self.model.train()
        last_seconds = time.monotonic()
        while self.progress < 1:
            losses = step(self.index, self.generator)
            loss = losses["loss"]
            if not torch.isfinite(loss):
                raise NumericalError(
                    f"expected a finite loss at step {self.index}, got {loss.item()}: lower learning_rate and resume"
                )
            for group in self.optimizer.param_groups:
                group["lr"] = self._learning_rate()
            self.optimizer.zero_grad(set_to_none=True)
            loss.backward()
            norm = nn.utils.clip_grad_norm_(self.parameters.values(), self.settings.clip_norm)
            self.optimizer.step()
            self.average.update(self.index)
            self.index += 1
            now = time.monotonic()
            self.elapsed_seconds, last_seconds = self.elapsed_seconds + now - last_seconds, now
            ended = self.progress >= 1
            if self.index % 20 == 0 or ended:
                self._log({name: value.item() for name, value in losses.items()} | {"norm": float(norm)})
            if validate is not None and (self.index % self.settings.validate_every == 0 or ended):
                with self.averaged():
                    self._log(dict(validate()))
                self.model.train()
            if self.index % self.settings.save_every == 0 or ended:
                self.save_state()
            last_seconds = time.monotonic()

    @contextmanager
    def averaged(self) -> Iterator[None]:
        """Put the averaged weights into the model, and the trained ones back afterwards."""
        self.model.eval()
        with self.average.in_place():
            yield

    def save_state(self) -> None:
        """Write everything needed to go on, under a temporary name, then rename."""
        temporary, final = self.folder / "state.partial", self.folder / "state"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        moments: dict[str, Tensor] = {}
        for name, p in self.parameters.items():
            for key, value in self.optimizer.state.get(p, {}).items():
                moments[f"{name}|{key}"] = value.detach().clone()
        save_file({n: p.detach().contiguous() for n, p in self.parameters.items()}, temporary / "weights.safetensors")
        save_file(self.average.weights, temporary / "average.safetensors")
        rng = {"rng": torch.get_rng_state()}
        if torch.cuda.is_available():
            rng["rng_cuda"] = torch.cuda.get_rng_state()
        save_file(moments | rng, temporary / "optimizer.safetensors")
        state = {
            "index": self.index,
            "elapsed_seconds": self.elapsed_seconds,
            "generator": self.generator.bit_generator.state,
        }
        (temporary / "state.json").write_text(json.dumps(state))
        shutil.rmtree(final, ignore_errors=True)
        temporary.replace(final)

    def _load_state(self) -> None:
        folder = self.folder / "state"
        state = json.loads((folder / "state.json").read_text())
        weights, average = load_file(folder / "weights.safetensors"), load_file(folder / "average.safetensors")
        shapes = {name: p.shape for name, p in self.parameters.items()}
        if {name: w.shape for name, w in weights.items()} != shapes:
            raise ConfigError(f"expected the state in {folder} to be of this model: choose another output folder")
        with torch.no_grad():
            for name, p in self.parameters.items():
                p.copy_(weights[name])
                self.average.weights[name].copy_(average[name])
        optimizer = load_file(folder / "optimizer.safetensors")
        torch.set_rng_state(optimizer.pop("rng"))
        if "rng_cuda" in optimizer:
            torch.cuda.set_rng_state(optimizer.pop("rng_cuda"))
        for key, value in optimizer.items():
            name, moment = key.rsplit("|", 1)
            parameter = self.parameters[name]
            self.optimizer.state[parameter][moment] = value.to(parameter.device) if value.ndim else value
        self.index, self.elapsed_seconds = state["index"], state["elapsed_seconds"]
        self.generator.bit_generator.state = state["generator"]
        logger.info("resumed %s at step %d", self.folder, self.index)

    def _learning_rate(self) -> float:
        settings = self.settings
        factor = rate_factor(
            self.index, self.progress, warmup_steps=settings.warmup_steps, final_fraction=settings.final_fraction
        )
        return settings.learning_rate * factor

    def _log(self, values: dict[str, Any]) -> None:
        rounded = {name: round(value, 5) for name, value in values.items()}
        self.log.write(self.index, {"seconds": round(self.elapsed_seconds, 1), **rounded})
        logger.info("%s step %d %s", self.folder.name, self.index, json.dumps(rounded))
