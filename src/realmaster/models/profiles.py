"""Profiles: which models, at which size, with which settings; one strictly checked YAML file each.

What each group of settings means is in `profile_parts`; finding a checkpoint on this machine is in `checkpoint`. The
models that make pairs are parts of a profile and become profiles of their own: `nano/editor`, `nano/vace`. Nothing here
loads torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, model_validator

from realmaster.config import Settings, nearest, parse_yaml
from realmaster.errors import ConfigError
from realmaster.models.checkpoint import find_checkpoint
from realmaster.models.memory_settings import MemorySettings, StepCacheSettings
from realmaster.models.profile_parts import (
    Checkpoint,
    EditorSettings,
    FewStepSettings,
    FrameSize,
    PropagationSettings,
    ReferenceSettings,
    RefinerSettings,
    SamplingSettings,
    SizeSettings,
    TextSettings,
    TransferSettings,
    WindowSettings,
)

__all__ = [
    "SHIPPED",
    "Checkpoint",
    "FewStepSettings",
    "FrameSize",
    "Profile",
    "ReferenceSettings",
    "RefinerSettings",
    "SamplingSettings",
    "SizeSettings",
    "TextSettings",
    "TransferSettings",
    "WindowSettings",
    "list_profiles",
    "load_profile",
    "missing_remedy",
    "read_changes",
]

PROFILES = Path(__file__).with_suffix("")
WEIGHTS = Path(__file__).parent / "weights"
"""Where the models are that come with the package."""
PARTS = {"editor": "editor", "vace": "propagation"}
"""The parts of a profile that are profiles of their own, and the settings they come from."""
SHIPPED = "reinstall realmaster, or make them with `make nano`"


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
    refiner: RefinerSettings | None = Field(None, description="what draws the translation anew, larger; None: nothing")
    editor: EditorSettings | None = Field(None, description="what edits keyframes; None where there is nothing")
    propagation: PropagationSettings | None = Field(None, description="what carries them over a clip; likewise")

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
    def base_name(self) -> str:
        """Name of the profile that this is, or is a part of."""
        return next((self.name.removesuffix(f"/{part}") for part in PARTS if self.name.endswith(f"/{part}")), self.name)

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

    @property
    def parts(self) -> tuple[str, ...]:
        """Subfolders of the checkpoint that are used."""
        refiner = () if self.refiner is None else (self.refiner.part,)
        return ("vae", "tokenizer", "text_encoder", *self.transformers.values(), *refiner)

    def at(self, model_dir: Path | str | None) -> Profile:
        """Use the checkpoint in `model_dir`: the folder itself, or its subfolder of the profile's name."""
        if model_dir is None:
            return self
        within = Path(model_dir).expanduser().absolute()
        folder = within / self.name if (within / self.name).is_dir() else within
        return self.model_copy(update={"checkpoint": self.checkpoint.model_copy(update={"folder": str(folder)})})

    def change(self, changes: Mapping[str, Any], *, source: str = "the settings of this call") -> Profile:
        """Change settings by their dotted names, such as `memory.offload`, or several of a group by a mapping.

        Raises:
            ConfigError: no setting of that name, or a value that does not fit.
        """
        values = self.model_dump()
        for name, value in changes.items():
            *groups, last = name.split(".")
            place = values
            for group in groups:
                if not isinstance(place.get(group), dict):
                    there = [key for key, inside in place.items() if isinstance(inside, dict)]
                    raise ConfigError(
                        f"{source}: {name}: expected a setting of a profile, found no group {group!r}: "
                        f"{nearest(group, there) if there else 'remove it'}"
                    )
                place = place[group]
            _put(place, last, value)
        return type(self).from_mapping(values, source=source)

    def part(self, part: str) -> Profile:
        """Make a profile of the part "editor" or "vace": this one's prompts, that part's models, size and sampling.

        Raises:
            ConfigError: the profile has no such part.
        """
        settings = {"editor": self.editor, "vace": self.propagation}.get(part)
        if settings is None:
            raise ConfigError(
                f"expected a profile with {PARTS.get(part, 'editor or propagation')} settings, {self.name!r} has none: "
                f"choose one of {', '.join(list_profiles())}"
            )
        changes: dict[str, Any] = {"name": f"{self.name}/{part}", "few_step": FewStepSettings(), "refiner": None}
        changes |= {name: getattr(settings, name) for name in ("checkpoint", "sampling", "memory")}
        changes["size"] = settings.size or self.size
        if isinstance(settings, EditorSettings):
            changes["few_step"] = settings.few_step
        else:
            changes["window"] = WindowSettings(num_frames=settings.num_frames, overlap=1)
        return self.model_copy(update=changes)


def list_profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(
    name: str, *, model_dir: Path | str | None = None, changes: Mapping[str, Any] | None = None
) -> Profile:
    """Read a profile by name, or from a YAML file of one's own; use a checkpoint elsewhere, change settings.

    A name that ends in /editor or /vace means that part of a profile; changes are the whole profile's.

    Raises:
        ConfigError: there is none of that name, or its file or a change does not fit.
    """
    for part in PARTS:
        if name.endswith(f"/{part}"):
            return load_profile(name.removesuffix(f"/{part}"), changes=changes).part(part).at(model_dir)
    if name.endswith((".yaml", ".yml")):
        profile = Profile.from_yaml(Path(name))
    elif name in list_profiles():
        profile = Profile.from_yaml(PROFILES / f"{name}.yaml")
    else:
        raise ConfigError(f"expected a profile among {', '.join(list_profiles())}, got {name!r}: choose one of them")
    return profile.change(changes or {}).at(model_dir)


def missing_remedy(profile: Profile, *, option: str = "--model-dir") -> str:
    """Say how the weights of a profile come onto this machine; `option` is how the command is told where they are."""
    if profile.checkpoint.hub is None:
        if profile.folder.is_relative_to(WEIGHTS):
            return SHIPPED
        return f"name the folder that holds them with {option}, or as checkpoint.folder of the profile"
    return (
        f"fetch them with `realmaster models download {profile.name}`, or name their folder with {option} or the "
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
            changes[name] = parse_yaml(value)
        except ValueError as error:
            raise ConfigError(
                f"{name}: expected a value as YAML writes it, got {value[:60]!r} ({error}): quote it"
            ) from error
    return changes


def _put(place: dict[str, Any], name: str, value: Any) -> None:
    """Set a value; of a group only what a mapping names."""
    if isinstance(value, Mapping) and isinstance(place.get(name), dict):
        for key, inside in value.items():
            _put(place[name], key, inside)
    else:
        place[name] = value
