"""When to denoise how far, and which expert does it: the schedule of a profile, never the hub's.

The hub's scheduler settings carry flow_shift 3.0 where the official code samples with 12; everything is therefore set
from the profile. Separate because a schedule is numbers: it can be looked at without a model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

from realmaster.models.profiles import SamplingSettings


@dataclass(frozen=True)
class Stage:
    """Steps in a row that one expert takes, by their numbers."""

    expert: str
    steps: range


def build_scheduler(sampling: SamplingSettings, *, device: torch.device | str = "cpu") -> Any:
    """Make a fresh scheduler with its timesteps set: Euler, or UniPC of order 2 as the official Wan code has it."""
    count = sampling.num_inference_steps
    if sampling.scheduler == "unipc":
        scheduler = UniPCMultistepScheduler(
            num_train_timesteps=1000,
            prediction_type="flow_prediction",
            use_flow_sigmas=True,
            flow_shift=sampling.shift,
            solver_order=2,
            solver_type="bh2",
        )
        scheduler.set_timesteps(count, device=device)
    else:
        scheduler = FlowMatchEulerDiscreteScheduler(num_train_timesteps=1000, shift=sampling.shift)
        scheduler.set_timesteps(sigmas=np.linspace(1, 1 / count, count).tolist(), device=device)
    scheduler.set_begin_index(0)
    return scheduler


def cut_stages(timesteps: torch.Tensor, expert_at: Callable[[float], str]) -> list[Stage]:
    """Cut descending timesteps into stages of one expert each."""
    stages: list[Stage] = []
    for number, timestep in enumerate(timesteps.tolist()):
        expert = expert_at(timestep)
        begin = number
        if stages and stages[-1].expert == expert:
            begin = stages.pop().steps.start
        stages.append(Stage(expert, range(begin, number + 1)))
    return stages
