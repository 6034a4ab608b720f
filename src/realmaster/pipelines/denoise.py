"""Denoise the latents of one window: the experts in turn, each with its own reading of the reference.

Separate from `sampling`, which turns frames into latents and back: here are latents only, so that with the reference
off this can be held against diffusers' `WanPipeline` bit for bit (tests/pipelines/test_denoise.py).

Letters: latents [1, C, F, H, W]; text [1, L, D].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor

from realmaster.diffusion.flow import add_noise, guide
from realmaster.models.context_parallel import check_shares
from realmaster.models.loading import Models
from realmaster.models.memory_settings import MemorySettings
from realmaster.models.profiles import SamplingSettings
from realmaster.models.reference import ReferenceAttention, ReferenceCache, joint_velocity
from realmaster.models.step_caches import forget
from realmaster.pipelines.schedule import build_scheduler, cut_stages
from realmaster.pipelines.stopwatch import Stopwatch

Mode = Literal["cached", "joint", "off"]
STORED = {"computed": None, "bfloat16": torch.bfloat16, "float8": torch.float8_e4m3fn}


@dataclass(frozen=True)
class Prompt:
    """Text embeddings [1, L, D]: of the prompt, of what guidance leads away from, and what the reference reads."""

    positive: Tensor
    negative: Tensor
    reference: Tensor

    @cached_property
    def is_plain(self) -> bool:
        """Say whether both branches are the same; asked once, because the answer is waited for."""
        return torch.equal(self.positive, self.negative)

    def expand(self, batch_size: int) -> Prompt:
        """Give the same embeddings to every sample of a batch."""
        if batch_size == 1:
            return self
        return Prompt(*(x.expand(batch_size, -1, -1) for x in (self.positive, self.negative, self.reference)))


@dataclass(frozen=True)
class Reading:
    """What one expert has read of the reference: a cache for each branch of guidance (shared: the same one twice)."""

    positive: ReferenceCache | None
    negative: ReferenceCache | None


class Denoiser:
    """Sample latents with a profile's experts; `remove` puts the transformers back as they were."""

    def __init__(
        self,
        models: Models,
        *,
        mode: Mode,
        sampling: SamplingSettings,
        memory: MemorySettings | None = None,
        spatial_scale: int = 1,
        seed: int = 0,
    ) -> None:
        """Install the reference attention on every expert, in cached mode."""
        self.models, self.mode, self.sampling, self.seed = models, mode, sampling, seed
        self.memory = memory or MemorySettings()
        self.spatial_scale = spatial_scale
        stored = self.memory.reference_cache
        self.attentions = {
            name: ReferenceAttention(expert, storage_dtype=STORED[stored.dtype], storage_device=stored.device)
            for name, expert in (models.experts.items() if mode == "cached" else ())
        }

    def remove(self) -> None:
        """Take the reference attention off the transformers."""
        for attention in self.attentions.values():
            attention.remove()

    def guidance_of(self, expert: str) -> float:
        """Give the guidance scale of an expert; the low-noise one's is the other's where it has none of its own."""
        second = self.sampling.guidance_scale_2
        return second if expert == "transformer_2" and second is not None else self.sampling.guidance_scale

    @property
    def num_steps(self) -> dict[str, int]:
        """Count the steps that each expert takes."""
        stages = cut_stages(build_scheduler(self.sampling).timesteps, self.models.expert_at)
        return {stage.expert: len(stage.steps) for stage in stages}

    def draw_noise(self, shape: tuple[int, ...]) -> Tensor:
        """Draw the noise [B, C, F, H, W] of the seed, on the CPU, so that it is the same on every device."""
        frames = 1 if self.sampling.still_noise else shape[2]
        generator = torch.Generator("cpu").manual_seed(self.seed)
        drawn = torch.randn((*shape[:2], frames, *shape[3:]), generator=generator)
        return drawn.to(self.models.device).expand(shape)

    @torch.inference_mode()
    def sample(
        self,
        noise: Tensor,
        reference_latents: Tensor | None,
        prompt: Prompt,
        watch: Stopwatch,
        *,
        held: Tensor | None,
        first_step: int = 0,
    ) -> Tensor:
        """Denoise noise to latents, expert by expert.

        Args:
            noise: [1, C, F, H, W], float32.
            reference_latents: clean; H and W over the spatial scale. None with the mode "off".
            prompt: text embeddings.
            watch: counts the time of "reference" and "denoise".
            held: what is decided already, as latent frames 1, 2, ...
            first_step: steps before it are left out; `noise` are then latents noised to its sigma.
        """
        config = self.models.transformer.config
        num_tokens = noise[0, 0].numel() // (config.patch_size[0] * config.patch_size[1] * config.patch_size[2])
        check_shares(self.memory, num_tokens=num_tokens, num_heads=config.num_attention_heads)
        scheduler = build_scheduler(self.sampling, device=noise.device)
        scheduler.set_begin_index(first_step)
        latents = noise
        for stage in cut_stages(scheduler.timesteps, self.models.expert_at):
            if stage.steps.stop <= first_step:
                continue
            with watch.stage("reference"):
                expert = self.models.bring(stage.expert)
                forget(expert)
                reading = self._read(stage.expert, reference_latents, prompt)
            with watch.stage("denoise"):
                for step in range(max(stage.steps.start, first_step), stage.steps.stop):
                    timestep = scheduler.timesteps[step]
                    latents = _hold(latents, held, noise, scheduler.sigmas[step])
                    velocity = self._guided(stage.expert, latents, reference_latents, timestep, prompt, reading)
                    latents = scheduler.step(velocity, timestep, latents, return_dict=False)[0]
            del reading  # before the next expert reads: the caches of two are never there at once
        return _hold(latents, held, noise, torch.zeros(()))

    def _read(self, name: str, reference_latents: Tensor | None, prompt: Prompt) -> Reading:
        """Let an expert read the reference: once for both branches, or once for each with the branch's own text."""
        if self.mode != "cached" or reference_latents is None:
            return Reading(None, None)
        dtype = self.models.dtype

        def read(text: Tensor) -> ReferenceCache:
            with self._adapter_for_the_reference(name):
                return self.attentions[name].encode(
                    reference_latents.to(dtype), text.to(dtype), spatial_scale=self.spatial_scale
                )

        if self.memory.share_reference_between_guidance:
            shared = read(prompt.reference)
            return Reading(shared, shared)
        guided = self.guidance_of(name) != 1
        return Reading(read(prompt.positive), read(prompt.negative) if guided else None)

    @contextmanager
    def _adapter_for_the_reference(self, name: str) -> Iterator[None]:
        """Switch adapters off while the reference is read, if they were trained so."""
        expert = self.models.experts[name]
        switch = not self.models.reference_adapted and getattr(expert, "_hf_peft_config_loaded", False)
        if switch:
            expert.disable_adapters()
        try:
            yield
        finally:
            if switch:
                expert.enable_adapters()

    def _guided(
        self,
        name: str,
        latents: Tensor,
        reference_latents: Tensor | None,
        timestep: Tensor,
        prompt: Prompt,
        reading: Reading,
    ) -> Tensor:
        expert, scale = self.models.experts[name], self.guidance_of(name)
        with expert.cache_context("cond"):
            velocity = self._velocity(name, latents, reference_latents, timestep, prompt.positive, reading.positive)
        if scale == 1 or prompt.is_plain:  # there is nothing to lead to or away from
            return velocity
        with expert.cache_context("uncond"):
            away = self._velocity(name, latents, reference_latents, timestep, prompt.negative, reading.negative)
        return guide(velocity, away, scale)

    def _velocity(
        self,
        name: str,
        latents: Tensor,
        reference_latents: Tensor | None,
        timestep: Tensor,
        text: Tensor,
        cache: ReferenceCache | None,
    ) -> Tensor:
        dtype = self.models.dtype
        latents, text, timesteps = latents.to(dtype), text.to(dtype), timestep.expand(latents.shape[0])
        if self.mode == "cached":
            predicted = self.attentions[name].denoise(latents, timesteps, text, cache)
        elif self.mode == "joint" and reference_latents is not None:
            predicted = joint_velocity(
                self.models.experts[name], latents, reference_latents.to(dtype), timesteps, text,
                spatial_scale=self.spatial_scale,
            )  # fmt: skip
        else:
            expert: Any = self.models.experts[name]
            predicted = expert(latents, timestep=timesteps, encoder_hidden_states=text, return_dict=False)[0]
        return predicted.float()


def _hold(latents: Tensor, held: Tensor | None, noise: Tensor, sigma: Tensor) -> Tensor:
    """Put what is decided, noised to sigma, in place of latent frames 1, 2, ..."""
    if held is None:
        return latents
    end = 1 + held.shape[2]
    return torch.cat([latents[:, :, :1], add_noise(held, noise[:, :, 1:end], sigma), latents[:, :, end:]], dim=2)
