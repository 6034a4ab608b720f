"""Lucy-Edit: an open instruction editor on Wan2.2's 5B base, run by diffusers' `LucyEditPipeline`.

Its checkpoint (`decart-ai/Lucy-Edit-Dev`, or 1.1) appends the render's latents to the noisy ones along the channels
and gives each token its own timestep; all that is the pipeline's. Its authors sample 81 frames at 832 x 480 and 24 a
second.
"""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field

from realmaster.evaluation.baselines.baseline import Baseline, Frames, RenderedClip, missing_folder
from realmaster.evaluation.baselines.grid import MethodGrid, on_grid
from realmaster.evaluation.baselines.stock import (
    StockSettings,
    edit_video,
    embeddings_of,
    load_stock,
)
from realmaster.evaluation.baselines.weights import digest_of
from realmaster.evaluation.metrics.metric import Requirement

HOW = "fetch decart-ai/Lucy-Edit-Dev from the hub and set model_dir=FOLDER (non-commercial licence)"


class LucySettings(StockSettings):
    """The authors' sampling."""

    prompt: str = Field(
        "Transform the video into real footage filmed by a camera, photorealistic. Keep every shape, motion and face.",
        description="the instruction; {caption} stands for the clip's caption",
    )
    negative_prompt: str = Field("", description="what guidance leads away from")
    height: int = Field(480, ge=32, description="pixels, for a clip of 832:480; others get the same area")
    width: int = Field(832, ge=32, description="pixels")
    num_frames: int = Field(81, ge=5, description="frames of a part; longer clips are cut")
    num_inference_steps: int = Field(50, ge=1, le=1000, description="denoising steps")
    guidance_scale: float = Field(5.0, ge=0, le=100, description="weight of the instruction")


class LucyEdit(Baseline[LucySettings]):
    """Edit by instruction, the render beside the noise."""

    settings_class = LucySettings
    without_effect = frozenset({"model_dir", "offload"})

    def lacking(self) -> Requirement | None:
        """Say that the checkpoint is not here."""
        return missing_folder(self.settings.model_dir, "model_dir", HOW)

    def describe(self) -> dict[str, Any]:
        """Name the checkpoint's weights."""
        return {"weights": digest_of(self.settings.model_dir)} if self.settings.model_dir is not None else {}

    def translate(self, clip: RenderedClip) -> Frames:
        """Edit the clip, part by part."""
        settings = self.settings
        stride = 2 * self._pipeline.vae_scale_factor_spatial  # a token is two latents wide
        grid = MethodGrid(settings.height, settings.width, stride, settings.num_frames)
        texts = embeddings_of(self._pipeline, clip.prompt, settings.negative_prompt, guided=settings.guidance_scale > 1)
        return on_grid(clip.frames, grid, lambda part: self._edit(part, texts, clip.seed))

    def _edit(self, frames: Frames, texts: dict[str, Any], seed: int) -> Frames:
        steps, scale = self.settings.num_inference_steps, self.settings.guidance_scale
        return edit_video(self._pipeline, frames, texts, num_inference_steps=steps, guidance_scale=scale, seed=seed)

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import LucyEditPipeline

        assert self.settings.model_dir is not None
        return load_stock(LucyEditPipeline, self.settings.model_dir, self.settings, device=self.device, remedy=HOW)
