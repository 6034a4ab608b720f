"""Which noise a training sample gets: sigmas inside one expert's range, and how much each weighs.

Separate because it is mathematics on numbers, and the one place where two experts differ: the high-noise expert trains
on sigmas from the boundary up, the low-noise one below it (Wan2.2, `boundary_ratio` 0.875).

Letters: B batch; s sigma (1 = noise, 0 = clean); u = s before the shift; k the shift.
Source: Esser et al. 2024, sections 3.1 and 5.3.2 (logit-normal, cosmap, shift).
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from pydantic import Field
from torch import Tensor

from realmaster.config import Settings
from realmaster.diffusion.flow import shift_sigmas
from realmaster.errors import ConfigError


class TimestepSettings(Settings):
    """How sigmas are drawn and weighed."""

    distribution: Literal["uniform", "logit_normal", "grid"] = Field(
        "uniform", description="before the shift: flat, a bell over the logit, or the sampler's own steps"
    )
    shift: float | None = Field(None, gt=0, description="shift of the sigmas towards noise; None takes the profile's")
    mean: float = Field(0.0, description="mean of the logit-normal; above 0 is more noise")
    spread: float = Field(1.0, gt=0, description="standard deviation of the logit-normal")
    num_grid_steps: int = Field(40, ge=1, description="steps of the sampler whose sigmas make the grid")
    pure_noise: float = Field(
        0.0, ge=0, le=1, description="share of samples at the upper end of the range, where few-step sampling starts"
    )
    weighting: Literal["none", "bell", "cosmap"] = Field(
        "none", description="weight of the loss: 1, most in the middle and 0 at the ends, or SD3's cosmap"
    )


class SigmaRange(NamedTuple):
    """The sigmas of one expert: low <= s < high, and s = 1 belongs to the upper one."""

    low: float = 0.0
    high: float = 1.0


def range_of(expert: str, boundary: float | None) -> SigmaRange:
    """Give an expert's range: `transformer` from the boundary up, `transformer_2` below it; all where there is none."""
    if boundary is None:
        return SigmaRange()
    return SigmaRange(boundary, 1.0) if expert == "transformer" else SigmaRange(0.0, boundary)


def draw_sigmas(
    batch_size: int, generator: torch.Generator, settings: TimestepSettings, within: SigmaRange, *, shift: float
) -> Tensor:
    """Draw sigmas [B] inside an expert's range, in float32 on the CPU; no draw is thrown away.

    Raises:
        ConfigError: the grid has no step inside the range.
    """
    shift = settings.shift or shift
    uniform = torch.rand(batch_size, generator=generator, dtype=torch.float64)
    pure = torch.rand(batch_size, generator=generator) < settings.pure_noise
    if settings.distribution == "grid":
        sigmas = _on_grid(uniform, settings.num_grid_steps, within, shift)
    else:
        low, high = unshift(within.low, shift), unshift(within.high, shift)
        if settings.distribution == "logit_normal":
            low, high = _normal_share(low, settings), _normal_share(high, settings)
        inner = low + uniform * (high - low)
        if settings.distribution == "logit_normal":
            # the inverse of the normal's distribution; away from 0 and 1, where it is infinite
            inner = torch.special.ndtri(inner.clamp(1e-12, 1 - 1e-12))
            inner = torch.sigmoid(settings.mean + settings.spread * inner)
        sigmas = shift_sigmas(inner, shift)
    return torch.where(pure, within.high, sigmas).clamp(within.low, within.high).float()


def unshift(sigma: float, shift: float) -> float:
    """s / (k - (k - 1) s): the inverse of `shift_sigmas`."""
    return sigma / (shift - (shift - 1) * sigma)


def loss_weights(sigmas: Tensor, settings: TimestepSettings) -> Tensor:
    """Weigh samples by their sigmas [B]; the mean weight over a uniform sigma is 1.

    bell: exp(-2 (s - 1/2)^2) - exp(-1/2), scaled (DiffSynth-Studio, `FlowMatchScheduler`).
    cosmap: 2 / (pi (1 - 2 s + 2 s^2)) (diffusers, `compute_loss_weighting_for_sd3`).
    """
    if settings.weighting == "none":
        return torch.ones_like(sigmas)
    if settings.weighting == "bell":
        mean = math.sqrt(math.pi / 2) * math.erf(math.sqrt(0.5)) - math.exp(-0.5)
        return (torch.exp(-2 * (sigmas - 0.5) ** 2) - math.exp(-0.5)) / mean
    from diffusers.training_utils import compute_loss_weighting_for_sd3

    weights: Tensor = compute_loss_weighting_for_sd3("cosmap", sigmas)
    return weights


def grid_sigmas(num_steps: int, shift: float) -> Tensor:
    """Give the sampler's own sigmas, descending from 1 (Wan's official inference), in float64."""
    return shift_sigmas(torch.linspace(1, 1 / num_steps, num_steps, dtype=torch.float64), shift)


def _on_grid(uniform: Tensor, num_steps: int, within: SigmaRange, shift: float) -> Tensor:
    grid = grid_sigmas(num_steps, shift)
    inside = grid[(grid >= within.low) & ((grid < within.high) | (within.high == 1.0))]
    if not len(inside):
        raise ConfigError(
            f"expected a step of the {num_steps}-step grid between sigma {within.low:g} and {within.high:g}, found "
            "none: raise num_grid_steps or choose another distribution"
        )
    return inside[(uniform * len(inside)).long()]


def _normal_share(inner: float, settings: TimestepSettings) -> float:
    """Share of the logit-normal below `inner`."""
    if inner in (0.0, 1.0):
        return inner
    logit = math.log(inner / (1 - inner))
    return 0.5 * (1 + math.erf((logit - settings.mean) / (settings.spread * math.sqrt(2))))
