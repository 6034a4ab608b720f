"""Everything `realmaster train CONFIG` is told: one strict YAML file.

Settings sit beside what they build (`step`, `timesteps`, `optimizer`, `cache`); here they are put together, and the
groups that belong to the run as a whole: experts, memory, processes, checkpoints, validation, trackers.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from realmaster.config import Settings, read_yaml
from realmaster.errors import ConfigError
from realmaster.models.adapter_metadata import Expert
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.optimizer import OptimizerSettings
from realmaster.training.step import NoiseSettings, ReferenceSettings
from realmaster.training.timesteps import TimestepSettings

MODEL_DIR_SETTING = "--set model_dir=FOLDER"
"""How `train` and `cache` are told where a checkpoint is: they have no --model-dir."""


class DataSettings(Settings):
    """Which pairs, and how they are drawn."""

    manifest: Path = Field(description="JSONL or CSV of pairs, or a folder with manifest.jsonl")
    cache: Path | None = Field(None, description="folder of encoded latents and text; None is cache/ in the run folder")
    workers: int = Field(1, ge=0, description="processes that read and encode clips into the cache")
    batch_size: int = Field(1, ge=1, description="clips of a forward, on each device")
    accumulation: int = Field(1, ge=1, description="forwards of an optimizer step, on each device")
    drop_captions: float = Field(
        0.1, ge=0, le=1, description="share of captions left out, so that guidance can be used"
    )
    encode: CacheSettings = Field(description="sizes, frames, cropping, augmentation of what is cached")
    skip_broken: bool = Field(False, description="leave broken rows out, each with a warning")
    readers: int = Field(0, ge=0, description="processes that read the cache ahead of the training")


class AdapterSettings(Settings):
    """The LoRA on q, k, v, o and both feed-forward layers."""

    rank: int = Field(32, ge=1, description="rank of every matrix")
    alpha: float = Field(32, gt=0, description="scale: alpha / rank")
    start_from: Path | None = Field(
        None, description="adapter to begin from, as --adapter takes it; its rank, alpha and reference have to be these"
    )


class ExpertSettings(Settings):
    """How long and how fast one expert is trained."""

    num_steps: int = Field(ge=1, description="optimizer steps")
    learning_rate: float = Field(1e-4, gt=0, le=1, description="peak; 3e-5 for a high-noise expert that blurs")


class MemorySettings(Settings):
    """What makes a large base fit."""

    dtype: Literal["float32", "bfloat16"] | None = Field(
        None, description="of the frozen base; the LoRA is always float32; None takes the profile's"
    )
    gradient_checkpointing: bool = Field(True, description="compute each block again in the backward pass")
    fp8_base: bool = Field(False, description="keep the frozen base in float8, cast a layer at a time (diffusers)")
    offload_blocks: int = Field(0, ge=0, description="blocks kept in host memory and fetched for their turn")
    compile: bool = Field(False, description="compile each block")

    @model_validator(mode="after")
    def _recomputes(self) -> MemorySettings:
        if (self.fp8_base or self.offload_blocks) and not self.gradient_checkpointing:
            raise ValueError(
                "fp8_base and offload_blocks need gradient_checkpointing: true, the backward pass would find the "
                "weights cast or gone"
            )
        if self.fp8_base and self.offload_blocks:
            raise ValueError("fp8_base and offload_blocks both move the base's weights, choose one of them")
        if self.fp8_base and self.compile:
            raise ValueError(
                "fp8_base and compile: a block would break off at every layer that casts, choose one of them"
            )
        return self


class CheckpointSettings(Settings):
    """When the run is saved, and what is kept."""

    every: int = Field(250, ge=1, description="optimizer steps between checkpoints")
    keep: int = Field(3, ge=1, description="newest checkpoints kept; the one with the best score stays as well")


class ValidationSettings(Settings):
    """Clips translated at intervals by the pipelines' own translator."""

    manifest: Path | None = Field(None, description="pairs to translate; None validates on nothing")
    every: int = Field(250, ge=1, description="optimizer steps between validations; each leaves a checkpoint")
    num_clips: int = Field(4, ge=1, description="first rows of the manifest")
    num_frames: int | None = Field(None, ge=1, description="first frames of each; None takes all")
    num_inference_steps: int | None = Field(None, ge=1, description="denoising steps; None takes the profile's")
    guidance_scale: float | None = Field(None, ge=0, description="weight of the prompt; None takes the profile's")
    seed: int = Field(0, ge=0, description="seed of every clip")
    at_start: bool = Field(True, description="score the untrained adapter too, so that the first gain shows")
    figure: str = Field("psnr", description="score that names the best checkpoint; more is better")


