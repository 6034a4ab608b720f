"""Steps two and three of nano: the text-to-video base, then the reference over it.

The base learns camera looks from captions (paper, section 3.2, stands on such a model). The reference step then trains
what reads the render: a LoRA on the frozen base (the paper's adapter), or the whole transformer.

Letters: B batch, C latent channels, F latent frames, H, W; velocities and latents [B, C, F, H, W].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from realmaster.config import Settings
from realmaster.data.frames import Pair
from realmaster.diffusion.flow import add_noise, predict_clean, shift_sigmas, velocity
from realmaster.models.loading import Models
from realmaster.models.reference import ReferenceAttention, joint_velocity
from realmaster.training.autoencoder import to_video
from realmaster.training.latents import LatentPool, PoolSettings, latent_scaling
from realmaster.training.loop import Loop, LoopSettings

Predict = Callable[[Tensor, Tensor, Tensor], Tensor]
"""From noise, the render's latents and text to clean latents, in one step."""


class FlowSettings(Settings):
    """How velocities are trained, for the base and for the reference alike."""

    loop: LoopSettings = LoopSettings(num_steps=6000, learning_rate=1e-3)
    pool: PoolSettings = PoolSettings()
    batch_size: int = Field(8, ge=1, description="crops a step")
    num_latent_frames: tuple[int, ...] = Field((2, 2, 4), description="latent frames, one drawn each step")
    shift: float = Field(3.0, gt=0, description="shift of the uniformly drawn sigmas towards noise")
    pure_noise: float = Field(
        0.4, ge=0, le=1, description="share of samples at sigma 1, where few-step sampling starts"
    )
    dropout: float = Field(
        0.0, ge=0, lt=1, description="share of what attentions and feed-forward layers add that is dropped in training"
    )
    still_noise: float = Field(0.5, ge=0, le=1, description="share of batches whose noise is the same in every frame")


def draw_sigmas(batch_size: int, generator: np.random.Generator, settings: FlowSettings) -> Tensor:
    """Draw sigmas [B]: uniform, shifted towards noise, with a share at 1."""
    uniform = torch.from_numpy(generator.random(batch_size)).float()
    pure = torch.from_numpy(generator.random(batch_size) < settings.pure_noise)
    return torch.where(pure, 1.0, shift_sigmas(uniform, settings.shift)).clamp(0.02, 1.0)


def draw_noise(latents: Tensor, generator: np.random.Generator, settings: FlowSettings) -> Tensor:
    """Draw noise like latents [B, C, F, H, W], in some batches the same for every frame.

    Still noise is what nano samples from: nothing in it moves, so it cannot flicker.
    """
    if generator.random() < settings.still_noise:
        return torch.randn_like(latents[:, :, :1]).expand_as(latents)
    return torch.randn_like(latents)


class _WithText(nn.Module):
    """The transformer and the text encoder as one module, since the base trains both."""

    def __init__(self, models: Models) -> None:
        super().__init__()
        self.transformer, self.text_encoder = models.transformer, models.text_encoder


def train_base(models: Models, pairs: list[Pair], folder: Path, settings: FlowSettings) -> None:
    """Train text encoder and transformer on camera looks with their captions; the averaged weights stay in place."""
    module = _WithText(models)
    loop = Loop(folder, module, settings.loop)
    pool = LatentPool(pairs, models.autoencoder, settings.pool, np.random.default_rng(settings.loop.seed + 1))

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        num_frames = int(generator.choice(settings.num_latent_frames))
        _, camera, captions = pool.draw(settings.batch_size, generator, num_frames)
        sigmas = draw_sigmas(len(camera), generator, settings).to(camera.device)
        noise = draw_noise(camera, generator, settings)
        predicted = models.transformer(
            hidden_states=add_noise(camera, noise, sigmas),
            timestep=1000 * sigmas,
            encoder_hidden_states=models.encode_text(captions),
            return_dict=False,
        )[0]
        return {"loss": (predicted - velocity(camera, noise)).square().mean()}

    loop.run(step)
    _keep_average(loop)


