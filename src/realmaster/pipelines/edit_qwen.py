"""`QwenImageEdit`: keyframes edited by Qwen-Image-Edit-2509 or -2511, through diffusers' own pipeline.

Separate from the other editors because it is another family of models. What its users trip over is settled here:

- Edits shift and zoom by some pixels where the picture's grid and the reference's differ: the pipeline brings every
  reference to about one megapixel, so the keyframe is brought to that very size first, and the edit back afterwards.
- Left to itself, the pipeline chooses the size from the last picture's aspect: height and width are always given, in
  multiples of 32.
- 2511 wants the timestep of its reference tokens at zero (`zero_cond_t`); weights whose settings lack it draw mush.
- A Lightning LoRA wants its own schedule (a fixed shift) and no guidance.

Letters: N keyframes, H, W pixels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import torch

from realmaster.errors import ConfigError, MemoryLimitError, MissingWeightsError, NumericalError
from realmaster.models.checkpoint import check_parts, check_revision
from realmaster.models.identity import identify_weights
from realmaster.models.loading import no_bars
from realmaster.models.machine import check_device
from realmaster.models.profiles import Profile, load_profile, missing_remedy
from realmaster.optional import require
from realmaster.pipelines.enlarge import enlarge
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.vace import as_pictures

Frames = npt.NDArray[np.uint8]
PARTS = ("vae", "text_encoder", "tokenizer", "transformer")


class QwenImageEdit:
    """Qwen-Image-Edit with prompts, LoRAs and steps from the profile; every keyframe gets the same noise."""

    def __init__(self, profile: Profile, pipeline: Any) -> None:
        """Use a loaded `QwenImageEditPlusPipeline`; `from_profile` loads it."""
        assert profile.editor is not None, "a profile that edits has settings for it"
        self.profile, self.settings, self.pipeline = profile, profile.editor, pipeline
        self.name = "qwen"
        self.weights = identify_weights(profile)  # once: files are hashed for it

    @classmethod
    def from_profile(
        cls,
        name: str = "wan2.2-a14b",
        *,
        device: str | None = None,
        model_dir: Path | str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Self:
        """Load the editor of a profile whose `editor.kind` is qwen.

        Raises:
            ConfigError: no such profile or device, or settings that do not fit the weights.
            MissingWeightsError: a part or a LoRA is not there.
        """
        profile = load_profile(f"{name}/editor", model_dir=model_dir, changes=changes)
        assert profile.editor is not None, "the part exists"
        if device is not None:
            check_device(device)
        device = device or ("cuda" if torch.cuda.is_available() else "cpu")
        loras = [(lora.path, lora.strength) for lora in profile.editor.loras]
        if profile.few_step.enabled:
            if profile.few_step.lora is None:
                raise ConfigError("expected a Lightning LoRA for few-step edits, got none: set editor.few_step.lora")
            loras.append((profile.few_step.lora, profile.few_step.strength))
        for path, _ in loras:
            if not Path(path).is_file() or not path.endswith(".safetensors"):
                raise MissingWeightsError(f"expected a LoRA (.safetensors) at {path}, found none: check the path")
        pipeline = load_edit_pipeline(profile)
        lay_over(pipeline, loras)
        if profile.few_step.enabled:
            pipeline.scheduler = few_step_scheduler(pipeline.scheduler, profile.few_step.shift)
        _place(pipeline, profile, torch.device(device))
        return cls(profile, pipeline)

    def describe(self) -> dict[str, Any]:
        """Name the weights, and all settings that change a pixel."""
        settings = self.settings
        return {
            "editor": self.name,
            "weights": self.weights,
            "instruction": settings.instruction,
            "sampling": self.profile.effective_sampling.model_dump(mode="json"),
            "few_step": self.profile.few_step.model_dump(mode="json") if self.profile.few_step.enabled else None,
            "loras": [lora.model_dump(mode="json") for lora in settings.loras],
            "num_pixels": settings.num_pixels,
            "dtype": settings.memory.dtype,
        }

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        """Edit keyframes uint8 [N, H, W, 3] one by one, with one instruction and one noise.

        Raises:
            NumericalError: the model returned NaN. MemoryLimitError: the accelerator's memory ran out.
        """
        height, width = frames.shape[1:3]
        size = working_size(height, width, self.settings.num_pixels)
        sampling = self.profile.effective_sampling
        guided = sampling.guidance_scale > 1
        edited = []
        for frame, picture in zip(frames, as_pictures(resize(frames, size)), strict=True):
            try:
                made = self.pipeline(
                    image=[picture],
                    prompt=self.settings.instruction.format(prompt=prompt),
                    negative_prompt=sampling.negative_prompt if guided else None,
                    true_cfg_scale=sampling.guidance_scale,
                    height=size[0],
                    width=size[1],
                    num_inference_steps=sampling.num_inference_steps,
                    generator=torch.Generator("cpu").manual_seed(seed),
                    output_type="np",
                ).images[0]
            except torch.OutOfMemoryError as error:
                raise MemoryLimitError(
                    f"expected memory to edit {size[1]}x{size[0]} pixels, it ran out: set editor.memory.offload to "
                    "experts (one part at a time) or group"
                ) from error
            if not np.isfinite(made).all():
                raise NumericalError(
                    "expected finite pixels from the editor, got NaN: set editor.memory.dtype to bfloat16 or float32"
                )
            edited.append(enlarge(frame, np.rint(made * 255).astype(np.uint8)))
        return np.stack(edited)


def working_size(height: int, width: int, num_pixels: int) -> tuple[int, int]:
    """Height and width at which the pipeline itself reads a picture of this aspect: multiples of 32."""
    from diffusers.pipelines.qwenimage.pipeline_qwenimage_edit_plus import calculate_dimensions

    columns, rows = calculate_dimensions(num_pixels, width / height)
    return max(32, int(rows)), max(32, int(columns))


def load_edit_pipeline(profile: Profile, *, processor: Any = None) -> Any:
    """Load diffusers' edit pipeline from a profile's folder; safetensors alone.

    `processor` takes the place of the checkpoint's own, which transformers makes with torchvision alone.

    Raises:
        MissingExtraError: torchvision is not installed.
        MissingWeightsError: a part is missing or cannot be read.
        ConfigError: 2511's weights come with settings that do not fit them.
    """
    from diffusers import QwenImageEditPlusPipeline

    folder, checkpoint = profile.folder, profile.checkpoint
    check_revision(folder, hub=checkpoint.hub, revision=checkpoint.revision)
    check_parts(folder, PARTS, remedy=missing_remedy(profile))
    given = {} if processor is None else {"processor": None}
    if processor is None:
        require("torchvision", extra="qwen")
        if not any((folder / "processor").glob("*.json")):
            raise MissingWeightsError(
                f"expected the settings (*.json) of processor in {folder / 'processor'}, found none: "
                f"{missing_remedy(profile)}"
            )
    try:
        with no_bars():
            pipeline = QwenImageEditPlusPipeline.from_pretrained(
                folder,
                dtype=getattr(torch, profile.memory.dtype),
                use_safetensors=True,
                local_files_only=True,
                **given,
            )
    except (OSError, ValueError) as error:
        raise MissingWeightsError(
            f"expected Qwen-Image-Edit in {folder}, could not load it ({str(error).splitlines()[0]}): "
            f"{missing_remedy(profile)}"
        ) from error
    if checkpoint.hub is not None and "2511" in checkpoint.hub and not pipeline.transformer.config.zero_cond_t:
        raise ConfigError(
            f"{folder / 'transformer' / 'config.json'}: expected zero_cond_t true, as Qwen-Image-Edit-2511 needs it, "
            "got false: fetch the file again"
        )
    if processor is not None:
        pipeline.processor = processor
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def few_step_scheduler(scheduler: Any, shift: float) -> Any:
    """Give the schedule of Lightning LoRAs: the shift is the same for every size (their authors' settings)."""
    changes = {"base_shift": math.log(shift), "max_shift": math.log(shift), "shift_terminal": None}
    return type(scheduler).from_config({**scheduler.config, **changes, "use_dynamic_shifting": True})


def lay_over(pipeline: Any, loras: list[tuple[str, float]]) -> None:
    """Load LoRA files over an edit pipeline, each with its strength.

    Raises:
        ConfigError: a file is no LoRA of this model.
    """
    names = []
    for index, (path, _) in enumerate(loras):
        names.append(f"lora_{index}")
        try:
            pipeline.load_lora_weights(str(Path(path).parent), weight_name=Path(path).name, adapter_name=names[-1])
        except (ValueError, KeyError, RuntimeError) as error:
            raise ConfigError(
                f"{path}: expected a LoRA of Qwen-Image-Edit, could not load it ({str(error).splitlines()[0]}): "
                "choose one made for this model"
            ) from error
    if names:
        pipeline.set_adapters(names, [strength for _, strength in loras])


def _place(pipeline: Any, profile: Profile, device: torch.device) -> None:
    offload = profile.memory.offload
    if profile.memory.vae_tiling:
        pipeline.vae.enable_tiling()
    if device.type == "cpu" or offload == "none":
        pipeline.to(device)
    elif offload == "experts":  # here: text encoder, transformer and autoencoder one after the other
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_group_offload(
            onload_device=device,
            offload_type="block_level",
            num_blocks_per_group=profile.memory.blocks_per_group,
            use_stream=profile.memory.offload_stream,
            exclude_modules=["vae"],  # it has no blocks to group, and its root is never called: encode and decode are
        )
