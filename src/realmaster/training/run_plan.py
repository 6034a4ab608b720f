"""Plan a run from its settings, before anything is loaded: for `realmaster plan --training`, and to refuse it in time.

Separate from `realmaster.models.plan_training`, which knows sizes and no settings.
"""

from __future__ import annotations

import torch

from realmaster.models.arithmetic_parts import describe_autoencoder
from realmaster.models.machine import GB, inspect_machine
from realmaster.models.placement import free_bytes
from realmaster.models.plan_training import TrainingPlan, plan_training, require_training_memory
from realmaster.models.profiles import Profile
from realmaster.models.published import read_parts
from realmaster.training.buckets import check_buckets
from realmaster.training.settings import TrainSettings
from realmaster.types import VideoShape

WORTH_A_PLAN = 0.01  # share of the memory that weights have to take: a plan counts for seconds


def plan_run(
    settings: TrainSettings, profile: Profile, *, device: str, available_gb: float, flops_per_second: float
) -> TrainingPlan:
    """Plan the steps of a run on its largest bucket.

    Raises:
        ConfigError: a bucket does not fit the models. MissingWeightsError: see `read_parts`.
    """
    parts = read_parts(profile)
    time_stride, space_stride, _ = describe_autoencoder(parts.autoencoder)
    check_buckets(
        settings.data.encode.buckets,
        time_stride=time_stride,
        space_stride=space_stride * max(parts.transformer["patch_size"][1:]),
        reference_scale=settings.data.encode.reference_scale,
    )
    largest = max(settings.data.encode.buckets, key=lambda size: size.num_frames * size.height * size.width)
    return plan_training(
        profile,
        VideoShape(largest.num_frames, largest.height, largest.width),
        mode=settings.reference.mode,
        spatial_scale=settings.data.encode.reference_scale,
        adapted_reference=settings.reference.adapted,
        rank=settings.adapter.rank,
        batch_size=settings.data.batch_size,
        accumulation=settings.data.accumulation,
        num_steps=sum(expert.num_steps for expert in settings.experts.values()),
        num_experts=len(settings.experts),
        averaged=settings.average is not None,
        gradient_checkpointing=settings.memory.gradient_checkpointing,
        dtype=settings.memory.dtype,
        layerwise_fp8=settings.memory.fp8_base,
        offload_blocks=settings.memory.offload_blocks,
        device=device,
        available_gb=available_gb,
        flops_per_second=flops_per_second,
    )


def require_memory(settings: TrainSettings, profile: Profile, *, device: torch.device) -> None:
    """Refuse a run that does not fit into what is free, by its plan; models too small to matter go without one.

    Raises:
        MemoryLimitError: with the plan's figures and the settings that help.
    """
    free = free_bytes(device)
    available_gb = inspect_machine(profile.folder).free_memory_gb if free is None else free / GB
    weights = sum(file.stat().st_size for file in profile.folder.glob("*/*.safetensors"))
    if weights < WORTH_A_PLAN * available_gb * GB:
        return
    require_training_memory(
        plan_run(settings, profile, device=str(device), available_gb=available_gb, flops_per_second=1.0)
    )