def train_reference(
    models: Models,
    pairs: list[Pair],
    validation: list[Pair],
    folder: Path,
    settings: FlowSettings,
    *,
    mode: Literal["cached", "joint"] = "cached",
) -> None:
    """Train whatever of the transformer asks for gradients to turn engine into camera looks.

    The reference stream reads the empty prompt, so that one cache serves every prompt and both guidance branches.
    """
    set_dropout(models.transformer, settings.dropout)
    loop = Loop(folder, models.transformer, settings.loop)
    pool = LatentPool(pairs, models.autoencoder, settings.pool, np.random.default_rng(settings.loop.seed + 2))
    reference = ReferenceAttention(models.transformer) if mode == "cached" else None
    metric = pixel_metric(models, pairs[:: max(1, len(pairs) // 3)][:3])
    with torch.no_grad():
        null = models.encode_text([""])

    def predict(noisy: Tensor, engine: Tensor, sigmas: Tensor, text: Tensor) -> Tensor:
        if reference is None:
            return joint_velocity(models.transformer, noisy, engine, 1000 * sigmas, text)
        cache = reference.encode(engine, null.expand(len(engine), -1, -1))
        return reference.denoise(noisy, 1000 * sigmas, text, cache)

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        num_frames = int(generator.choice(settings.num_latent_frames))
        engine, camera, captions = pool.draw(settings.batch_size, generator, num_frames)
        sigmas = draw_sigmas(len(camera), generator, settings).to(camera.device)
        noise = draw_noise(camera, generator, settings)
        with torch.no_grad():
            text = models.encode_text(captions)
        predicted = predict(add_noise(camera, noise, sigmas), engine, sigmas, text)
        error = predicted - velocity(camera, noise)
        return {"loss": shown_error(error, metric), "latent_loss": error.square().mean()}

    def validate() -> dict[str, float]:
        at_noise: Predict = lambda noise, engine, text: predict_clean(  # noqa: E731 # named for what it is
            noise, predict(noise, engine, noise.new_ones(1), text), noise.new_ones(1)
        )
        return validate_one_step(models, at_noise, validation, still_noise=bool(settings.still_noise))

    try:
        loop.run(step, validate)
    finally:
        if reference is not None:
            reference.remove()
    _keep_average(loop)


@torch.no_grad()
def validate_one_step(
    models: Models, predict: Predict, validation: list[Pair], *, still_noise: bool = True
) -> dict[str, float]:
    """PSNR of one-step predictions on validation clips, against the camera clip and in latents.

    `predict` takes noise and the render's latents [1, C, F, H, W] and text, and gives clean latents.
    """
    mean, std = latent_scaling(models.autoencoder)
    scores, latents = [], []
    generator = torch.Generator().manual_seed(0)
    for pair in validation:
        video = to_video(pair.camera[:5]).to(mean.device)
        encode = lambda v: (models.autoencoder.encode(v).latent_dist.mode() - mean) / std  # noqa: E731 # two uses
        engine, camera = encode(to_video(pair.engine[:5]).to(mean.device)), encode(video)
        shape = [*camera.shape[:2], 1 if still_noise else camera.shape[2], *camera.shape[3:]]
        noise = torch.randn(shape, generator=generator).to(camera).expand_as(camera)
        predicted = predict(noise, engine, models.encode_text([pair.row.caption]))
        latents.append(float((predicted - camera).square().mean()))
        decoded = models.autoencoder.decode(predicted * std + mean).sample
        scores.append(-10 * float(torch.log10((decoded - video).square().mean() / 4)))
    return {"psnr": float(np.mean(scores)), "latent_error": float(np.mean(latents))}


def set_dropout(transformer: nn.Module, share: float) -> None:
    """Set the dropout that diffusers' Wan blocks have and leave at zero; it acts in training only."""
    for module in transformer.modules():
        if isinstance(module, nn.Dropout):
            module.p = share


@torch.no_grad()
def pixel_metric(models: Models, pairs: list[Pair], *, floor: float = 0.05) -> Tensor:
    """Measure what an error of the latents shows: a symmetric matrix [C, C] with trace C.

    Latents are scaled to one spread, but a toy autoencoder draws most of a picture from a few directions among its
    channels: of nano's 32, the strongest alone moves pixels more than all others together, and half hardly show. A
    plain mean square spends itself on what nobody sees. The matrix holds the mean products of the pixels' changes when
    two channels are disturbed by the same noise; `floor` of it is the identity, so that no direction is left to drift.
    """
    autoencoder = models.autoencoder
    mean, std = latent_scaling(autoencoder)
    generator = torch.Generator(mean.device).manual_seed(0)
    count = mean.shape[1]
    shown = torch.zeros(count, count, device=mean.device)
    for pair in pairs:
        latents = autoencoder.encode(to_video(pair.camera[:5]).to(mean.device)).latent_dist.mode()
        decoded = autoencoder.decode(latents).sample
        noise = torch.randn(latents[:, 0].shape, generator=generator, device=mean.device)
        changes = []
        for channel in range(count):
            disturbed = latents.clone()
            disturbed[:, channel] += 0.3 * std[0, channel] * noise
            changes.append((autoencoder.decode(disturbed).sample - decoded).flatten())
        stacked = torch.stack(changes)
        shown += stacked @ stacked.T
    return floor * torch.eye(count, device=mean.device) + (1 - floor) * shown * (count / shown.trace())


def shown_error(error: Tensor, metric: Tensor) -> Tensor:
    """Mean square of an error [B, C, F, H, W] under a metric [C, C]; the identity gives the plain mean square."""
    return torch.einsum("bcfhw,cd,bdfhw->bfhw", error, metric, error).mean() / len(metric)


def _keep_average(loop: Loop) -> None:
    loop.average.keep()
    loop.model.eval()
