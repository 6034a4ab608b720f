"""Plan a translation before anything is loaded: tokens, operations, memory by part and by stage, time.

Separate from `plan_parts`, which lays a window's pieces out: here is the whole clip, whether it fits this machine, and
which settings help if it does not.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from realmaster.errors import MemoryLimitError
from realmaster.models.machine import GB
from realmaster.models.machine_options import check_everywhere
from realmaster.models.plan_parts import count_window, count_windows, estimate_seconds, lay_out, weigh
from realmaster.models.profiles import Profile
from realmaster.types import VideoShape

SAVERS: tuple[dict[str, Any], ...] = (  # what helps, the harmless first
    {"memory.drop_text_encoder": True},
    {"memory.vae_tiling": True},
    {"memory.offload": "experts"},
    {"memory.reference_cache.dtype": "float8"},
    {"memory.layerwise_fp8": True},
    {"memory.reference_cache.device": "host"},
    {"memory.offload": "group"},
)


@dataclass(frozen=True)
class Plan:
    """A translation, planned: figures of one window and of the clip; sizes in GB of 10^9 bytes."""

    profile: str
    device: str
    clip: VideoShape
    window: VideoShape
    num_windows: int
    num_tokens: int
    num_reference_tokens: int
    num_text_tokens: int
    num_steps: int
    num_forwards: int
    pflops: dict[str, float]
    pflops_total: float
    memory_gb: dict[str, float]
    stages_gb: dict[str, float]
    peak_gb: float
    host_gb: float
    available_gb: float
    seconds: dict[str, float] = field(default_factory=dict)
    remedies: tuple[tuple[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    available_host_gb: float | None = None

    @property
    def fits(self) -> bool:
        """Say whether the accelerator's memory is enough, and the host's for what waits there."""
        return self.peak_gb <= self.available_gb and self.fits_host

    @property
    def fits_host(self) -> bool:
        """Say whether the host's memory is enough for what waits there; true where it is not known."""
        return self.available_host_gb is None or self.host_gb <= self.available_host_gb

    @property
    def seconds_total(self) -> float:
        """Sum up the stages' seconds."""
        return sum(self.seconds.values())


def plan_translation(
    profile: Profile,
    clip: VideoShape,
    *,
    device: str,
    available_gb: float,
    flops_per_second: float,
    available_host_gb: float | None = None,
    transfer_seconds: float | None = None,
) -> Plan:
    """Plan the translation of a clip on a device that multiplies matrices at `flops_per_second`.

    `available_host_gb` is the memory of the host beside an accelerator, None where it is not asked about;
    `transfer_seconds` what a frame takes to be carried to full size (`pipelines/carry_time.py`), None leaves it out.

    Raises:
        ConfigError, MissingWeightsError: the profile's parts are not known, or its options cannot work together.
    """
    check_everywhere(profile)
    counts = count_window(profile, clip)
    weights = weigh(profile, counts)
    memory = lay_out(profile, counts, weights, device, available_gb)
    num_windows = count_windows(profile, clip.num_frames)
    few, sampling = profile.few_step.enabled, profile.sampling
    num_steps = profile.few_step.num_inference_steps if few else sampling.num_inference_steps
    branches = 1 if few or sampling.guidance_scale == 1 else 2
    readings = counts.parts.num_experts * (1 if profile.memory.share_reference_between_guidance else branches)
    work = counts.work
    total = counts.text.flops + num_windows * work.total(
        num_steps=num_steps, num_branches=branches, num_references=readings
    )
    forwards = num_steps * branches
    plan = Plan(
        profile=profile.name,
        device=device,
        clip=clip,
        window=counts.window,
        num_windows=num_windows,
        num_tokens=counts.num_tokens,
        num_reference_tokens=counts.num_reference_tokens,
        num_text_tokens=counts.parts.num_text_tokens,
        num_steps=num_steps,
        num_forwards=forwards,
        pflops={
            "text": counts.text.flops / 1e15,
            "encode": work.encode / 1e15,
            "reference pass": work.reference / 1e15,
            "forward": work.step / 1e15,
            "decode": work.decode / 1e15,
        }
        | ({"refine": work.refine / 1e15} if work.refine else {}),
        pflops_total=total / 1e15,
        memory_gb={name: size / GB for name, size in memory.parts.items() if size},
        stages_gb={name: size / GB for name, size in memory.stages.items()},
        peak_gb=memory.peak / GB,
        host_gb=memory.host / GB,
        available_gb=available_gb,
        seconds=estimate_seconds(profile, counts, weights, num_windows, readings, forwards, device, flops_per_second)
        | ({} if transfer_seconds is None else {"transfer": clip.num_frames * transfer_seconds}),
        notes=tuple(_notes(profile, device)),
        available_host_gb=available_host_gb,
    )
    if plan.fits:
        return plan
    remedies = tuple(_remedies(profile, clip, device, available_gb, available_host_gb))
    return replace(plan, remedies=remedies)


