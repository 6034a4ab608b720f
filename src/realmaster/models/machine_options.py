"""Put into effect what a profile asks of the machine; refuse at once, in one line, what cannot work here.

Everything here is diffusers' own: layerwise casting, group offload, attention dispatch, regional compilation. Separate
from `loading` because none of it changes what a model is, and each option has to be checked before weights are read.

Which options compose with the reference is written in docs/wan.md; those that do not are refused in `check_options`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from realmaster.errors import ConfigError
from realmaster.models.checkpoint import FETCH, read_config
from realmaster.models.context_parallel import check_context_parallel, share_tokens
from realmaster.models.machine import inspect_machine
from realmaster.models.memory_settings import MemorySettings
from realmaster.models.placement import OneAtATime, free_bytes
from realmaster.models.profiles import Profile
from realmaster.types import VideoShape, round_up_frames

logger = logging.getLogger(__name__)

GB = 1e9
WORTH_A_PLAN = 0.01  # share of the memory that weights have to take: a plan counts for seconds
FP8 = torch.float8_e4m3fn


def check_options(profile: Profile, *, mode: str, device: torch.device) -> None:
    """Refuse options that cannot work together, with this reference mode, or on this device.

    Raises:
        ConfigError: naming the setting, what it needs, and what to set instead.
    """
    memory = profile.memory
    check_everywhere(profile)
    if memory.attention_backend is not None:
        check_attention_backend(memory.attention_backend)
    if memory.step_cache == "mag":
        _check_ratios(profile)
    if profile.few_step.enabled and profile.few_step.lora is None:
        raise ConfigError(
            "expected the file of a distilled LoRA for few-step sampling, got none: name it with --few-step"
        )
    if memory.offload == "group" and memory.compile and memory.offload_stream and device.type == "cuda":
        raise ConfigError(
            "expected memory.offload_stream false with memory.compile and memory.offload group, got true: "
            "compiled blocks must not see weights arrive on another stream; set it false, or compile false"
        )
    if memory.layerwise_fp8 and memory.dtype == "float32" and device.type != "cpu":
        raise ConfigError(
            "expected memory.dtype bfloat16 with memory.layerwise_fp8, got float32: set memory.dtype=bfloat16"
        )
    if memory.dtype == "float16" and device.type == "cpu":
        raise ConfigError("expected memory.dtype float32 or bfloat16 on a CPU, got float16: set memory.dtype=float32")
    if mode == "joint" and memory.context_parallel > 1:
        raise ConfigError(
            f"expected memory.context_parallel 1 with the joint reference, got {memory.context_parallel}: parts of one "
            "sequence [reference, noisy] would not know which part they are; use a cached adapter"
        )
    if memory.context_parallel > 1 and profile.reference.spatial_scale != 1:
        raise ConfigError(
            f"expected reference.spatial_scale 1 with memory.context_parallel, got {profile.reference.spatial_scale}: "
            "positions of a smaller reference are not shared out; set one of them to 1"
        )
    check_context_parallel(memory, device)


def check_everywhere(profile: Profile) -> None:
    """Refuse options that cannot work together on any machine: a plan for another one asks this too.

    Raises:
        ConfigError: naming the setting, what it needs, and what to set instead.
    """
    memory = profile.memory
    if memory.step_cache == "first_block" and memory.context_parallel > 1:
        raise ConfigError(
            "expected memory.step_cache none, mag or taylorseer with memory.context_parallel, got first_block: each "
            "process would decide by its own part of the tokens whether to skip, and wait for the others for ever"
        )
    if memory.step_cache != "none" and profile.few_step.enabled:
        raise ConfigError(
            f"expected memory.step_cache none with few-step sampling, got {memory.step_cache}: "
            f"{profile.few_step.num_inference_steps} steps are too different from each other to skip any"
        )
    if memory.offload == "experts" and profile.checkpoint.transformer_2 is None:
        raise ConfigError(
            f"expected memory.offload none or group for {profile.name}, which has one transformer, got experts: "
            "choose group to fit a smaller card"
        )
    if memory.compile and memory.layerwise_fp8:
        raise ConfigError(
            "expected memory.compile false with memory.layerwise_fp8, got both: a compiled block would break off at "
            "every layer that casts its weights, and be compiled again and again; choose one"
        )


def check_attention_backend(name: str) -> None:
    """Refuse an attention back-end that does not exist, or whose package is not installed.

    Raises:
        ConfigError: with the names there are, or with what is missing.
    """
    from diffusers.models.attention_dispatch import AttentionBackendName, _check_attention_backend_requirements

    names = [member.value for member in AttentionBackendName]
    if name not in names:
        shown = ", ".join(value for value in names if not value.startswith("_"))
        raise ConfigError(f"expected memory.attention_backend among {shown}, got {name!r}: choose one of them")
    try:
        _check_attention_backend_requirements(AttentionBackendName(name))
    except RuntimeError as error:
        raise ConfigError(
            f"memory.attention_backend {name}: {str(error).splitlines()[0]} Or set it to native"
        ) from error


def check_sizes(profile: Profile, folder: Path, *, transformer: str, remedy: str = FETCH) -> None:
    """Refuse sizes that do not fit the checkpoint in `folder`, whose settings say how its parts divide them.

    Raises:
        ConfigError: with the nearest sizes that do, or the most.
        MissingWeightsError: the checkpoint's settings cannot be read; the message says `remedy`.
    """
    vae = read_config(folder / "vae" / "config.json", remedy=remedy)
    settings = read_config(folder / transformer / "config.json", needs=("patch_size",), remedy=remedy)
    patch = settings["patch_size"]
    stages = len(vae.get("dim_mult", (1, 2, 4, 4)))
    side = vae.get("scale_factor_spatial") or 2 ** (stages - 1) * (vae.get("patch_size") or 1)
    stride = side * max(patch[1:])
    check_divisible(profile, time_stride=vae.get("scale_factor_temporal") or 4, space_stride=stride)
    most = stride * (settings.get("rope_max_seq_len") or 1024)
    for name, pixels in (("height", profile.size.height), ("width", profile.size.width)):
        if pixels > most:
            raise ConfigError(
                f"expected size.{name} of at most {most} pixels, for which {profile.name} has positions, got {pixels}: "
                "lower it; the output has the input's size all the same"
            )


def check_divisible(profile: Profile, *, time_stride: int, space_stride: int) -> None:
    """Refuse sizes that do not divide into whole tokens of `space_stride`, and windows of no whole latent frames.

    Raises:
        ConfigError: with the nearest sizes that do.
    """
    sizes = [(profile.size.height, profile.size.width), *((size.height, size.width) for size in profile.size.buckets)]
    for height, width in sizes:
        for name, pixels in (("height", height), ("width", width)):
            if pixels % space_stride:
                below, above = pixels // space_stride * space_stride, -(-pixels // space_stride) * space_stride
                raise ConfigError(
                    f"expected a {name} in multiples of {space_stride} pixels for {profile.name}, got {pixels}: "
                    f"the nearest are {below} and {above}"
                )
    for name in ("num_frames", "overlap"):
        frames = getattr(profile.window, name)
        if frames % time_stride != 1:
            above = round_up_frames(frames, time_stride)
            raise ConfigError(
                f"expected window.{name} of {time_stride}n+1 frames for {profile.name}, got {frames}: "
                f"the nearest are {above - time_stride} and {above}"
            )


def check_room(profile: Profile, clip: VideoShape | None, *, device: torch.device) -> None:
    """Refuse a translation that does not fit, by its plan; without a clip, what the shortest one would take.

    Raises:
        MemoryLimitError: with the plan's figures and the settings that help.
    """
    from realmaster.models.plan import plan_translation, require_memory

    processes = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))  # each of them holds what waits in host memory
    host_gb, free = inspect_machine(profile.folder).free_memory_gb / processes, free_bytes(device)
    available_gb = host_gb if free is None else free / GB
    weights = sum(file.stat().st_size for file in profile.folder.glob("*/*.safetensors"))
    if weights < WORTH_A_PLAN * min(available_gb, host_gb) * GB:
        return
    require_memory(
        plan_translation(
            profile,
            clip or VideoShape(1, profile.size.height, profile.size.width),
            device=str(device),
            available_gb=available_gb,
            available_host_gb=host_gb,
            flops_per_second=1.0,  # only the memory is asked for
        )
    )


def apply_options(
    autoencoder: Any, experts: Mapping[str, Any], memory: MemorySettings, *, device: torch.device, dtype: torch.dtype
) -> None:
    """Set tiling, float8 storage, attention back-end, context parallelism and compilation, in the order they need.

    Adapters come before this: layerwise casting and compilation take the layers as they find them.
    """
    if memory.vae_tiling:
        autoencoder.enable_tiling()
    for expert in experts.values():
        if memory.layerwise_fp8:
            expert.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=dtype)
        choose_attention(expert, memory.attention_backend)
        share_tokens(expert, memory)
        if memory.compile:
            expert.compile_repeated_blocks()


def choose_attention(transformer: Any, backend: str | None) -> None:
    """Let a transformer's attention run on a back-end of diffusers' dispatch; None leaves the choice to torch."""
    if backend is None:
        return
    from diffusers.models.attention_dispatch import attention_backend

    with attention_backend(backend):  # else it would become every other model's too
        transformer.set_attention_backend(backend)


def place(profile: Profile, experts: Mapping[str, Any], *, device: torch.device) -> OneAtATime | None:
    """Put the transformers where they belong; give the swap if one at a time is on the device.

    Two experts that both fit, with the reference's cache and the work of every stage, are not swapped.
    """
    from realmaster.models.plan_parts import fit_together

    memory = profile.memory
    if memory.offload == "group":
        for expert in experts.values():
            expert.enable_group_offload(
                onload_device=device,
                offload_device=torch.device("cpu"),
                offload_type="block_level",
                num_blocks_per_group=memory.blocks_per_group,
                use_stream=memory.offload_stream and device.type == "cuda",
                record_stream=False,  # it would not wait for the device, and hold as many groups as are queued
            )
        return None
    if memory.offload == "experts":
        free = free_bytes(device)
        if free is not None:
            ours = torch.cuda.memory_reserved(device) if device.type == "cuda" else 0  # the plan counts these parts too
            if not fit_together(profile, (free + ours) / GB):
                logger.info("%.1f GB free on %s: the experts come one at a time", free / GB, device)
                return OneAtATime(experts, device)
    for expert in experts.values():
        expert.to(device)
    return None


def _check_ratios(profile: Profile) -> None:
    for name, ratios in (("ratios", profile.step_cache.ratios), ("ratios_2", profile.step_cache.ratios_2)):
        if not ratios and (name == "ratios" or profile.checkpoint.transformer_2 is not None):
            raise ConfigError(
                f"expected step_cache.{name} for memory.step_cache mag, got none: they are measured for a checkpoint "
                "(docs/wan.md says how), or choose first_block"
            )
