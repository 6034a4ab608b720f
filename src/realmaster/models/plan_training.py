"""Plan a training run before anything is loaded: operations and memory of one step, time of all of them.

Separate from `plan` because a step holds other things than a translation: activations for the backward pass, gradients
and the optimizer's moments; no autoencoder and no text encoder, whose work is in the cache on the disk.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any, Literal

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
    num_experts: int,
    averaged: bool,
    gradient_checkpointing: bool,
    dtype: str | None,
    layerwise_fp8: bool,
    offload_blocks: int,
    device: str,
    available_gb: float,
    flops_per_second: float,
) -> TrainingPlan:
    """Plan steps on clips of `shape`; the frozen base is in `dtype`, the profile's if None.

    Each of `num_experts` keeps its adapter and optimizer on the device, and its average where weights are averaged.

    Raises:
        ConfigError, MissingWeightsError: the profile's parts are not known.
    """
    parts, dtype = read_parts(profile), dtype or profile.memory.dtype
    strides = describe_autoencoder(parts.autoencoder)
    latents = shape.latents(time_stride=strides[0], space_stride=strides[1])
    patch, blocks = parts.transformer["patch_size"], int(parts.transformer["num_layers"])

    def weigh(chosen: _Choice) -> tuple[dict[str, float], float]:
        """Memory by part in GB, and the operations of one forward and backward."""
        step = count_training_step(
            parts.transformer,
            latents,
            num_text_tokens=parts.num_text_tokens,
            mode=mode,
            spatial_scale=chosen.scale,
            adapted_reference=chosen.adapted,
            rank=rank,
            batch_size=chosen.batch_size,
            gradient_checkpointing=chosen.checkpointing,
            dtype=dtype,
        )
        bare = weigh_transformer(parts.transformer, dtype, layerwise_fp8=chosen.fp8)
        lora = weigh_transformer(parts.transformer, dtype, layerwise_fp8=False, rank=rank)
        plain = weigh_transformer(parts.transformer, dtype, layerwise_fp8=False)
        num_adapter = (lora.total - plain.total) // (4 if dtype == "float32" else 2)
        here = bare.total - max(chosen.offloaded - 2, 0) * bare.block  # the one that computes and the next one stay
        sizes = {
            "frozen base": here + bare.largest_layer,
            "adapter and optimizer": num_experts * num_adapter * (ADAPTER_BYTES + 4 * averaged),
            "activations": step.peak_bytes - step.kept_bytes,
            "libraries" if device == "cpu" else "CUDA context": (
                CPU_LIBRARIES_GB if device == "cpu" else CUDA_CONTEXT_GB
            )
            * GB,
        }
        return {name: size / GB for name, size in sizes.items()}, step.flops

    chosen = _Choice(
        spatial_scale, adapted_reference, batch_size, gradient_checkpointing, layerwise_fp8, min(offload_blocks, blocks)
    )
    memory, flops = weigh(chosen)
    peak = sum(memory.values())
    remedies: tuple[tuple[str, float], ...] = ()
    if peak > available_gb:
        options = _savers(chosen, mode=mode, num_blocks=blocks)
        if latents.height % (2 * patch[1]) == 0 and latents.width % (2 * patch[2]) == 0 and chosen.scale == 1:
            options["data.encode.reference_scale: 2"] = {"scale": 2}  # whole tokens at half the sides
        remedies = _find_remedies(chosen, options, lambda change: sum(weigh(change)[0].values()), available_gb)
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
        remedies=remedies,
    )


@dataclass(frozen=True)
class _Choice:
    """The settings that decide what a step holds."""

    scale: int
    adapted: bool
    batch_size: int
    checkpointing: bool
    fp8: bool
    offloaded: int


def _savers(chosen: _Choice, *, mode: str, num_blocks: int) -> dict[str, dict[str, Any]]:
    """List the settings that save memory and are not on yet, those that leave the mathematics alone first."""
    options: dict[str, dict[str, Any]] = {}
    if not chosen.checkpointing:
        options["memory.gradient_checkpointing: true"] = {"checkpointing": True}
    if chosen.batch_size > 1:
        options["data.batch_size: 1"] = {"batch_size": 1}
    for count in (num_blocks // 2, num_blocks):
        if count > chosen.offloaded:
            options[f"memory.offload_blocks: {count}"] = {"offloaded": count, "fp8": False}
    if not chosen.fp8:
        options["memory.fp8_base: true"] = {"offloaded": 0, "fp8": True}
    if mode == "cached" and chosen.adapted:
        options["reference.adapted: false"] = {"adapted": False}
    return options


def _find_remedies(
    chosen: _Choice, options: Mapping[str, dict[str, Any]], weigh: Callable[[_Choice], float], available_gb: float
) -> tuple[tuple[str, float], ...]:
    """Give every single setting that makes a step fit; where none does, the first two of the shortest lists."""
    for length in range(1, len(options) + 1):
        found = []
        for words in combinations(options, length):
            changes = {name: value for word in words for name, value in options[word].items()}
            if len(changes) < sum(len(options[word]) for word in words):
                continue  # two values for one setting
            changed = replace(chosen, **changes)
            if (changed.fp8 or changed.offloaded) and not changed.checkpointing:
                continue  # refused by the settings
            if (size := weigh(changed)) <= available_gb:
                found.append((" and ".join(words), size))
        if found:
            return tuple(found if length == 1 else found[:2])
    return ()


def require_training_memory(plan: TrainingPlan) -> None:
    """Refuse a plan that does not fit.

    Raises:
        MemoryLimitError: with the plan's figures and the settings that help, or that none does.
    """
    if plan.fits:
        return
    parts = ", ".join(f"{name} {size:.1f}" for name, size in plan.memory_gb.items())
    helps = " or ".join(f"{words} ({size:.1f} GB)" for words, size in plan.remedies)
    raise MemoryLimitError(
        f"training {plan.profile}: expected {plan.peak_gb:.1f} GB on {plan.device} (in GB: {parts}), it has "
        f"{plan.available_gb:.1f}: "
        + (f"set {helps}" if helps else "no setting helps: use fewer frames, or a smaller profile")
    )
