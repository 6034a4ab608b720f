"""Cosmos-Transfer2.5: a control branch on Cosmos-Predict2.5, run by diffusers' `Cosmos2_5_TransferPipeline`.

It sees the render through edges alone (Canny, light on dark, as diffusers' example draws them), or through controls
of one's own: depth, segmentation or blur videos, one a clip, with the branch that was trained for them. Longer clips
go in chunks of 93 frames, each begun from the last frame of the one before: that is the pipeline's own way. The
licence asks for NVIDIA's guardrail, which is the package cosmos-guardrail and reads every prompt and frame.
"""

from __future__ import annotations

from fractions import Fraction
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from pydantic import Field, model_validator

from realmaster.errors import ConfigError, MediaError, MissingWeightsError
from realmaster.evaluation.baselines.baseline import Baseline, Frames, RenderedClip, missing_folder
from realmaster.evaluation.baselines.grid import MethodGrid, on_grid, resized
from realmaster.evaluation.baselines.stock import StockSettings, as_frames, as_images, generator_of, load_stock
from realmaster.evaluation.baselines.weights import digest_of
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.media.reader import open_clip
from realmaster.optional import require

HOW = (
    "fetch nvidia/Cosmos-Transfer2.5-2B from the hub, revision diffusers/general into model_dir and "
    "diffusers/controlnet/general/edge into controlnet_dir"
)
_CLIP = "{clip}"
_ANY_LENGTH = 100_000  # the pipeline cuts by itself


class CosmosSettings(StockSettings):
    """The pipeline's own sampling, and what the control branch sees."""

    prompt: str = Field(
        "A realistic video filmed by a camera: {caption}", description="what is seen; {caption} is the clip's caption"
    )
    negative_prompt: str | None = Field(None, description="null is the pipeline's own")
    controlnet_dir: Path | None = Field(
        None, description="folder of the control branch; null is controlnet/ in model_dir"
    )
    control: Literal["edge", "own"] = Field("edge", description="edges of the render, or videos of your own (controls)")
    controls: str | None = Field(None, description="pattern of control videos with {clip}, for control: own")
    control_scale: float = Field(1.0, ge=0, le=4, description="weight of the control branch")
    edge_low: int = Field(100, ge=0, le=1000, description="Canny's weak threshold")
    edge_high: int = Field(200, ge=0, le=1000, description="Canny's strong threshold")
    height: int = Field(704, ge=16, description="pixels, for a clip of 1280:704; others get the same area")
    width: int = Field(1280, ge=16, description="pixels")
    frames_per_chunk: int = Field(93, ge=5, description="frames that are denoised together")
    num_inference_steps: int = Field(36, ge=1, le=1000, description="denoising steps")
    guidance_scale: float = Field(3.0, ge=0, le=100, description="weight of the prompt")

    @model_validator(mode="after")
    def _controls_have_clips(self) -> CosmosSettings:
        if (self.control == "own") != (self.controls is not None):
            raise ValueError("expected controls with control: own, and only then")
        if self.controls is not None and _CLIP not in self.controls:
            raise ValueError(f"expected {_CLIP} in controls, got {self.controls!r}")
        return self


