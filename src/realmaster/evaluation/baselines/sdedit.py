"""SDEdit on the same base: noise the render part of the way and denoise it, with no reference and no training.

Meng et al., "SDEdit: Guided Image Synthesis and Editing with Stochastic Differential Equations", 2022, for video.
With one transformer this is diffusers' `WanVideoToVideoPipeline` to the bit (a test holds them together); two
experts take over from each other as in translation.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
import torch
from pydantic import Field

from realmaster.diffusion.flow import add_noise
from realmaster.errors import NumericalError
from realmaster.evaluation.baselines.baseline import Baseline, Frames, RenderedClip
from realmaster.evaluation.baselines.grid import MethodGrid, on_grid
from realmaster.evaluation.baselines.realmaster import ProfileSettings, lacking_weights
from realmaster.evaluation.baselines.weights import digest_of, digest_of_settings
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.models.loading import Models, load_profile_models
from realmaster.models.profiles import Profile
from realmaster.pipelines.call import sampling_of_call
from realmaster.pipelines.sampling import Stopwatch, WindowSampler
from realmaster.pipelines.schedule import build_scheduler


class SDEditSettings(ProfileSettings):
    """Whose base, how far the render is noised, and how it is sampled; no adapter is used."""

    prompt: str = Field("a photograph, {caption}", description="what is asked for; {caption} is the clip's caption")
    strength: float = Field(0.6, gt=0, le=1, description="share of the steps that are taken; 1 forgets the render")
    num_inference_steps: int | None = Field(None, ge=1, le=1000, description="steps of the whole schedule")
    guidance_scale: float | None = Field(None, ge=0, le=100, description="weight of the prompt; 1 is off")


class SDEdit(Baseline[SDEditSettings]):
    """The base, begun from the noised render."""

    settings_class = SDEditSettings
    without_effect = frozenset({"model_dir"})

    @cached_property
    def _profile(self) -> Profile:
        return self.settings.load().change({"checkpoint.transformer": "transformer"})  # nano has another beside it

    def lacking(self) -> Requirement | None:
        """Say which weights are not here."""
        return lacking_weights(self._profile)

    def describe(self) -> dict[str, Any]:
        """Name the base's weights and the profile's settings."""
        return {"weights": digest_of(self._profile.folder), "profile": digest_of_settings(self._profile)}

    def translate(self, clip: RenderedClip) -> Frames:
        """Noise and denoise, part by part."""
        models, profile = self._models, self._profile
        grid = MethodGrid(
            profile.size.height, profile.size.width, models.space_stride, profile.window.num_frames, models.time_stride
        )
        return on_grid(clip.frames, grid, lambda part: self._denoise(part, clip.prompt, clip.seed))

    @torch.inference_mode()
    def _denoise(self, frames: Frames, prompt: str, seed: int) -> Frames:
        """Noise frames uint8 [F, h, w, 3] of the model's size to the first step that is taken, and go on from there."""
        settings = self.settings
        sampling = sampling_of_call(self._profile, settings.num_inference_steps, settings.guidance_scale, None, None)
        sampler = WindowSampler(
            self._models, mode="off", spatial_scale=1, sampling=sampling, seed=seed, memory=self._profile.memory
        )
        count = sampling.num_inference_steps
        first = count - max(1, min(count, int(count * settings.strength)))
        text = sampler.encode_prompt(prompt, sampling.negative_prompt)
        clean = sampler.encode(frames)
        noise = sampler.denoiser.draw_noise(tuple(clean.shape))
        sigma = build_scheduler(sampling, device=clean.device).sigmas[first]
        latents = sampler.denoiser.sample(
            add_noise(clean, noise, sigma), None, text, Stopwatch(), held=None, first_step=first
        )
        if not torch.isfinite(latents).all():
            raise NumericalError(
                "expected finite latents from the model, got NaN or infinity: run in float32 "
                "(--set changes.memory.dtype=float32)"
            )
        decoded = sampler.decode(latents)[0]
        return np.asarray(decoded, np.uint8)

    @cached_property
    def _models(self) -> Models:
        return load_profile_models(self._profile, device=self.device)[0]
