"""Rectified flow: the straight path between clean latents and noise, and what the network predicts on it.

Letters: x clean latents, n noise, s sigma (1 = noise, 0 = clean); tensors [B, C, F, H, W], sigmas [B].
Source: Liu et al. 2022 (rectified flow); Esser et al. 2024, section 3 (the shift of sigmas).
"""

from __future__ import annotations

from torch import Tensor


def add_noise(clean_latents: Tensor, noise: Tensor, sigmas: Tensor) -> Tensor:
    """(1 - s) x + s n."""
    s = per_sample(sigmas, clean_latents)
    return (1 - s) * clean_latents + s * noise


def velocity(clean_latents: Tensor, noise: Tensor) -> Tensor:
    """n - x, the derivative of the path by sigma."""
    return noise - clean_latents


def predict_clean(noisy_latents: Tensor, predicted_velocity: Tensor, sigmas: Tensor) -> Tensor:
    """z - s v, the clean latents that a velocity points at."""
    return noisy_latents - per_sample(sigmas, noisy_latents) * predicted_velocity


def shift_sigmas(sigmas: Tensor, shift: float) -> Tensor:
    """k s / (1 + (k - 1) s): shift k > 1 spends more steps at high noise."""
    return shift * sigmas / (1 + (shift - 1) * sigmas)


def guide(conditional: Tensor, unconditional: Tensor, scale: float) -> Tensor:
    """u + g (c - u): classifier-free guidance (Ho and Salimans 2022, eq. 6)."""
    return unconditional + scale * (conditional - unconditional)


def per_sample(values: Tensor, like: Tensor) -> Tensor:
    """Shape [B] (or scalar) values to multiply [B, ...]."""
    return values.to(like).reshape(-1, *[1] * (like.ndim - 1))
