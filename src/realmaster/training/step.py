"""The step: noise the target, read the clean reference, predict the target's velocity (paper, the model).

The loss is on target tokens alone. The reference is clean, at timestep 0, and shares the target's positions; it is read
`cached` or `joint` (`models/reference.py`). Separate from the run, because here is everything that decides what is
learnt, and nothing of devices, processes and files.

Letters: B batch, C latent channels, F latent frames, H, W latent pixels, L text tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from realmaster.config import Settings
from realmaster.diffusion.flow import add_noise, per_sample, velocity
from realmaster.models.reference import ReferenceAttention, joint_velocity
from realmaster.models.reference_one_way import OneWayReading
from realmaster.training.dataset import Batch
from realmaster.training.timesteps import SigmaRange, TimestepSettings, draw_sigmas, loss_weights


class ReferenceSettings(Settings):
    """How the render is read while training; the adapter records it."""

    mode: Literal["cached", "joint"] = Field(
        "cached", description="own stream with cached keys and values, or one sequence"
    )
    adapted: bool = Field(
        True, description="whether the LoRA is on in the reference's own stream; off, that stream needs no gradient"
    )

    @model_validator(mode="after")
    def _has_a_stream(self) -> ReferenceSettings:
        if self.mode == "joint" and not self.adapted:
            raise ValueError("adapted: false needs mode: cached, a joint sequence has one stream only")
        return self


class NoiseSettings(Settings):
    """What is drawn beside the sigma."""

    still: float = Field(0.0, ge=0, le=1, description="share of samples whose noise is the same in every frame")
    first_frame: float = Field(
        0.0, ge=0, le=1, description="share of samples that are given their first latent frame clean, free of loss"
    )


@dataclass(frozen=True)
class Noised:
    """A batch made ready: what the transformer sees, what it should say, and how much each element counts."""

    noisy_latents: Tensor
    target_velocity: Tensor
    sigmas: Tensor  # [B]
    weights: Tensor  # [B, 1, F, 1, 1]


def noise_batch(
    batch: Batch,
    timesteps: TimestepSettings,
    noise: NoiseSettings,
    within: SigmaRange,
    *,
    shift: float,
    device: torch.device | str,
) -> Noised:
    """Draw a sigma and noise for every clip from its own seed, so that draws do not depend on who computes them."""
    clean = batch["target_latents"].to(device, torch.float32)
    frames = clean.shape[2]
    sigmas, drawn, kept = [], [], torch.ones(len(clean), 1, frames, 1, 1)
    for row, seed in enumerate(batch["seed"]):
        generator = torch.Generator().manual_seed(seed)
        sigmas.append(draw_sigmas(1, generator, timesteps, within, shift=shift))
        still, first = torch.rand(2, generator=generator).tolist()
        shape = list(clean.shape[1:])
        if still < noise.still:
            shape[1] = 1
        drawn.append(torch.randn(shape, generator=generator).expand(clean.shape[1:]))
        if first < noise.first_frame and frames > 1:
            kept[row, :, 0] = 0
    sigma, noises = torch.cat(sigmas), torch.stack(drawn).to(device)
    kept = kept.to(device)
    noisy = torch.where(kept.bool(), add_noise(clean, noises, sigma), clean)
    weights = per_sample(loss_weights(sigma, timesteps), clean) * kept / kept.mean(dim=2, keepdim=True)
    return Noised(noisy, velocity(clean, noises), sigma.to(device), weights)


def flow_loss(predicted: Tensor, noised: Noised) -> Tensor:
    """w (v_predicted - (n - x))^2, the mean over the target's elements."""
    return (noised.weights * (predicted.float() - noised.target_velocity).square()).mean()


class InContextStep(nn.Module):
    """One forward of a step: the reference and the noisy target go in, the target's velocity comes out.

    A cached reference that the LoRA adapts goes through each block beside the target (`OneWayReading`), so that no
    layer's keys and values are kept; without the LoRA they are constants, and are read first.

    A module of its own around the transformer, so that DDP sees one forward where there are two.
    """

    def __init__(self, transformer: Any, settings: ReferenceSettings, *, spatial_scale: int = 1) -> None:
        """Wrap a transformer that has its LoRA; `reading` makes it read references at 1/`spatial_scale` of the size."""
        super().__init__()
        self.transformer, self.settings, self.spatial_scale = transformer, settings, spatial_scale
        self.attention: ReferenceAttention | OneWayReading | None = None

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Let the transformer read references, and put it back as it was: validation installs its own reading."""
        if self.settings.mode == "cached":
            read = OneWayReading if self.settings.adapted else ReferenceAttention
            self.attention = read(self.transformer)
        try:
            yield
        finally:
            if self.attention is not None:
                self.attention.remove()
                self.attention = None

    def forward(
        self, noisy_latents: Tensor, reference_latents: Tensor, timesteps: Tensor, text: Tensor, reference_text: Tensor
    ) -> Tensor:
        """Predict the velocity of the noisy target; the cached reference reads `reference_text`, the empty prompt."""
        scale = self.spatial_scale
        if self.attention is None:
            return joint_velocity(
                self.transformer, noisy_latents, reference_latents, timesteps, text, spatial_scale=scale
            )
        reference_text = reference_text.expand(len(noisy_latents), -1, -1)
        if isinstance(self.attention, OneWayReading):
            return self.attention.velocity(
                noisy_latents, reference_latents, timesteps, text, reference_text, spatial_scale=scale
            )
        with without_adapter(self.transformer):
            cache = self.attention.encode(reference_latents, reference_text, spatial_scale=scale)
        return self.attention.denoise(noisy_latents, timesteps, text, cache)


@contextmanager
def without_adapter(transformer: nn.Module) -> Iterator[None]:
    """Switch the LoRA off, and gradients with it, since nothing else would have one."""
    from peft.tuners.tuners_utils import BaseTunerLayer

    layers: Sequence[Any] = [module for module in transformer.modules() if isinstance(module, BaseTunerLayer)]
    for layer in layers:
        layer._disable_adapters = True  # peft's own switch also takes requires_grad away, which DDP must not see change
    try:
        with torch.no_grad():
            yield
    finally:
        for layer in layers:
            layer._disable_adapters = False
