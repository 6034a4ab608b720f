"""Editto: Ditto's LoRA on the control branch of Wan2.1-VACE-14B, which sees the render itself and an instruction.

Settings are those of its inference script (73 frames at 832 x 480, 50 Euler steps, guidance 5, shift 5, Wan's
negative prompt); the render goes in as VACE's video without a mask, which makes all of it to be redrawn. The LoRA's
file names are those of Wan's own code on `vace_blocks`, which diffusers' converter does not know, so they are turned
here: B A is added with weight 1 and no alpha, as DiffSynth, which it was trained with, reads it.
"""

from __future__ import annotations

import re
from functools import cached_property
from pathlib import Path
from typing import Any

from pydantic import Field

from realmaster.errors import AdapterError
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
from realmaster.models.adapter_names import from_original
from realmaster.models.profiles import load_profile

HOW = "fetch Wan-AI/Wan2.1-VACE-14B-diffusers from the hub and set model_dir=FOLDER"
HOW_LORA = "fetch models/{name}*.safetensors of QingyanBai/Ditto_models from the hub and set lora=FILE (non-commercial)"
_KEY = re.compile(
    r"(?:diffusion_model\.|pipe\.vace\.|vace\.)?vace_blocks\.(?P<block>\d+)\.(?P<module>[\w.]+?)"
    r"\.lora_(?P<side>A|B|down|up)(?:\.default)?\.weight"
)


class DittoSettings(StockSettings):
    """Ditto's own sampling."""

    prompt: str = Field(
        "Make it a real video filmed by a camera.", description="the instruction; {caption} is the clip's caption"
    )
    lora: Path | None = Field(None, description="Ditto's LoRA (.safetensors)")
    lora_weight: float = Field(1.0, ge=0, le=2, description="weight of the LoRA")
    negative_prompt: str | None = Field(None, description="what guidance leads away from; null is Wan's own")
    height: int = Field(480, ge=16, description="pixels, for a clip of 832:480; others get the same area")
    width: int = Field(832, ge=16, description="pixels")
    num_frames: int = Field(73, ge=5, description="frames of a part; longer clips are cut")
    num_inference_steps: int = Field(50, ge=1, le=1000, description="denoising steps")
    guidance_scale: float = Field(5.0, ge=0, le=100, description="weight of the instruction")
    shift: float = Field(5.0, gt=0, description="shift of the sigmas towards noise")


class Sim2RealSettings(DittoSettings):
    """As its authors advise for simulations."""

    prompt: str = Field("Turn it into the real domain", description="the instruction; {caption} is the clip's caption")


class Ditto(Baseline[DittoSettings]):
    """Edit by instruction, the render as VACE's video."""

    settings_class = DittoSettings
    without_effect = frozenset({"model_dir", "lora", "offload"})
    file_name = "ditto_global"

    def lacking(self) -> Requirement | None:
        """Say that base or LoRA is not here."""
        missing = missing_folder(self.settings.model_dir, "model_dir", HOW)
        if missing is None and (self.settings.lora is None or not self.settings.lora.is_file()):
            return Requirement("no LoRA of Ditto (lora)", HOW_LORA.replace("{name}", self.file_name))
        return missing

    def describe(self) -> dict[str, Any]:
        """Name the weights of base and LoRA."""
        if self.settings.model_dir is None or self.settings.lora is None:
            return {}
        return {"weights": digest_of(self.settings.model_dir), "lora": digest_of(self.settings.lora)}

    def translate(self, clip: RenderedClip) -> Frames:
        """Edit the clip, part by part."""
        settings, pipeline = self.settings, self._pipeline
        grid = MethodGrid(settings.height, settings.width, 2 * pipeline.vae_scale_factor_spatial, settings.num_frames)
        negative = settings.negative_prompt
        if negative is None:
            negative = load_profile("wan2.1-1.3b").sampling.negative_prompt  # Wan's stock text
        texts = embeddings_of(pipeline, clip.prompt, negative, guided=settings.guidance_scale > 1)
        return on_grid(clip.frames, grid, lambda part: self._edit(part, texts, clip.seed))

    def _edit(self, frames: Frames, texts: dict[str, Any], seed: int) -> Frames:
        steps, scale = self.settings.num_inference_steps, self.settings.guidance_scale
        return edit_video(self._pipeline, frames, texts, num_inference_steps=steps, guidance_scale=scale, seed=seed)

    @cached_property
    def _pipeline(self) -> Any:
        from diffusers import WanVACEPipeline

        settings = self.settings
        assert settings.model_dir is not None
        assert settings.lora is not None
        loaded = load_stock(WanVACEPipeline, settings.model_dir, settings, device=self.device, remedy=HOW)
        loaded.scheduler = even_steps(settings.shift)
        add_lora(loaded.transformer, settings.lora, settings.lora_weight)
        return loaded


class DittoGlobal(Ditto):
    """The weights for whole-frame edits."""


class DittoSim2Real(Ditto):
    """The weights for simulations."""

    settings_class = Sim2RealSettings
    file_name = "ditto_sim2real"


def even_steps(shift: float) -> Any:
    """Make the scheduler that Ditto was sampled with: Euler over sigmas 1, 1 - 1/n, ..., 1/n, then shifted."""
    import numpy as np
    from diffusers import FlowMatchEulerDiscreteScheduler

    class EvenSteps(FlowMatchEulerDiscreteScheduler):
        def set_timesteps(self, num_inference_steps: int, device: Any = None, **settings: Any) -> None:
            sigmas = np.linspace(1, 1 / num_inference_steps, num_inference_steps).tolist()
            super().set_timesteps(sigmas=sigmas, device=device)

    return EvenSteps(num_train_timesteps=1000, shift=shift)


def read_vace_lora(file: Path) -> dict[str, Any]:
    """Read a LoRA on `vace_blocks` and give its tensors diffusers' names, `vace_blocks.0.attn1.to_q.lora_A.weight`.

    Raises:
        AdapterError: the file is no safetensors, or a tensor in it is not one of such a LoRA.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(file)
    except (OSError, SafetensorError) as error:
        raise AdapterError(
            f"{file}: expected a LoRA in safetensors, could not read it ({error}): fetch it again"
        ) from error
    found = {}
    for key, tensor in tensors.items():
        match = _KEY.fullmatch(key)
        module = from_original(f"blocks.{match['block']}.{match['module']}") if match else None
        if match is None or module is None:
            raise AdapterError(
                f"{file}: expected a LoRA on VACE's blocks (vace_blocks.0.self_attn.q.lora_A.weight), found {key}: "
                "take the file of the folder models/, not the one for ComfyUI"
            )
        side = "A" if match["side"] in ("A", "down") else "B"
        found[f"vace_{module}.lora_{side}.weight"] = tensor
    if not found:
        raise AdapterError(f"{file}: expected the tensors of a LoRA, found none: fetch it again")
    return found


def add_lora(transformer: Any, file: Path, weight: float) -> None:
    """Put Ditto's LoRA on a VACE transformer: W + weight B A.

    Raises:
        AdapterError: it is a LoRA of other sizes, or of blocks that this transformer does not have.
    """
    state = read_vace_lora(file)
    try:
        transformer.load_lora_adapter(state, prefix=None, adapter_name="ditto")
        transformer.set_adapters(["ditto"], [weight])
    except (ValueError, KeyError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].strip()
        raise AdapterError(f"{file}: expected a LoRA for this VACE transformer, it does not fit ({reason})") from error
