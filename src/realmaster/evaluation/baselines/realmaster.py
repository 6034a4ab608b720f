"""RealMaster itself as a method among others: any profile, any adapter, any way of sampling.

Separate from the translator, which it calls as a user would: what an ablation changes is a setting here.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from realmaster.errors import MissingWeightsError
from realmaster.evaluation.baselines.baseline import Baseline, BaselineSettings, Frames, RenderedClip
from realmaster.evaluation.baselines.weights import digest_of, digest_of_settings
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.models.checkpoint import check_parts
from realmaster.models.profiles import Profile, load_profile, missing_remedy
from realmaster.pipelines.translate import Translator


class ProfileSettings(BaselineSettings):
    """Which profile, where it is, and what of it is changed."""

    profile: str = Field("nano", description="which models")
    model_dir: Path | None = Field(None, description="folder of the checkpoint")
    changes: dict[str, Any] = Field({}, description="other settings of the profile, by dotted names or in groups")

    @field_validator("changes")
    @classmethod
    def _by_dotted_names(cls, changes: dict[str, Any]) -> dict[str, Any]:
        return dict(_flat(changes))

    def load(self) -> Profile:
        """Read the profile."""
        return load_profile(self.profile, model_dir=self.model_dir, changes=self.changes)


class RealMasterSettings(ProfileSettings):
    """As `realmaster translate` takes them; what is absent is the profile's."""

    adapter: Path | None = Field(None, description="in-context adapter instead of the profile's own")
    reference: Literal["cached", "joint"] | None = Field(None, description="how the render is read")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="denoising steps")
    guidance_scale: float | None = Field(None, ge=0, le=100, description="weight of the prompt; 1 is off")
    negative_prompt: str | None = Field(None, description="what guidance leads away from")
    strength: float = Field(1.0, ge=0, le=1, description="0 keeps the render, 1 gives the translation")


class RealMaster(Baseline[RealMasterSettings]):
    """The trained model in one pass."""

    settings_class = RealMasterSettings
    without_effect = frozenset({"model_dir", "adapter"})  # named by their digests

    @cached_property
    def _profile(self) -> Profile:
        return self.settings.load()

    def lacking(self) -> Requirement | None:
        """Say which weights are not here."""
        return lacking_weights(self._profile, self.settings.adapter)

    def describe(self) -> dict[str, Any]:
        """Name the weights, the profile's settings, and the adapter."""
        adapter = self.settings.adapter
        return {
            "weights": digest_of(self._profile.folder),
            "profile": digest_of_settings(self._profile),
            **({} if adapter is None else {"adapter": digest_of(adapter)}),
        }

    def translate(self, clip: RenderedClip) -> Frames:
        """Translate the frames at their own size."""
        settings = self.settings
        return self._translator.translate_frames(
            clip.frames,
            prompt=clip.prompt,
            negative_prompt=settings.negative_prompt,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            seed=clip.seed,
            strength=settings.strength,
        )

    @cached_property
    def _translator(self) -> Translator:
        settings = self.settings
        return Translator.from_profile(
            settings.profile,
            adapter=settings.adapter,
            reference=settings.reference,
            device=self.device,
            model_dir=settings.model_dir,
            changes=settings.changes,
        )


def _flat(groups: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Write groups as dotted names: {"memory": {"dtype": "float32"}} as memory.dtype."""
    for name, value in groups.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def lacking_weights(profile: Profile, adapter: Path | None = None) -> Requirement | None:
    """Say what of a profile's checkpoint, or of an adapter, is not on this machine."""
    try:
        check_parts(profile.folder, profile.parts, remedy=missing_remedy(profile))
    except MissingWeightsError as error:
        missing, _, remedy = str(error).rpartition(": ")
        return Requirement(missing or str(error), remedy)
    if adapter is not None and not adapter.exists():
        return Requirement(f"no adapter at {adapter}", "train one with `realmaster train`, or correct the path")
    return None
