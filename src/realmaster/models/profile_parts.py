"""The groups of settings that a profile is made of.

Separate from `profiles`, which finds and changes whole profiles: here is what each setting means. What is asked of
the machine (precision, offload, caches) is in `memory_settings`. Nothing here loads torch.
"""

from __future__ import annotations

import math
from string import Formatter
from typing import Literal

from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.models.memory_settings import MemorySettings

LARGEST = 4320  # pixels of a side: no model here was trained at a third of it, and the work grows as its fourth power
MOST_STEPS = 1000  # models here learn a thousand noise levels


class Checkpoint(Settings):
    """Where the models are: a folder in diffusers layout, local or on the hub."""

    folder: str | None = Field(None, description="local folder, relative to the package's models folder; wins over hub")
    hub: str | None = Field(None, description="repository on the Hugging Face hub")
    revision: str | None = Field(None, description="commit of that repository")
    transformer: str = Field("transformer", description="subfolder of the transformer, or of the high-noise expert")
    transformer_2: str | None = Field(None, description="subfolder of the low-noise expert; None if there is one only")
    adapter: str | None = Field(
        None, description="adapter file in the folder; None if the transformer reads references"
    )
    reference: Literal["cached", "joint"] | None = Field(
        None, description="the one mode in which a transformer that reads references was trained; None if it does not"
    )

    @model_validator(mode="after")
    def _is_somewhere(self) -> Checkpoint:
        if self.folder is None and (self.hub is None or self.revision is None):
            raise ValueError("expected a folder, or hub with revision")
        return self


class ReferenceSettings(Settings):
    """How the render is read."""

    mode: Literal["cached", "joint"] = Field(
        "cached", description="what the transformer or its adapter was trained with"
    )
    spatial_scale: int = Field(1, ge=1, le=2, description="how much smaller the reference's sides are")


class FrameSize(Settings):
    """One size of frames, in pixels."""

    height: int = Field(ge=8, le=LARGEST, description="height in pixels")
    width: int = Field(ge=8, le=LARGEST, description="width in pixels")


class SizeSettings(Settings):
    """The size at which the model works, and all sizes it was trained at."""

    height: int = Field(ge=8, le=LARGEST, description="height in pixels of a clip of the profile's own aspect")
    width: int = Field(ge=8, le=LARGEST, description="width in pixels of a clip of the profile's own aspect")
    frame_rate: int = Field(16, ge=1, description="frames a second that it was trained at")
    buckets: tuple[FrameSize, ...] = Field((), description="sizes for training; empty means the one above")

    @property
    def all_buckets(self) -> tuple[FrameSize, ...]:
        """The sizes for training: the buckets, or the one size there is."""
        return self.buckets or (FrameSize(height=self.height, width=self.width),)

    def fit(self, height: int, width: int, *, stride: int, shares: int = 1) -> tuple[int, int]:
        """Height and width of as many pixels and about a clip's aspect, in whole tokens of `stride` pixels.

        The tokens of a frame divide among `shares` processes: the nearest number of columns with which they do.
        """
        area, aspect = self.height * self.width, min(max(width / height, 0.1), 10)
        rows = max(2, round((area / aspect) ** 0.5 / stride))
        wanted = max(2, round((area * aspect) ** 0.5 / stride))
        whole = shares // math.gcd(rows, shares)  # columns come in such numbers
        columns = wanted if wanted % whole == 0 else max(round(wanted / whole), 1) * whole
        return rows * stride, columns * stride


class TextSettings(Settings):
    """How prompts are read."""

    max_length: int | None = Field(None, ge=1, description="tokens of a prompt; None takes the tokenizer's")


class WindowSettings(Settings):
    """How long clips are cut."""

    num_frames: int = Field(ge=5, description="pixel frames of a window, 1 modulo the time stride")
    overlap: int = Field(ge=1, description="pixel frames it shares with the one before, 1 modulo the time stride")

    @model_validator(mode="after")
    def _fits(self) -> WindowSettings:
        if self.overlap >= self.num_frames:
            raise ValueError("overlap must be shorter than the window")
        return self


class SamplingSettings(Settings):
    """How latents are sampled."""

    scheduler: Literal["euler", "unipc"] = Field("euler", description="solver of the flow")
    num_inference_steps: int = Field(ge=1, le=MOST_STEPS, description="denoising steps")
    guidance_scale: float = Field(1.0, ge=0, description="weight of the prompt; 1 is off; the high-noise expert's")
    guidance_scale_2: float | None = Field(None, ge=0, description="the low-noise expert's; None takes the other's")
    boundary: float | None = Field(
        None, gt=0, lt=1, description="sigma from which on the high-noise expert works; None if there is one only"
    )
    shift: float = Field(3.0, gt=0, description="shift of the sigmas towards noise")
    negative_prompt: str = Field("", description="what guidance leads away from")
    still_noise: bool = Field(False, description="the same noise in every frame, for models trained with it")
    mirror: bool = Field(
        False, description="sample the mirrored window too and show the mean of both: for models that predict a mean"
    )


