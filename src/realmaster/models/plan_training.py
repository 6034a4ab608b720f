"""Plan a training run before anything is loaded: operations and memory of one step, time of all of them.

Separate from `plan` because a step holds other things than a translation: activations for the backward pass, gradients
and the optimizer's moments; no autoencoder and no text encoder, whose work is in the cache on the disk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realmaster.errors import MemoryLimitError
from realmaster.models.arithmetic import count_training_step, weigh_transformer
from realmaster.models.arithmetic_parts import describe_autoencoder
from realmaster.models.machine import GB
from realmaster.models.plan_parts import CPU_LIBRARIES_GB, CPU_SHARE, CUDA_CONTEXT_GB, GPU_SHARE
from realmaster.models.profiles import Profile
from realmaster.models.published import read_parts
from realmaster.types import VideoShape

ADAPTER_BYTES = 16  # a parameter: weight, gradient and AdamW's two moments, each in float32


@dataclass(frozen=True)
class TrainingPlan:
    """One expert's training, planned; sizes in GB of 10^9 bytes, operations of one optimizer step on one device."""

    profile: str
    device: str
    clip: str
    num_tokens: int
    num_steps: int
    pflops: float
    memory_gb: dict[str, float]
    peak_gb: float
    available_gb: float
    seconds_per_step: float
    remedies: tuple[tuple[str, float], ...]

    @property
    def fits(self) -> bool:
        """Say whether the device's memory is enough."""
        return self.peak_gb <= self.available_gb

    @property
    def seconds_total(self) -> float:
        """Seconds of all steps; validation and checkpoints come on top."""
        return self.num_steps * self.seconds_per_step


def plan_training(
    profile: Profile,
    shape: VideoShape,
    *,
    mode: Literal["cached", "joint"],
    spatial_scale: int,
    adapted_reference: bool,
    rank: int,
    batch_size: int,
    accumulation: int,
    num_steps: int,
    gradient_checkpointing: bool,
    dtype: str | None,
    layerwise_fp8: bool,
    offload_blocks: int,
    device: str,
    available_gb: float,
    flops_per_second: float,
) -> TrainingPlan:
    """Plan steps on clips of `shape`; the frozen base is in `dtype`, the profile's if None.

    Raises:
        ConfigError, MissingWeightsError: the profile's parts are not known.
    """
    parts, dtype = read_parts(profile), dtype or profile.memory.dtype
    strides = describe_autoencoder(parts.autoencoder)
    latents = shape.latents(time_stride=strides[0], space_stride=strides[1])
    patch = parts.transformer["patch_size"]

    def weigh(*, scale: int, adapted: bool, fp8: bool, offloaded: int) -> tuple[dict[str, float], float]:
        """Memory by part in GB, and the operations of one forward and backward."""
        step = count_training_step(
            parts.transformer,
            latents,
            num_text_tokens=parts.num_text_tokens,
            mode=mode,
            spatial_scale=scale,
            adapted_reference=adapted,
            rank=rank,
            batch_size=batch_size,
            gradient_checkpointing=gradient_checkpointing,
            dtype=dtype,
        )
        bare = weigh_transformer(parts.transformer, dtype, layerwise_fp8=fp8)
        lora = weigh_transformer(parts.transformer, dtype, layerwise_fp8=False, rank=rank)
        plain = weigh_transformer(parts.transformer, dtype, layerwise_fp8=False)
        num_adapter = (lora.total - plain.total) // (4 if dtype == "float32" else 2)
        here = bare.total - max(offloaded - 2, 0) * bare.block  # the one that computes and the next one stay
        sizes = {
            "frozen base": here + bare.largest_layer,
            "adapter and optimizer": num_adapter * ADAPTER_BYTES,
            "activations": step.peak_bytes - step.kept_bytes,
            "libraries" if device == "cpu" else "CUDA context": (
                CPU_LIBRARIES_GB if device == "cpu" else CUDA_CONTEXT_GB
            )
            * GB,
        }
        return {name: size / GB for name, size in sizes.items()}, step.flops

    chosen = {"scale": spatial_scale, "adapted": adapted_reference, "fp8": layerwise_fp8, "offloaded": offload_blocks}
    memory, flops = weigh(**chosen)  # type: ignore[arg-type]  # a mapping of settings by name
    peak = sum(memory.values())
    remedies = []
    if peak > available_gb:
        half = int(parts.transformer["num_layers"]) // 2
        options = {
            "memory.fp8_base: true": {"fp8": True, "offloaded": 0},
            f"memory.offload_blocks: {half}": {"fp8": False, "offloaded": half},
            "reference.adapted: false": {"adapted": False} if mode == "cached" else chosen,
        }
        if (
            latents.height % (2 * patch[1]) == 0 and latents.width % (2 * patch[2]) == 0
        ):  # whole tokens at half the sides
            options["data.encode.reference_scale: 2"] = {"scale": 2}
        for words, change in options.items():
            changed = {**chosen, **change}
            size = peak if changed == chosen else sum(weigh(**changed)[0].values())  # type: ignore[arg-type]
            if size <= available_gb:
                remedies.append((words, size))
    share = CPU_SHARE if device == "cpu" else GPU_SHARE
    work = flops * accumulation
    return TrainingPlan(
        profile=profile.name,
        device=device,
        clip=f"{batch_size} of {shape.num_frames} frames of {shape.width}x{shape.height}",
        num_tokens=latents.num_tokens((patch[0], patch[1], patch[2])),
        num_steps=num_steps,
        pflops=work / 1e15,
        memory_gb=memory,
        peak_gb=peak,
        available_gb=available_gb,
        seconds_per_step=work / (flops_per_second * share),
        remedies=tuple(remedies),
    )


def require_training_memory(plan: TrainingPlan) -> None:
    """Refuse a plan that does not fit.

    Raises:
        MemoryLimitError: with the plan's figures and the settings that help, or that none alone does.
    """
    if plan.fits:
        return
    parts = ", ".join(f"{name} {size:.1f}" for name, size in plan.memory_gb.items())
    helps = " or ".join(f"{words} ({size:.1f} GB)" for words, size in plan.remedies)
    raise MemoryLimitError(
        f"training {plan.profile}: expected {plan.peak_gb:.1f} GB on {plan.device} (in GB: {parts}), it has "
        f"{plan.available_gb:.1f}: "
        + (f"set {helps}" if helps else "no single setting helps: combine them, use fewer frames, or a smaller profile")
    )