def require_memory(plan: Plan) -> None:
    """Refuse a plan that does not fit.

    Raises:
        MemoryLimitError: with the plan's figures and the settings that help, or that none does.
    """
    if plan.fits:
        return
    helps = " or ".join(f"--set {words} ({size:.1f} GB)" for words, size in plan.remedies)
    advice = f"use {helps}" if helps else "no setting helps: shorten the window, or choose a smaller profile"
    if plan.peak_gb <= plan.available_gb:
        raise MemoryLimitError(
            f"profile {plan.profile}: expected {plan.host_gb:.1f} GB of host memory for what waits there, it has "
            f"{plan.available_host_gb:.1f}: {advice}"
        )
    stage = max(plan.stages_gb, key=lambda name: plan.stages_gb[name])
    parts = ", ".join(f"{name} {size:.1f}" for name, size in plan.memory_gb.items())
    no_cuda = ", no CUDA device is used" if plan.device == "cpu" else ""
    raise MemoryLimitError(
        f"profile {plan.profile}: expected {plan.peak_gb:.1f} GB on {plan.device} (at its peak, {stage}; parts in GB: "
        f"{parts}), it has {plan.available_gb:.1f}{no_cuda}: {advice}"
    )


def _remedies(
    profile: Profile, clip: VideoShape, device: str, available_gb: float, available_host_gb: float | None
) -> Iterator[tuple[str, float]]:
    """Find the shortest lists of settings that make the plan fit; at most two."""
    found = 0
    for length in range(1, len(SAVERS) + 1):
        for chosen in itertools.combinations(SAVERS, length):
            changes: dict[str, Any] = {name: value for change in chosen for name, value in change.items()}
            if len(changes) < length or _has_no_effect(profile, changes, device):
                continue
            changed = profile.change(changes)
            counts = count_window(changed, clip)
            laid = lay_out(changed, counts, weigh(changed, counts), device, available_gb)
            host_is_enough = available_host_gb is None or laid.host <= available_host_gb * GB
            if laid.peak <= available_gb * GB and host_is_enough:
                yield " --set ".join(f"{name}={_yaml(value)}" for name, value in changes.items()), laid.peak / GB
                found += 1
                if found == 2:
                    return
        if found:
            return


def _has_no_effect(profile: Profile, changes: Mapping[str, Any], device: str) -> bool:
    current = profile.model_dump()
    for name, value in changes.items():
        place: Any = current
        for key in name.split("."):
            place = place[key]
        if place == value:
            return True
        if device == "cpu" and name in ("memory.offload", "memory.reference_cache.device"):
            return True
        if name == "memory.offload" and value == "experts" and profile.checkpoint.transformer_2 is None:
            return True
        if name.startswith("memory.reference_cache") and profile.reference.mode == "joint":
            return True
    return False


def _notes(profile: Profile, device: str) -> Iterator[str]:
    """Say what a plan leaves out."""
    if device == "cpu" and profile.memory.dtype != "float32":
        yield f"the time is that of float32; a CPU without units for {profile.memory.dtype} is far slower in it"
    if profile.memory.step_cache != "none":
        yield f"step_cache {profile.memory.step_cache} skips work that depends on the clip: time is without it"
    if profile.memory.compile:
        yield "compile: time and activations are those of the model as it is, compiled blocks take less of both"
    if profile.memory.context_parallel > 1:
        yield f"context_parallel {profile.memory.context_parallel}: figures are those of one accelerator alone"


def _yaml(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
