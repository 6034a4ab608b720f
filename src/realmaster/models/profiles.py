"""Profiles: which models, at which size, with which settings; one strictly checked YAML file each."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.errors import ConfigError

PROFILES = Path(__file__).with_suffix("")


class Checkpoint(Settings):
    """Where the models are: a folder in diffusers layout."""

    folder: str = Field(description="folder of the checkpoint, relative to the package's models folder")
    transformer: str = Field("transformer", description="subfolder of the transformer")
    adapter: str | None = Field(
        None, description="adapter file in the folder; None if the transformer reads references"
    )


class ReferenceSettings(Settings):
    """How the render is read."""

    mode: Literal["cached", "joint"] = Field(
        "cached", description="what the transformer or its adapter was trained with"
    )
    spatial_scale: int = Field(1, ge=1, le=2, description="how much smaller the reference's sides are")


class SizeSettings(Settings):
    """The size at which the model works."""

    height: int = Field(ge=8, description="height in pixels of a clip of the profile's own aspect")
    width: int = Field(ge=8, description="width in pixels of a clip of the profile's own aspect")
    frame_rate: int = Field(16, ge=1, description="frames a second that it was trained at")


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

    num_inference_steps: int = Field(ge=1, description="denoising steps")
    guidance_scale: float = Field(1.0, ge=0, description="weight of the prompt; 1 is off")
    shift: float = Field(3.0, gt=0, description="shift of the sigmas towards noise")
    still_noise: bool = Field(False, description="the same noise in every frame, for models trained with it")


class TransferSettings(Settings):
    """How the change is carried to the input's resolution."""

    radius: int = Field(3, ge=1, description="half-width of a fit's window, in pixels of the model")
    steadiness: float = Field(0.0, ge=0, lt=1, description="share of the frame before in each frame's maps")
    channels: Literal["colour", "light"] = Field(
        "colour", description="what is carried: colours by an affine map, or light alone by a gain that keeps the hue"
    )
    epsilon: float = Field(3e-4, gt=0, description="variance below which a window counts as flat, in [0, 1] squared")


class Profile(Settings):
    """Everything that tells one size of RealMaster from another."""

    name: str
    purpose: str = Field(description="who it is for, in a few words")
    checkpoint: Checkpoint
    reference: ReferenceSettings = ReferenceSettings()
    size: SizeSettings
    window: WindowSettings
    sampling: SamplingSettings
    transfer: TransferSettings = TransferSettings()

    @property
    def folder(self) -> Path:
        """Folder of the checkpoint."""
        return Path(__file__).parent / self.checkpoint.folder

    @property
    def adapter_path(self) -> Path | None:
        """The adapter that belongs to the profile, or None where its transformer reads references itself."""
        return None if self.checkpoint.adapter is None else self.folder / self.checkpoint.adapter


def list_profiles() -> list[str]:
    """Names of the profiles that exist."""
    return sorted(path.stem for path in PROFILES.glob("*.yaml"))


def load_profile(name: str) -> Profile:
    """Read a profile by name.

    Raises:
        ConfigError: there is none of that name, or its file does not fit.
    """
    if name not in list_profiles():
        raise ConfigError(f"expected a profile among {', '.join(list_profiles())}, got {name!r}: choose one of them")
    return Profile.from_yaml(PROFILES / f"{name}.yaml")
