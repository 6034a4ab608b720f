"""The last step of nano's reference transformer: with the decoder, by what is seen.

A toy autoencoder loses much (a window of five frames comes back at 28.6 dB), and an error of its latents is not an
error of the picture. Here one step from noise is decoded and compared in pixels, and transformer and decoder learn
together what looks right. The encoder stays, and so do the latents: whatever else was trained on them still fits. The
decoder goes on seeing encoded frames as well, so that it does not become this transformer's alone.

Letters: B batch, C latent channels, F latent frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as functional
from pydantic import Field
from torch import Tensor, nn

from realmaster.config import Settings
from realmaster.data.frames import Pair
from realmaster.diffusion.flow import predict_clean
from realmaster.models.loading import Models
from realmaster.models.reference import ReferenceAttention
from realmaster.training.autoencoder import reconstruction_psnr
from realmaster.training.latents import LatentPool, PoolSettings, Sample, latent_scaling
from realmaster.training.loop import Loop, LoopSettings
from realmaster.training.transformer import validate_one_step


class ShownSettings(Settings):
    """How transformer and decoder are trained together."""

    loop: LoopSettings = LoopSettings(num_steps=1000, learning_rate=4e-4)
    pool: PoolSettings = PoolSettings(height=96, width=176, zoom=(0.7, 1.1))
    batch_size: int = Field(16, ge=1, description="crops a step, of one latent frame; of more, fewer")
    num_latent_frames: tuple[int, ...] = Field((1, 1, 2), description="latent frames, one drawn each step")
    encoded_weight: float = Field(0.3, gt=0, description="weight of the error of encoded frames after the decoder")
    latent_noise: float = Field(0.05, ge=0, description="noise on their latents, in the latents' own spread")


class _WithDecoder(nn.Module):
    """What learns: the transformer, and of the autoencoder what decodes."""

    def __init__(self, models: Models) -> None:
        super().__init__()
        self.transformer, autoencoder = models.transformer, models.autoencoder
        self.decoder, self.post_quant_conv = autoencoder.decoder, autoencoder.post_quant_conv
        self.requires_grad_(True)


def train_shown(
    models: Models, pairs: list[Pair], validation: list[Pair], folder: Path, settings: ShownSettings
) -> None:
    """Train the transformer and the decoder; the averaged weights of both stay in place.

    Raises:
        NumericalError: the loss is not finite.
    """
    module = _WithDecoder(models)
    loop = Loop(folder, module, settings.loop)
    autoencoder, device = models.autoencoder, models.device
    pool = LatentPool(
        pairs, autoencoder, settings.pool, np.random.default_rng(settings.loop.seed + 3), keep_pixels=True
    )
    mean, std = latent_scaling(autoencoder)
    reference = ReferenceAttention(models.transformer)
    with torch.no_grad():
        null = models.encode_text([""])

    def decoded(latents: Tensor) -> Tensor:
        video: Tensor = autoencoder.decode(latents * std + mean).sample
        return video

    def predict(noise: Tensor, engine: Tensor, text: Tensor) -> Tensor:
        sigmas = torch.ones(len(engine), device=device)
        cache = reference.encode(engine, null.expand(len(engine), -1, -1))
        return predict_clean(noise, reference.denoise(noise, 1000 * sigmas, text, cache), sigmas)

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        num_frames = int(generator.choice(settings.num_latent_frames))
        batch_size = max(1, settings.batch_size // (1 + 2 * (num_frames - 1)))
        chosen, captions = pool.choose(batch_size, generator, num_frames)
        engine = torch.stack([sample.engine[:, :num_frames] for sample in chosen])
        with torch.no_grad():
            text = models.encode_text(captions)
        noise = torch.randn_like(engine[:, :, :1]).expand_as(engine)  # what nano samples from
        shown = functional.mse_loss(decoded(predict(noise, engine, text)), _pixels(chosen, 1, num_frames))
        look = int(generator.integers(2))
        latents = torch.stack([(sample.engine, sample.camera)[look][:, :num_frames] for sample in chosen[:2]])
        latents = latents + settings.latent_noise * torch.randn_like(latents)
        encoded = functional.mse_loss(decoded(latents), _pixels(chosen[:2], look, num_frames))
        return {"loss": 10 * (shown + settings.encoded_weight * encoded), "shown": shown, "encoded": encoded}

    def validate() -> dict[str, float]:
        return {
            **validate_one_step(models, predict, validation),
            "encoded_psnr": reconstruction_psnr(autoencoder, validation),
        }

    try:
        loop.run(step, validate if validation else None)
    finally:
        reference.remove()
    loop.average.keep()
    module.eval()


def _pixels(samples: list[Sample], look: int, num_latent_frames: int) -> Tensor:
    """Stack what samples show, [B, 3, frames, height, width]: look 0 the render, 1 the photograph."""
    known: list[Any] = [sample.pixels for sample in samples]
    return torch.stack([pixels[look, :, : 1 + 4 * (num_latent_frames - 1)] for pixels in known])
