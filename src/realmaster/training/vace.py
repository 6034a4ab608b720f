"""The control branch of nano's propagator, trained over the frozen base on camera clips alone.

Separate from `transformer`, whose reference reads the other look of a pair: VACE knows no engine. It sees a camera
clip's own control video and some of its frames, and makes the clip again; at use the control comes from the render
instead (arXiv 2603.23462, propagation).

Letters: B batch, C latent channels, K condition channels, F latent frames, H, W.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field
from torch import Tensor

from realmaster.config import Settings
from realmaster.data.frames import Crop, Pair
from realmaster.diffusion.flow import add_noise, predict_clean, velocity
from realmaster.models.loading import Models
from realmaster.models.profiles import SamplingSettings
from realmaster.models.vace import branch_parameters, condition_channels, grow_vace
from realmaster.pipelines.control import ControlKind, make_control
from realmaster.pipelines.propagate import AnchorStrategy, choose_anchors
from realmaster.pipelines.schedule import build_scheduler
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.vace import arrange_conditions, build_vace_pipeline, encode_conditions, mask_conditions
from realmaster.training.autoencoder import to_video
from realmaster.training.captions import vary_caption
from realmaster.training.latents import latent_scaling
from realmaster.training.loop import Loop, LoopSettings
from realmaster.training.transformer import FlowSettings, draw_noise, draw_sigmas, pixel_metric, shown_error

Frames = npt.NDArray[np.uint8]


class VaceSettings(Settings):
    """What the control branch is and how it is trained."""

    layers: tuple[int, ...] = Field((0, 2, 4), description="blocks of the base that get a hint, 0 among them")
    flow: FlowSettings = FlowSettings(
        loop=LoopSettings(num_steps=3000, learning_rate=8e-4, warmup_steps=100),
        batch_size=4,
        num_latent_frames=(2, 4, 4),
    )
    controls: tuple[ControlKind | None, ...] = Field(
        ("canny", "canny", "canny", "soft", "grey", None), description="control videos, one drawn for each crop"
    )
    anchors: tuple[AnchorStrategy, ...] = Field(
        ("first_last", "first_last", "first_last", "first", "none", "every"), description="anchors, likewise"
    )
    every: int = Field(4, ge=1, description="distance of anchors with 'every', in frames")


@dataclass(frozen=True)
class Sample:
    """One encoded crop: camera latents [C, F, H, W], conditions [K, F, H, W], and the caption."""

    camera: Tensor
    conditions: Tensor
    caption: str


class VacePool:
    """Encoded crops of camera clips with drawn conditions, renewed a few at a time; each length has its own shelf."""

    def __init__(
        self, pairs: Sequence[Pair], pipeline: Any, settings: VaceSettings, generator: np.random.Generator
    ) -> None:
        """Encode the first `flow.pool.size` crops, shared out over the lengths that a step may draw."""
        self.pipeline, self.settings = pipeline, settings
        self.mean, self.std = latent_scaling(pipeline.vae)
        self.shelves: dict[int, list[Sample]] = {}
        self.oldest: dict[int, int] = {}
        lengths = settings.flow.num_latent_frames
        self.clips = {n: [p for p in pairs if len(p.camera) >= self._pixels(n)] for n in set(lengths)}
        for length in sorted(self.clips):
            count = max(1, settings.flow.pool.size * lengths.count(length) // len(lengths))
            order = generator.permutation(max(count, len(self.clips[length])))[:count]
            self.oldest[length] = 0
            self.shelves[length] = [
                self.encode(self.clips[length][i % len(self.clips[length])], length, generator) for i in order
            ]

    def draw(
        self, batch_size: int, generator: np.random.Generator, num_latent_frames: int
    ) -> tuple[Tensor, Tensor, list[str]]:
        """Draw camera latents [B, C, F, H, W], conditions [B, K, F, H, W] and captions, some empty."""
        shelf, clips = self.shelves[num_latent_frames], self.clips[num_latent_frames]
        for _ in range(self.settings.flow.pool.refresh):
            place = self.oldest[num_latent_frames]
            shelf[place] = self.encode(clips[int(generator.integers(len(clips)))], num_latent_frames, generator)
            self.oldest[num_latent_frames] = (place + 1) % len(shelf)
        chosen = [shelf[int(index)] for index in generator.integers(len(shelf), size=batch_size)]
        captions = [
            "" if generator.random() < self.settings.flow.pool.drop_caption else vary_caption(s.caption, generator)
            for s in chosen
        ]
        camera = torch.stack([sample.camera for sample in chosen])
        return camera, torch.stack([sample.conditions for sample in chosen]), captions

    @torch.no_grad()
    def encode(self, pair: Pair, num_latent_frames: int, generator: np.random.Generator) -> Sample:
        """Cut a crop from a camera clip, draw its control and its anchors, encode all of it."""
        pool = self.settings.flow.pool
        full = pool.width / pair.camera.shape[2]
        zoom = (full, full) if generator.random() < pool.whole else (max(full, pool.zoom[0]), max(full, pool.zoom[1]))
        size, length = (pool.height, pool.width), self._pixels(num_latent_frames)
        video = Crop.draw(generator, pair.camera.shape, num_frames=length, size=size, zoom=zoom).cut(pair.camera)
        frames = np.rint((video + 1) * 127.5).clip(0, 255).astype(np.uint8).transpose(1, 2, 3, 0)
        settings = self.settings
        kind = settings.controls[int(generator.integers(len(settings.controls)))]
        strategy = settings.anchors[int(generator.integers(len(settings.anchors)))]
        # a control video comes at the render's size as often as at the model's: lines are then fainter, and more
        shown = resize(frames, (2 * pool.height, 2 * pool.width)) if generator.random() < 0.5 else frames
        conditions = self.conditions(shown, frames, kind, strategy)
        latents = self.pipeline.vae.encode(torch.from_numpy(video)[None].to(self.mean.device)).latent_dist.mode()
        return Sample(((latents - self.mean) / self.std)[0], conditions, pair.row.caption)

    def conditions(self, shown: Frames, camera: Frames, kind: ControlKind | None, strategy: AnchorStrategy) -> Tensor:
        """Encode the control video of `shown` with anchors taken from `camera`: [K, F, H, W]."""
        chosen = choose_anchors(len(camera), strategy, every=self.settings.every)
        anchors = {index: camera[index] for index in chosen}
        control = None if kind is None else resize(make_control(np.ascontiguousarray(shown), kind), camera.shape[1:3])
        frames = arrange_conditions(camera.shape, anchors, control)
        return encode_conditions(self.pipeline, frames, mask_conditions(camera.shape, anchors))[0]

    def _pixels(self, num_latent_frames: int) -> int:
        return 1 + (num_latent_frames - 1) * int(self.pipeline.vae_scale_factor_temporal)


def train_vace(models: Models, pairs: list[Pair], validation: list[Pair], folder: Path, settings: VaceSettings) -> Any:
    """Grow a control branch over the base, train it alone, and give the whole VACE transformer in eval mode.

    Validated as it is used: edges of the engine look, first and last frame of the camera look, one step from noise.

    Raises:
        NumericalError: the loss is not finite.
    """
    torch.manual_seed(settings.flow.loop.seed)
    grown = grow_vace(models.transformer, settings.layers, condition_channels(models.autoencoder))
    model = grown.to(models.device).requires_grad_(False)
    models.transformer = model
    for parameter in branch_parameters(model):
        parameter.requires_grad_(True)
    loop = Loop(folder, model, settings.flow.loop)
    pipeline = build_vace_pipeline(models, build_scheduler(SamplingSettings(num_inference_steps=1)))
    pool = VacePool(pairs, pipeline, settings, np.random.default_rng(settings.flow.loop.seed + 3))
    metric = pixel_metric(models, pairs[:: max(1, len(pairs) // 3)][:3])
    length = max(settings.flow.num_latent_frames)
    held_out = [
        (pair, pool.conditions(pair.engine[:count], pair.camera[:count], "canny", "first_last"))
        for pair in validation
        if (count := 1 + (length - 1) * models.time_stride) <= len(pair.camera)
    ]

    def predict(noisy: Tensor, conditions: Tensor, sigmas: Tensor, text: Tensor) -> Tensor:
        predicted: Tensor = model(
            hidden_states=noisy,
            timestep=1000 * sigmas,
            encoder_hidden_states=text,
            control_hidden_states=conditions,
            return_dict=False,
        )[0]
        return predicted

    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        num_frames = int(generator.choice(settings.flow.num_latent_frames))
        camera, conditions, captions = pool.draw(settings.flow.batch_size, generator, num_frames)
        sigmas = draw_sigmas(len(camera), generator, settings.flow).to(camera.device)
        noise = draw_noise(camera, generator, settings.flow)
        with torch.no_grad():
            text = models.encode_text(captions)
        error = predict(add_noise(camera, noise, sigmas), conditions, sigmas, text) - velocity(camera, noise)
        return {"loss": shown_error(error, metric), "latent_loss": error.square().mean()}

    @torch.no_grad()
    def validate() -> dict[str, float]:
        """PSNR of one-step clips on held-out scenes, against the camera clip."""
        mean, std = latent_scaling(models.autoencoder)
        scores, generator = [], torch.Generator().manual_seed(0)
        for pair, conditions in held_out:
            shape = (1, mean.shape[1], 1, *conditions.shape[2:])
            noise = torch.randn(shape, generator=generator).to(mean).expand(-1, -1, conditions.shape[1], -1, -1)
            sigmas = torch.ones(1, device=mean.device)
            text = models.encode_text([pair.row.caption])
            latents = predict_clean(noise, predict(noise, conditions[None], sigmas, text), sigmas)
            decoded = models.autoencoder.decode(latents * std + mean).sample.clamp(-1, 1)
            truth = to_video(pair.camera[: decoded.shape[2]]).to(decoded.device)
            scores.append(-10 * float(torch.log10((decoded - truth).square().mean() / 4)))
        return {"psnr": float(np.mean(scores))} if scores else {}

    loop.run(step, validate)
    loop.average.keep()
    return model.eval()
