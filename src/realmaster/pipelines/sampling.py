"""From the render's frames to the translation's, for one window at the model's size: the figure of the paper.

Letters: F frames, h, w pixels of the model; latents [B, C, F', h', w'], where B is 1, or 2 with the mirror image.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from realmaster.errors import NumericalError
from realmaster.models.loading import Models
from realmaster.models.memory_settings import MemorySettings
from realmaster.models.profiles import SamplingSettings
from realmaster.pipelines.denoise import Denoiser, Mode, Prompt
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.stopwatch import Stopwatch

__all__ = ["Prompt", "Stopwatch", "TranslatedWindow", "WindowSampler"]

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TranslatedWindow:
    """One window translated: frames uint8 [F, h, w, 3], the render beside them, the latents.

    `guide` is the render after the same autoencoder, or as it came where nothing is fitted to it.
    """

    frames: Frames
    guide: Frames
    latents: Tensor


class WindowSampler:
    """Translate one window of frames at the model's size."""

    def __init__(
        self,
        models: Models,
        *,
        mode: Mode,
        spatial_scale: int,
        sampling: SamplingSettings,
        seed: int,
        memory: MemorySettings | None = None,
        decode_guide: bool = True,
    ) -> None:
        """Prepare the sampler; `remove` puts the transformers back as they were."""
        self.models, self.decode_guide, self.mirror = models, decode_guide, sampling.mirror
        self.denoiser = Denoiser(
            models, mode=mode, sampling=sampling, memory=memory, spatial_scale=spatial_scale, seed=seed
        )
        config = models.autoencoder.config
        self.mean = torch.tensor(config.latents_mean, device=models.device).view(1, -1, 1, 1, 1)
        self.std = torch.tensor(config.latents_std, device=models.device).view(1, -1, 1, 1, 1)

    def remove(self) -> None:
        """Take the reference attention off the transformers."""
        self.denoiser.remove()

    @torch.inference_mode()
    def encode_prompt(self, prompt: str, negative_prompt: str) -> Prompt:
        """Encode the prompt, the negative prompt and the empty prompt, which the reference reads."""
        positive, negative, empty = self.models.encode_text([prompt, negative_prompt, ""]).split(1)
        return Prompt(positive, negative, empty)

    @torch.inference_mode()
    def translate(
        self, frames: Frames, prompt: Prompt, watch: Stopwatch, *, held: TranslatedWindow | None, num_held: int
    ) -> TranslatedWindow:
        """Encode, reference, noise, sample, decode; the sides of `frames` are whole tokens times the spatial scale.

        `held` is the window before, whose last `num_held` frames are the first of this one and stay as decided.

        Raises:
            NumericalError: the model returned NaN or infinity.
        """
        with watch.stage("encode"):
            scale = self.denoiser.spatial_scale
            height, width = frames.shape[1:3]
            reference = frames if scale == 1 else resize(frames, (height // scale, width // scale))
            reference_latents = self._encode_views(reference)
            prompt = prompt.expand(len(reference_latents))
            held_latents = self._held_latents(held, num_held)
        batch_size, *counts, rows, columns = reference_latents.shape
        noise = self.denoiser.draw_noise((1, *counts, rows * scale, columns * scale)).expand(batch_size, -1, -1, -1, -1)
        latents = self.denoiser.sample(noise, reference_latents, prompt, watch, held=held_latents)
        if not torch.isfinite(latents).all():
            raise NumericalError(
                "expected finite latents from the model, got NaN or infinity: run in float32 "
                "(--set memory.dtype=float32), or lower --guidance-scale"
            )
        with watch.stage("decode"):
            if not self.decode_guide:
                return TranslatedWindow(self._decode_views(latents), frames, latents)
            guide_latents = reference_latents if scale == 1 else self._encode_views(frames)
            return TranslatedWindow(self._decode_views(latents), self._decode_views(guide_latents), latents)

    def _encode_views(self, frames: Frames) -> Tensor:
        """Encode the frames, and with `mirror` their mirror image as a second sample of the batch."""
        latents = self.encode(frames)
        return torch.cat([latents, self.encode(frames[:, :, ::-1])]) if self.mirror else latents

    def _decode_views(self, latents: Tensor) -> Frames:
        """Decode to uint8 frames [F, h, w, 3]: the one view, or the mean of both."""
        views = self.decode(latents)
        if len(views) == 1:
            return np.asarray(views[0])
        mean = (views[0].astype(np.uint16) + views[1][:, :, ::-1] + 1) // 2
        return np.asarray(mean, dtype=np.uint8)

    def encode(self, frames: Frames) -> Tensor:
        """Encode uint8 frames [F, h, w, 3] to normalised latents, by the mode of the posterior."""
        video = torch.from_numpy(np.ascontiguousarray(frames)).to(self.models.device)
        video = video.permute(3, 0, 1, 2)[None].to(torch.float32) / 127.5 - 1  # [1, 3, F, h, w]
        latents = self.models.autoencoder.encode(video).latent_dist.mode()
        return (latents - self.mean) / self.std

    def decode(self, latents: Tensor) -> Frames:
        """Decode latents [B, C, F', h', w'] to uint8 frames [B, F, h, w, 3]."""
        pixels = ((self.decode_video(latents) + 1) * 127.5).round().clamp(0, 255).to(torch.uint8)
        frames: Frames = pixels.permute(0, 2, 3, 4, 1).cpu().numpy()
        return frames

    def decode_video(self, latents: Tensor) -> Tensor:
        """Decode latents to video [B, 3, F, h, w] in [-1, 1]; divided by 1 / std, as diffusers does, to the bit."""
        video: Tensor = self.models.autoencoder.decode(latents / (1.0 / self.std) + self.mean).sample
        return video

    def _held_latents(self, held: TranslatedWindow | None, num_held: int) -> Tensor | None:
        """What is decided already, as this window's latents 1, 2, ...: those of the window before, untouched.

        Latent 0 covers one frame here and was part of four there. It stays free: encoding that decided frame again
        would feed each window's autoencoder error to the next, and colours would drift (docs/findings.md).
        """
        count = 0 if held is None else (num_held - 1) // self.models.time_stride
        if held is None or count == 0:
            return None
        return held.latents[:, :, held.latents.shape[2] - count :]