class TrainSettings(Settings):
    """One run: a LoRA over a profile's base that reads renders."""

    profile: str = Field(description="profile whose base is trained over; `realmaster doctor` lists them")
    model_dir: Path | None = Field(None, description="checkpoint elsewhere than on the hub: as --model-dir")
    profile_changes: dict[str, Any] = Field(
        {}, description="other settings of the profile, such as size.width: 640; validation works at its size"
    )
    output: Path = Field(description="run folder; run again to go on")
    seed: int = Field(0, ge=0, description="seed of data, noise and initial weights")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto is the fastest there is")
    threads: int | None = Field(None, ge=1, description="CPU threads; None leaves PyTorch's choice")
    data: DataSettings
    reference: ReferenceSettings = ReferenceSettings()
    adapter: AdapterSettings = AdapterSettings()
    timesteps: TimestepSettings = TimestepSettings()
    noise: NoiseSettings = NoiseSettings()
    experts: dict[Expert, ExpertSettings] = Field(
        description="transformer (the only one, or high noise), transformer_2 (low noise): those that are named train"
    )
    turn_steps: int | None = Field(
        None, ge=1, description="steps of a turn where two experts train; None is all of them"
    )
    optimizer: OptimizerSettings = OptimizerSettings()
    average: float | None = Field(None, gt=0, lt=1, description="decay of averaged weights (EMA), which are then kept")
    memory: MemorySettings = MemorySettings()
    parallel: Literal["ddp", "fsdp"] = Field("ddp", description="copies of the base on many devices, or shards of one")
    checkpoints: CheckpointSettings = CheckpointSettings()
    validation: ValidationSettings = ValidationSettings()
    trackers: tuple[Literal["tensorboard", "wandb", "trackio"], ...] = Field(
        ("tensorboard",), description="where curves are drawn beside log.jsonl"
    )

    @model_validator(mode="after")
    def _fits(self) -> TrainSettings:
        if not self.experts:
            raise ValueError("experts: name transformer, transformer_2 or both")
        if self.parallel == "fsdp" and (self.memory.fp8_base or self.memory.offload_blocks):
            raise ValueError("parallel: fsdp shards the base, fp8_base and offload_blocks cannot move it as well")
        return self

    @classmethod
    def read(cls, path: Path, changes: Mapping[str, Any] | None = None) -> Self:
        """Read a config, and change settings by their dotted names, such as `data.batch_size`.

        Raises:
            ConfigError: the file is missing or no YAML, a name is unknown, or a value does not fit.
        """
        if not changes:
            return cls.from_yaml(path)
        values = read_yaml(path)
        for name, value in changes.items():
            *groups, last = name.split(".")
            place = values
            for group in groups:
                place = place.setdefault(group, {}) if isinstance(place, dict) else None
            if not isinstance(place, dict):
                raise ConfigError(f"{path}: {name}: expected a setting of a config, found no such group: correct it")
            place[last] = value
        return cls.from_mapping(values, source=str(path))

    @property
    def cache_folder(self) -> Path:
        """Where encoded clips are."""
        return self.data.cache or self.output / "cache"

    def identity(self) -> dict[str, Any]:
        """Give what a resumed run must not change: everything that decides what the weights are, step by step."""
        chosen = self.model_dump(
            mode="json",
            include={
                "profile", "seed", "reference", "adapter", "timesteps", "noise", "optimizer", "average", "turn_steps",
            },
        )  # fmt: skip
        chosen["adapter"].pop("start_from")
        return chosen | {"experts": {name: e.learning_rate for name, e in self.experts.items()}}


def plan_turns(experts: dict[Expert, ExpertSettings], turn_steps: int | None) -> list[Expert]:
    """Say which expert trains at each optimizer step: by turns, in the order of the settings, until all are done."""
    left = {name: settings.num_steps for name, settings in experts.items()}
    turns: list[Expert] = []
    while any(left.values()):
        for name in experts:
            count = left[name] if turn_steps is None else min(turn_steps, left[name])
            turns += [name] * count
            left[name] -= count
    return turns
