"""Profiles: which models, at which size, with which settings; one strictly checked YAML file each.

What a profile asks of the machine (precision, offload, caches) is in `memory_settings`; finding its checkpoint on this
machine is in `checkpoint`. Nothing here loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.errors import ConfigError
from realmaster.models.checkpoint import find_checkpoint
from realmaster.models.memory_settings import MemorySettings, StepCacheSettings

PROFILES = Path(__file__).with_suffix("")
SHIPPED = "reinstall realmaster, or make them with `make nano`"


class Checkpoint(Settings):
    """Where the models are: a folder in diffusers layout, local or on the hub."""

    folder: str | None = Field(None, description="local folder, relative to the package's models folder; wins over hub")
    hub: str | None = Field(None, description="repository on the Hugging Face hub")
    revision: str | None = Field(None, description="commit of that repository")
    transformer: str = Field("transformer", description="subfolder of the transformer, or of the high-noise expert")
    transformer_2: str | None = Field(None, description="subfolder of the low-noise expert; None if there is one only")
    adapter: str | None = Field(
        None, description="adapter file in the folder; None if the transformer reads references"
    )

    @model_validator(mode="after")
    def _is_somewhere(self) -> Checkpoint:
        if self.folder is None and (self.hub is None or self.revision is None):
            raise ValueError("expected a folder, or hub with revision")
        return self


class ReferenceSettings(Settings):
    """How the render is read."""

    mode: Literal["cached", "joint"] = Field(
        "cached", description="what the transformer or its adapter was trained with"
    )
    spatial_scale: int = Field(1, ge=1, le=2, description="how much smaller the reference's sides are")


class FrameSize(Settings):
    """One size of frames, in pixels."""

    height: int = Field(ge=8, description="height in pixels")
    width: int = Field(ge=8, description="width in pixels")


class SizeSettings(Settings):
    """The size at which the model works, and all sizes it was trained at."""

    height: int = Field(ge=8, description="height in pixels of a clip of the profile's own aspect")
    width: int = Field(ge=8, description="width in pixels of a clip of the profile's own aspect")
    frame_rate: int = Field(16, ge=1, description="frames a second that it was trained at")
    buckets: tuple[FrameSize, ...] = Field((), description="sizes for training; empty means the one above")

    @property
    def all_buckets(self) -> tuple[FrameSize, ...]:
        """The sizes for training: the buckets, or the one size there is."""
        return self.buckets or (FrameSize(height=self.height, width=self.width),)


class TextSettings(Settings):
    """How prompts are read."""

    max_length: int | None = Field(None, ge=1, description="tokens of a prompt; None takes the tokenizer's")


class WindowSettings(Settings):
    """How long clips are cut."""

    num_frames: int = Field(ge=5, description="pixel frames of a window, 1 modulo the time stride")
    overlap: int = Field(ge=1, description="pixel frames it shares with the one before, 1 modulo the time stride")

    @model_validator(mode="after")
    def _fits(self) -> WindowSettings:
        if self.overlap >= self.num_frames:
            raise ValueError("overlap must be shorter than the window")
        return self


class SamplingSettings(Settings):
    """How latents are sampled."""

    scheduler: Literal["euler", "unipc"] = Field("euler", description="solver of the flow")
    num_inference_steps: int = Field(ge=1, description="denoising steps")
    guidance_scale: float = Field(1.0, ge=0, description="weight of the prompt; 1 is off; the high-noise expert's")
    guidance_scale_2: float | None = Field(None, ge=0, description="the low-noise expert's; None takes the other's")
    boundary: float | None = Field(
        None, gt=0, lt=1, description="sigma from which on the high-noise expert works; None if there is one only"
    )
    shift: float = Field(3.0, gt=0, description="shift of the sigmas towards noise")
    negative_prompt: str = Field("", description="what guidance leads away from")
    still_noise: bool = Field(False, description="the same noise in every frame, for models trained with it")


class FewStepSettings(Settings):
    """Sampling in few steps by a distilled LoRA beside the adapter: its own schedule, and no guidance."""

    enabled: bool = Field(False, description="whether to use it")
    lora: str | None = Field(
        None, description="LoRA file; of two that differ by high_noise and low_noise in their names, either one"
    )
    strength: float = Field(1.0, gt=0, le=2, description="weight of the LoRA")
    num_inference_steps: int = Field(4, ge=1, description="steps it was distilled to")
    shift: float = Field(5.0, gt=0, description="shift it was distilled with")
    scheduler: Literal["euler", "unipc"] = Field("euler", description="solver it was distilled with")


class TransferSettings(Settings):
    """How the change is carried to the input's resolution."""

    radius: int = Field(3, ge=1, description="half-width of a fit's window, in pixels of the model")
    steadiness: float = Field(0.0, ge=0, lt=1, description="share of the frame before in each frame's maps")
    channels: Literal["pixels", "colour"] = Field(
        "colour",
        description="what is carried: the model's own pixels, enlarged; or the input's pixels with their colours "
        "changed by an affine map",
    )
    epsilon: float = Field(
        1e-2, gt=0, description="variance below which a window keeps the input's contrast, in [0, 1] squared"
    )


