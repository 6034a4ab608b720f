"""Step one of nano: the video autoencoder, trained on both looks of the pairs.

Separate because everything after it works on its latents.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from realmaster.config import Settings
from realmaster.data.frames import Crop, Pair, jitter_look
from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.nano import AutoencoderSizes
from realmaster.training.loop import Loop, LoopSettings


class AutoencoderSettings(Settings):
    """How the autoencoder is trained."""

    loop: LoopSettings = LoopSettings(num_steps=6000, learning_rate=4e-3, average=0.99)
    batch_size: int = Field(2, ge=1, description="crops a step")
    size: int = Field(64, ge=16, multiple_of=16, description="side of a crop in pixels")
    num_frames: tuple[int, ...] = Field((5, 5, 5, 9), description="frames of a crop, one drawn each step")
    zoom: tuple[float, float] = Field((0.9, 1.6), description="range of enlargement")
    colour_jitter: float = Field(0.7, ge=0, description="strength of the colour augmentation")
    edge_weight: float = Field(1.0, ge=0, description="weight of the L1 distance of image gradients")
    chroma_weight: float = Field(1.0, ge=0, description="weight of the L1 distance of hues (channels less their mean)")
    latent_noise: float = Field(0.05, ge=0, description="noise on latents while training, which smooths their space")
    latent_weight: float = Field(1e-4, ge=0, description="weight of the latents' mean square, which bounds them")


def train_autoencoder(
    pairs: list[Pair],
    validation: list[Pair],
    folder: Path,
    sizes: AutoencoderSizes,
    settings: AutoencoderSettings,
    *,
    device: str = "cpu",
) -> Any:
    """Train the autoencoder and return it, in eval mode, with its latents' mean and spread in the config.

    Raises:
        NumericalError: the loss is not finite.
    """
    torch.manual_seed(settings.loop.seed)
    model = sizes.build().to(device)
    if device == "cpu":
        use_planar_convolutions(model)
    loop = Loop(folder, model, settings.loop)

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        num_frames = int(generator.choice(settings.num_frames))
        videos = []
        for _ in range(settings.batch_size):
            pair = pairs[generator.integers(len(pairs))]
            frames = pair.engine if generator.random() < 0.4 else pair.camera
            fits = min(num_frames, 1 + (len(frames) - 1) // 4 * 4)
            crop = Crop.draw(
                generator, frames.shape, num_frames=fits, size=(settings.size, settings.size), zoom=settings.zoom
            )
            video = jitter_look(crop.cut(frames), generator, settings.colour_jitter)
            videos.append(np.concatenate([video] + [video[:, -1:]] * (num_frames - fits), axis=1))
        return autoencoder_loss(model, torch.from_numpy(np.stack(videos)).to(device), settings)

    loop.run(step, lambda: {"psnr": reconstruction_psnr(model, validation)})
    loop.average.keep()
    model.eval()
    mean, std = latent_statistics(model, pairs)
    model.register_to_config(latents_mean=mean.tolist(), latents_std=std.tolist())
    return model


def autoencoder_loss(model: Any, video: Tensor, settings: AutoencoderSettings) -> dict[str, Tensor]:
    """L1 of pixels, of their gradients and hues, noise on the latents, a bound on their size; video [B, 3, F, H, W]."""
    latents = model.encode(video).latent_dist.mode()
    noisy = latents + settings.latent_noise * latents.detach().std() * torch.randn_like(latents)
    decoded = model.decode(noisy).sample
    difference = decoded - video
    pixels = difference.abs().mean()
    edges = difference.diff(dim=-1).abs().mean() + difference.diff(dim=-2).abs().mean()
    chroma = (difference - difference.mean(dim=1, keepdim=True)).abs().mean()
    size = latents.square().mean()
    weighted = settings.edge_weight * edges + settings.chroma_weight * chroma + settings.latent_weight * size
    return {"loss": pixels + weighted, "pixels": pixels, "edges": edges, "chroma": chroma, "latents": size}


@torch.no_grad()
def reconstruction_psnr(model: Any, pairs: list[Pair]) -> float:
    """PSNR in dB of the first five frames of every camera clip after encode and decode, mean over clips."""
    scores = []
    for pair in pairs:
        video = to_video(pair.camera[:5]).to(model.device)
        decoded = model.decode(model.encode(video).latent_dist.mode()).sample
        scores.append(-10 * float(torch.log10((decoded - video).square().mean() / 4)))
    return float(np.mean(scores))


@torch.no_grad()
def latent_statistics(model: Any, pairs: list[Pair]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each latent channel over the training pairs: two [C]."""
    latents = []
    for pair in pairs:
        for frames in (pair.engine, pair.camera):
            video = to_video(frames[: 1 + (len(frames) - 1) // 4 * 4]).to(model.device)
            latents.append(model.encode(video).latent_dist.mode()[0].flatten(1))
    stacked = torch.cat(latents, dim=1)
    return stacked.mean(dim=1), stacked.std(dim=1)


def to_video(frames: Any) -> Tensor:
    """Bring uint8 frames [F, H, W, 3] to a video [1, 3, F, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).permute(3, 0, 1, 2)[None].float() / 127.5 - 1