class FewStepSettings(Settings):
    """Sampling in few steps by a distilled LoRA beside the adapter: its own schedule, and no guidance."""

    enabled: bool = Field(False, description="whether to use it")
    lora: str | None = Field(
        None, description="LoRA file; of two that differ by high_noise and low_noise in their names, either one"
    )
    strength: float = Field(1.0, gt=0, le=2, description="weight of the LoRA")
    num_inference_steps: int = Field(4, ge=1, le=MOST_STEPS, description="steps it was distilled to")
    shift: float = Field(5.0, gt=0, description="shift it was distilled with")
    scheduler: Literal["euler", "unipc"] = Field("euler", description="solver it was distilled with")


class TransferSettings(Settings):
    """How the change is carried to the input's resolution."""

    cell: float = Field(8, ge=1, description="side of a cell of the bilateral grid, in pixels of the model")
    lumas: int = Field(8, ge=2, le=64, description="how many ranges of brightness the grid tells apart")
    steadiness: float = Field(0.0, ge=0, lt=1, description="weight of each frame before the present one in its maps")
    remainder: float = Field(
        0.0,
        ge=0,
        le=1,
        description="share of what the grid cannot say that is carried on as it is, at the model's sharpness",
    )
    hold: float = Field(
        0.0,
        ge=0,
        le=16,
        description="levels of 255: output that differs by less from the last frame, along the render's motion, "
        "is drawn back to it; 0 holds nothing",
    )
    channels: Literal["pixels", "colour"] = Field(
        "colour",
        description="what is carried: the model's own pixels, enlarged; or the input's pixels with their colours "
        "changed by an affine map",
    )
    epsilon: float = Field(
        1e-2, gt=0, description="variance below which a cell keeps the input's contrast, in [0, 1] squared"
    )
    dimmest: float = Field(
        0.0,
        ge=0,
        le=128,
        description="mean level of the dimmest renders the model knows; dimmer ones it sees brightened",
    )
    brightest: float = Field(
        255.0, ge=128, le=255, description="that of the brightest renders it knows; brighter ones it sees darkened"
    )


class RefinerSettings(Settings):
    """What draws the translation anew at a larger size, with the render beside it (`models/refiner.py`)."""

    part: str = Field("refiner", description="subfolder of the checkpoint")
    height: int = Field(ge=16, le=LARGEST, description="height in pixels for a clip of the profile's own aspect")
    width: int = Field(ge=16, le=LARGEST, description="width in pixels for a clip of the profile's own aspect")

    def fit(self, height: int, width: int) -> tuple[int, int]:
        """Height and width of as many pixels and about a clip's aspect."""
        return SizeSettings(height=self.height, width=self.width).fit(height, width, stride=16)


class LoraFile(Settings):
    """A LoRA that changes an editor's style."""

    path: str = Field(description="safetensors file")
    strength: float = Field(1.0, gt=0, le=2, description="weight of the LoRA")


class EditorSettings(Settings):
    """What turns keyframes into photographs (paper, keyframe enhancement)."""

    kind: Literal["in_context", "qwen"] = Field(
        description="in_context: an adapter over the profile's own base; qwen: Qwen-Image-Edit, 2509 or later"
    )
    checkpoint: Checkpoint
    sampling: SamplingSettings
    few_step: FewStepSettings = FewStepSettings()
    loras: tuple[LoraFile, ...] = Field((), description="qwen: LoRAs for the style, laid over each other")
    instruction: str = Field("{prompt}", description="what the editor is told; {prompt} is the clip's own prompt")
    size: SizeSettings | None = Field(None, description="in_context: at which it works; None is the profile's")
    num_pixels: int = Field(1024 * 1024, ge=32 * 32, description="qwen: pixels at which it works; trained with 1024^2")
    memory: MemorySettings = MemorySettings()

    @model_validator(mode="after")
    def _holds_the_prompt(self) -> EditorSettings:
        try:
            names = [name for _, name, _, _ in Formatter().parse(self.instruction) if name is not None]
        except ValueError as error:
            raise ValueError(f"expected an instruction with {{prompt}}, its braces do not match ({error})") from error
        if set(names) != {"prompt"}:
            raise ValueError("expected {prompt} in the instruction, and nothing else in braces")
        return self


class PropagationSettings(Settings):
    """What carries edited keyframes over a clip: VACE (paper, propagation)."""

    checkpoint: Checkpoint
    sampling: SamplingSettings
    num_frames: int = Field(ge=5, description="frames made at once, 1 modulo the time stride; longer clips are chained")
    conditioning_scale: float = Field(1.0, gt=0, le=2, description="weight of the control branch")
    size: SizeSettings | None = Field(None, description="at which it works; None is the profile's")
    memory: MemorySettings = MemorySettings()
