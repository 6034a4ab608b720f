"""A pool of encoded crops: the autoencoder runs now and then, the transformer reads latents at every step.

Separate because augmentation needs pixels and the transformer needs latents; the pool trades one for the other at a
stated rate instead of a fixed cache on disk.

Letters: B batch, C latent channels, F latent frames, H, W latent pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from pydantic import Field
from torch import Tensor

from realmaster.config import Settings
from realmaster.data.frames import Crop, Pair, jitter_look
from realmaster.errors import DataError
from realmaster.training.captions import vary_caption


class PoolSettings(Settings):
    """How crops are drawn and how often each is used."""

    size: int = Field(768, ge=1, description="encoded crops held")
    refresh: int = Field(2, ge=0, description="crops encoded anew before each step, replacing the oldest")
    num_frames: int = Field(13, ge=1, description="pixel frames of a crop; a shorter clip gives what it has")
    height: int = Field(72, ge=8, description="height of a crop in pixels")
    width: int = Field(128, ge=8, description="width of a crop in pixels")
    zoom: tuple[float, float] = Field((0.5, 0.8), description="range of resizing from the pairs' size to the crop's")
    whole: float = Field(0.4, ge=0, le=1, description="share of crops that are the whole frame")
    colour_jitter: float = Field(0.6, ge=0, description="strength of the colour augmentation of the engine look")
    jittered: float = Field(0.5, ge=0, le=1, description="share of crops whose engine look is augmented")
    cross_weather: float = Field(
        0.0, ge=0, le=1, description="least share of new crops whose caption asks for another weather than the render's"
    )
    drop_caption: float = Field(0.15, ge=0, le=1, description="share of captions dropped, for guidance")


@dataclass(frozen=True)
class Sample:
    """One encoded crop: normalised latents [C, F, H, W] of both looks, the caption, and where kept the pixels.

    Pixels are of both looks, [2, 3, frames, height, width] in [-1, 1].
    """

    engine: Tensor
    camera: Tensor
    caption: str
    pixels: Tensor | None = None


class LatentPool:
    """Encoded crops of the training pairs, renewed a few at a time."""

    def __init__(
        self,
        pairs: Sequence[Pair],
        autoencoder: Any,
        settings: PoolSettings,
        generator: np.random.Generator,
        *,
        keep_pixels: bool = False,
    ) -> None:
        """Encode the first `size` crops; that takes size times one encoding of both looks."""
        self.pairs, self.autoencoder, self.settings, self.keep_pixels = pairs, autoencoder, settings, keep_pixels
        self.mean, self.std = latent_scaling(autoencoder)
        self.crossed = [pair for pair in pairs if pair.row.engine_weather != pair.row.camera_weather]
        self.samples: list[Sample] = []
        self.oldest = 0
        order = generator.permutation(settings.size)
        for index in order:
            self.samples.append(self.encode(pairs[index % len(pairs)], generator))

    def draw(
        self, batch_size: int, generator: np.random.Generator, num_latent_frames: int
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Draw engine latents, camera latents [B, C, F, H, W] and captions (some empty, for guidance)."""
        chosen, captions = self.choose(batch_size, generator, num_latent_frames)
        engine = torch.stack([s.engine[:, :num_latent_frames] for s in chosen])
        camera = torch.stack([s.camera[:, :num_latent_frames] for s in chosen])
        return engine, camera, captions

    def choose(
        self, batch_size: int, generator: np.random.Generator, num_latent_frames: int
    ) -> tuple[list[Sample], list[str]]:
        """Renew the pool, then choose samples with as many latent frames at least, and their captions."""
        for _ in range(self.settings.refresh):
            known = self.crossed if self.crossed and generator.random() < self.settings.cross_weather else self.pairs
            pair = known[int(generator.integers(len(known)))]
            self.samples[self.oldest] = self.encode(pair, generator)
            self.oldest = (self.oldest + 1) % len(self.samples)
        fitting = [sample for sample in self.samples if sample.engine.shape[1] >= num_latent_frames]
        while not fitting:
            self.samples[self.oldest] = self.encode(self.long_enough(num_latent_frames, generator), generator)
            fitting.append(self.samples[self.oldest])
        chosen = [fitting[int(generator.integers(len(fitting)))] for _ in range(batch_size)]
        captions = [
            "" if generator.random() < self.settings.drop_caption else vary_caption(s.caption, generator)
            for s in chosen
        ]
        return chosen, captions

    def long_enough(self, num_latent_frames: int, generator: np.random.Generator) -> Pair:
        """Choose a pair with as many latent frames at least.

        Raises:
            DataError: there is none.
        """
        num_frames = 4 * num_latent_frames - 3
        found = [pair for pair in self.pairs if min(self.settings.num_frames, len(pair.engine)) >= num_frames]
        if not found:
            longest = max(len(pair.engine) for pair in self.pairs)
            raise DataError(
                f"expected pairs of {num_frames} frames or more for {num_latent_frames} latent ones, the longest has "
                f"{longest} and the pool takes {self.settings.num_frames}: add longer pairs, or change "
                "num_latent_frames and pool.num_frames in the recipe"
            )
        return found[int(generator.integers(len(found)))]

    @torch.no_grad()
    def encode(self, pair: Pair, generator: np.random.Generator) -> Sample:
        """Cut one crop from both looks of a pair and encode it."""
        s = self.settings
        fits = 1 + (min(s.num_frames, len(pair.engine)) - 1) // 4 * 4
        full = pair.engine.shape[2] and s.width / pair.engine.shape[2]
        zoom = (full, full) if generator.random() < s.whole else (max(full, s.zoom[0]), max(full, s.zoom[1]))
        crop = Crop.draw(generator, pair.engine.shape, num_frames=fits, size=(s.height, s.width), zoom=zoom)
        engine = crop.cut(pair.engine)
        if generator.random() < s.jittered:
            engine = jitter_look(engine, generator, s.colour_jitter)
        videos = torch.from_numpy(np.stack([engine, crop.cut(pair.camera)])).to(self.autoencoder.device)
        latents = self.autoencoder.encode(videos).latent_dist.mode()
        latents = (latents - self.mean) / self.std
        return Sample(latents[0], latents[1], pair.row.caption, videos if self.keep_pixels else None)


def latent_scaling(autoencoder: Any) -> tuple[Tensor, Tensor]:
    """Mean and spread of the latents from the autoencoder's config, each [1, C, 1, 1, 1] on its device."""
    both = (autoencoder.config.latents_mean, autoencoder.config.latents_std)
    mean, std = (torch.tensor(values, device=autoencoder.device).view(1, -1, 1, 1, 1) for values in both)
    return mean, std
