"""From the render's frames to the translation's, for one window at the model's size: the figure of the paper.

Letters: F frames, h, w pixels of the model; latents [1, C, F', h', w'].
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from diffusers import FlowMatchEulerDiscreteScheduler
from torch import Tensor

from realmaster.diffusion.flow import add_noise, guide
from realmaster.errors import NumericalError
from realmaster.models.loading import Models
from realmaster.models.profiles import SamplingSettings
from realmaster.models.reference import ReferenceAttention, joint_velocity

Frames = npt.NDArray[np.uint8]


@dataclass
class Stopwatch:
    """Seconds spent, by stage."""

    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the time of a block to a stage."""
        start = perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + perf_counter() - start


@dataclass(frozen=True)
class Prompt:
    """Text embeddings [1, L, D]: of the prompt, of what guidance leads away from, and what the reference reads."""

    positive: Tensor
    negative: Tensor
    reference: Tensor


@dataclass(frozen=True)
class TranslatedWindow:
    """One window translated: frames uint8 [F, h, w, 3], the render after the same autoencoder, the latents."""

    frames: Frames
    guide: Frames
    latents: Tensor


class WindowSampler:
    """Translate one window of frames at the model's size."""

    def __init__(self, models: Models, *, mode: str, spatial_scale: int, sampling: SamplingSettings, seed: int) -> None:
        """Prepare the sampler; `remove` puts the transformer back as it was."""
        self.models, self.mode, self.spatial_scale = models, mode, spatial_scale
        self.sampling, self.seed = sampling, seed
        self.reference = ReferenceAttention(models.transformer) if mode == "cached" else None
        self.scheduler = FlowMatchEulerDiscreteScheduler(shift=sampling.shift)
        config = models.autoencoder.config
        self.mean = torch.tensor(config.latents_mean, device=models.device).view(1, -1, 1, 1, 1)
        self.std = torch.tensor(config.latents_std, device=models.device).view(1, -1, 1, 1, 1)

    def remove(self) -> None:
        """Take the reference attention off the transformer."""
        if self.reference is not None:
            self.reference.remove()

    @torch.inference_mode()
    def encode_prompt(self, prompt: str, negative_prompt: str) -> Prompt:
        """Encode the prompt, the negative prompt and the empty prompt, which the reference reads."""
        positive, negative, empty = self.models.encode_text([prompt, negative_prompt, ""]).split(1)
        return Prompt(positive, negative, empty)

    @torch.inference_mode()
    def translate(
        self, frames: Frames, prompt: Prompt, watch: Stopwatch, *, held: TranslatedWindow | None, num_held: int
    ) -> TranslatedWindow:
        """Encode, reference, noise, sample, decode.

        `held` is the window before, whose last `num_held` frames are the first of this one and stay as decided.

        Raises:
            NumericalError: the model returned NaN or infinity.
        """
        with watch.stage("encode"):
            reference_latents = self.encode(frames)
            held_latents = self._held_latents(held, num_held)
        with watch.stage("reference"):
            cache = None
            if self.reference is not None:
                cache = self.reference.encode(reference_latents, prompt.reference, spatial_scale=self.spatial_scale)
        with watch.stage("denoise"):
            latents = self._sample(reference_latents, cache, prompt, held_latents)
        if not torch.isfinite(latents).all():
            raise NumericalError(
                "expected finite latents from the model, got NaN or infinity: run in float32 (dtype), or lower "
                "--guidance-scale"
            )
        with watch.stage("decode"):
            both = self.decode(torch.cat([latents, reference_latents]))
        return TranslatedWindow(both[0], both[1], latents)

    def encode(self, frames: Frames) -> Tensor:
        """Encode uint8 frames [F, h, w, 3] to normalised latents, by the mode of the posterior."""
        video = torch.from_numpy(np.ascontiguousarray(frames)).to(self.models.device)
        video = video.permute(3, 0, 1, 2)[None].to(torch.float32) / 127.5 - 1  # [1, 3, F, h, w]
        latents = self.models.autoencoder.encode(video).latent_dist.mode()
        return (latents - self.mean) / self.std

    def decode(self, latents: Tensor) -> Frames:
        """Decode latents [B, C, F', h', w'] to uint8 frames [B, F, h, w, 3]."""
        video = self.models.autoencoder.decode(latents * self.std + self.mean).sample
        pixels = ((video + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        frames: Frames = pixels.permute(0, 2, 3, 4, 1).cpu().numpy()
        return frames

    def _held_latents(self, held: TranslatedWindow | None, num_held: int) -> Tensor | None:
        """What is decided already, as this window's latents 1, 2, ...: those of the window before, untouched.

        Latent 0 covers one frame here and was part of four there. It stays free: encoding that decided frame again
        would feed each window's autoencoder error to the next, and colours would drift (docs/findings.md).
        """
        count = 0 if held is None else (num_held - 1) // self.models.time_stride
        if held is None or count == 0:
            return None
        return held.latents[:, :, held.latents.shape[2] - count :]

    def _sample(self, reference_latents: Tensor, cache: Any, prompt: Prompt, held: Tensor | None) -> Tensor:
        settings = self.sampling
        generator = torch.Generator("cpu").manual_seed(self.seed)
        shape = list(reference_latents.shape)
        shape[3], shape[4] = shape[3] * self.spatial_scale, shape[4] * self.spatial_scale
        drawn = torch.randn([*shape[:2], 1 if settings.still_noise else shape[2], *shape[3:]], generator=generator)
        noise = drawn.to(reference_latents).expand(shape)
        count = settings.num_inference_steps
        self.scheduler.set_timesteps(sigmas=np.linspace(1, 1 / count, count).tolist(), device=noise.device)
        latents = noise
        for sigma, timestep in zip(self.scheduler.sigmas, self.scheduler.timesteps, strict=False):
            latents = _hold(latents, held, noise, sigma)
            velocity = self._velocity(latents, reference_latents, timestep, prompt.positive, cache)
            if settings.guidance_scale != 1:
                away = self._velocity(latents, reference_latents, timestep, prompt.negative, cache)
                velocity = guide(velocity, away, settings.guidance_scale)
            latents = self.scheduler.step(velocity, timestep, latents, return_dict=False)[0]
        return _hold(latents, held, noise, torch.zeros(()))

    def _velocity(
        self, latents: Tensor, reference_latents: Tensor, timestep: Tensor, text: Tensor, cache: Any
    ) -> Tensor:
        dtype = self.models.transformer.dtype
        latents = latents.to(dtype)
        if self.reference is not None:
            predicted = self.reference.denoise(latents, timestep[None], text, cache)
        else:
            predicted = joint_velocity(
                self.models.transformer, latents, reference_latents.to(dtype), timestep[None], text,
                spatial_scale=self.spatial_scale,
            )  # fmt: skip
        return predicted.float()


def _hold(latents: Tensor, held: Tensor | None, noise: Tensor, sigma: Tensor) -> Tensor:
    """Put what is decided, noised to sigma, in place of latent frames 1, 2, ..."""
    if held is None:
        return latents
    end = 1 + held.shape[2]
    return torch.cat([latents[:, :, :1], add_noise(held, noise[:, :, 1:end], sigma), latents[:, :, end:]], dim=2)