class Profile(Settings):
    """Everything that tells one size of RealMaster from another."""

    name: str
    purpose: str = Field(description="who it is for, in a few words")
    checkpoint: Checkpoint
    reference: ReferenceSettings = ReferenceSettings()
    size: SizeSettings
    window: WindowSettings
    text: TextSettings = TextSettings()
    sampling: SamplingSettings
    few_step: FewStepSettings = FewStepSettings()
    memory: MemorySettings = MemorySettings()
    step_cache: StepCacheSettings = StepCacheSettings()
    transfer: TransferSettings = TransferSettings()

    @model_validator(mode="after")
    def _experts_fit(self) -> Profile:
        if (self.checkpoint.transformer_2 is None) != (self.sampling.boundary is None):
            raise ValueError("expected checkpoint.transformer_2 and sampling.boundary together, got one of them")
        return self

    @property
    def effective_sampling(self) -> SamplingSettings:
        """How latents are sampled: as `sampling` says, or in few steps and without guidance."""
        few = self.few_step
        if not few.enabled:
            return self.sampling
        changes = {
            "scheduler": few.scheduler,
            "num_inference_steps": few.num_inference_steps,
            "shift": few.shift,
            "guidance_scale": 1.0,
            "guidance_scale_2": None,
        }
        return self.sampling.model_copy(update=changes)

    @property
    def folder(self) -> Path:
        """Folder of the checkpoint on this machine, whether or not it is there yet."""
        checkpoint = self.checkpoint
        shipped = None if checkpoint.folder is None else Path(__file__).parent / checkpoint.folder
        return find_checkpoint(self.name, folder=shipped, hub=checkpoint.hub, revision=checkpoint.revision)

    @property
    def adapter_path(self) -> Path | None:
        """The adapter that belongs to the profile, or None where its transformer reads references itself."""
        return None if self.checkpoint.adapter is None else self.folder / self.checkpoint.adapter

    @property
    def transformers(self) -> dict[str, str]:
        """Subfolders of the transformer, or of the two experts, by their part of a pipeline."""
        folders = {"transformer": self.checkpoint.transformer}
        if self.checkpoint.transformer_2 is not None:
            folders["transformer_2"] = self.checkpoint.transformer_2
        return folders

    def at(self, model_dir: Path | str | None) -> Profile:
        """Use the checkpoint in `model_dir`: the folder itself, or its subfolder of the profile's name."""
        if model_dir is None:
            return self
        within = Path(model_dir).expanduser().absolute()
        folder = within / self.name if (within / self.name).is_dir() else within
        return self.model_copy(update={"checkpoint": self.checkpoint.model_copy(update={"folder": str(folder)})})

    def change(self, changes: Mapping[str, Any], *, source: str = "the settings of this call") -> Profile:
        """Change settings by their dotted names, such as `memory.offload`.

        Raises:
            ConfigError: no setting of that name, or a value that does not fit.
        """
        values = self.model_dump()
        for name, value in changes.items():
            *groups, last = name.split(".")
            place = values
            for group in groups:
                if not isinstance(place.get(group), dict):
                    raise ConfigError(f"{source}: {name}: expected a setting of a profile, found no group {group!r}")
                place = place[group]
            place[last] = value
        return type(self).from_mapping(values, source=source)


def list_profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(
    name: str, *, model_dir: Path | str | None = None, changes: Mapping[str, Any] | None = None
) -> Profile:
    """Read a profile by name, or from a YAML file of one's own; use a checkpoint elsewhere, change settings.

    Raises:
        ConfigError: there is none of that name, or its file or a change does not fit.
    """
    if name.endswith((".yaml", ".yml")):
        profile = Profile.from_yaml(Path(name))
    elif name in list_profiles():
        profile = Profile.from_yaml(PROFILES / f"{name}.yaml")
    else:
        raise ConfigError(f"expected a profile among {', '.join(list_profiles())}, got {name!r}: choose one of them")
    return profile.change(changes or {}).at(model_dir)


def missing_remedy(profile: Profile) -> str:
    """Say how the weights of a profile come onto this machine."""
    if profile.checkpoint.hub is None:
        return SHIPPED
    return (
        f"fetch them with `realmaster models download {profile.name}`, or name their folder with --model-dir or the "
        "variable REALMASTER_MODEL_DIR"
    )


def read_changes(words: tuple[str, ...] | list[str]) -> dict[str, Any]:
    """Read changes written as NAME=VALUE, the value as in YAML.

    Raises:
        ConfigError: a word has no name or no value.
    """
    changes = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not name or not equals:
            raise ConfigError(
                f"expected a setting as NAME=VALUE, such as memory.offload=group, got {word!r}: write both"
            )
        try:
            changes[name] = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise ConfigError(f"{name}: expected a value as YAML writes it, got {value!r}: quote it") from error
    return changes