class CosmosTransfer(Baseline[CosmosSettings]):
    """Draw a clip along its edges."""

    settings_class = CosmosSettings
    without_effect = frozenset({"model_dir", "controlnet_dir", "offload"})

    def lacking(self) -> Requirement | None:
        """Say that a checkpoint or the guardrail is not here."""
        missing = missing_folder(self.settings.model_dir, "model_dir", HOW)
        for package in ("cosmos_guardrail", "torchvision") if missing is None else ():
            if find_spec(package) is None:
                return Requirement(f"{package} is not installed", "install it with `pip install 'realmaster[cosmos]'`")
        return missing or missing_folder(self._branch_folder, "controlnet_dir", HOW, file="config.json")

    def describe(self) -> dict[str, Any]:
        """Name the weights of base and branch."""
        if self.settings.model_dir is None or self._branch_folder is None:
            return {}
        return {"weights": digest_of(self.settings.model_dir), "branch": digest_of(self._branch_folder)}

    def translate(self, clip: RenderedClip) -> Frames:
        """Draw the clip along its controls."""
        settings = self.settings
        grid = MethodGrid(settings.height, settings.width, 16, _ANY_LENGTH, time_stride=1)
        size = grid.size_of(*clip.frames.shape[1:3])
        controls = resized(self._own_controls(clip), size) if settings.control == "own" else None
        return on_grid(clip.frames, grid, lambda frames: self._draw(frames, controls, clip))

    def _draw(self, frames: Frames, controls: Frames | None, clip: RenderedClip) -> Frames:
        settings = self.settings
        drawn = edges_of(frames, settings.edge_low, settings.edge_high) if controls is None else controls
        negative = {} if settings.negative_prompt is None else {"negative_prompt": settings.negative_prompt}
        pipeline = self._pipeline
        if not pipeline.safety_checker.check_text_safety(clip.prompt):
            raise ConfigError(
                f"{clip.name}: expected a prompt that the guardrail lets pass, it refused: change the prompt"
            )
        done = pipeline(
            controls=as_images(drawn),
            controls_conditioning_scale=settings.control_scale,
            prompt=clip.prompt,
            height=frames.shape[1],
            width=frames.shape[2],
            num_frames=len(frames),
            num_frames_per_chunk=settings.frames_per_chunk,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            generator=generator_of(clip.seed),
            output_type="np",
            **negative,
        )
        result = as_frames(done.frames[0])
        if not result.any():  # black is what the pipeline puts in place of a video that is refused
            raise MediaError(
                f"{clip.name}: expected a video that the guardrail lets pass, it refused: leave the clip out"
            )
        return result

    def _own_controls(self, clip: RenderedClip) -> Frames:
        path = Path(str(self.settings.controls).replace(_CLIP, clip.name))
        rate = Fraction(clip.rate)
        with open_clip(path, frame_rate=rate, image_rate=rate) as opened:
            frames = np.concatenate(list(opened.chunks(16)))
        if len(frames) < len(clip.frames):
            raise MediaError(
                f"{path}: expected {len(clip.frames)} frames of controls, got {len(frames)}: draw them all"
            )
        return frames[: len(clip.frames)]

    @property
    def _branch_folder(self) -> Path | None:
        if self.settings.controlnet_dir is not None or self.settings.model_dir is None:
            return self.settings.controlnet_dir
        return self.settings.model_dir / "controlnet"

    @cached_property
    def _pipeline(self) -> Any:
        import torch
        from diffusers import Cosmos2_5_TransferPipeline, CosmosControlNetModel

        settings, folder = self.settings, self._branch_folder
        assert settings.model_dir is not None
        assert folder is not None
        try:
            branch = CosmosControlNetModel.from_pretrained(
                folder, torch_dtype=getattr(torch, settings.dtype), local_files_only=True, use_safetensors=True
            )
        except (OSError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise MissingWeightsError(
                f"{folder}: expected a control branch, could not read it ({reason}): {HOW}"
            ) from error
        parts = {"controlnet": branch, "safety_checker": self._guardrail()}
        return load_stock(
            Cosmos2_5_TransferPipeline, settings.model_dir, settings, device=self.device, remedy=HOW, parts=parts
        )

    def _guardrail(self) -> Any:
        """Give NVIDIA's guardrail, which the licence asks for."""
        return require("cosmos_guardrail", extra="cosmos").CosmosSafetyChecker()


def edges_of(frames: Frames, low: int, high: int) -> Frames:
    """Draw Canny edges light on dark, as diffusers' example does: uint8 [F, H, W, 3] to the same shape."""
    edges = [cv2.Canny(np.ascontiguousarray(frame[..., ::-1]), low, high) for frame in frames]
    return np.repeat(np.stack(edges)[..., None], 3, axis=-1)
