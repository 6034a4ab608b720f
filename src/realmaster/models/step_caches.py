"""Skip parts of denoising steps that change little: diffusers' step caches, with the reference in place.

Separate because a step cache lives for one clip: it has to know how many steps each expert takes, and it must forget
between windows and experts. The reference pass is never skipped: `ReferenceAttention.encode` starts from a fresh state.

- first_block: the first block is always computed; when its residual hardly changed, the others are skipped.
- mag: magnitudes measured beforehand say which steps may be skipped; without them it cannot run.
- taylorseer: between computed steps the output projection's result is extrapolated and the blocks are skipped. The
  other variant would keep two tensors of every layer, 80 GB at 32,760 tokens, and its patterns miss Wan's layers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from realmaster.models.profiles import Profile


@contextmanager
def step_caches(profile: Profile, experts: Mapping[str, Any], num_steps: Mapping[str, int]) -> Iterator[None]:
    """Enable a profile's step cache on every expert that takes steps, and disable it again."""
    enabled = []
    try:
        for name, expert in experts.items():
            if profile.memory.step_cache != "none" and num_steps.get(name, 0) > 0:
                expert.enable_cache(_build(profile, name, num_steps[name]))
                enabled.append(expert)
        yield
    finally:
        for expert in enabled:
            expert.disable_cache()


def forget(expert: Any) -> None:
    """Let an expert's step cache, if on, forget: what comes next is another clip, window or expert."""
    if expert.is_cache_enabled:
        expert._reset_stateful_cache()


def _build(profile: Profile, name: str, num_steps: int) -> Any:
    from diffusers import FirstBlockCacheConfig, TaylorSeerCacheConfig
    from diffusers.hooks import MagCacheConfig

    settings = profile.step_cache
    if profile.memory.step_cache == "first_block":
        return FirstBlockCacheConfig(threshold=settings.threshold)
    if profile.memory.step_cache == "mag":
        return MagCacheConfig(
            threshold=settings.threshold,
            max_skip_steps=settings.max_skips,
            retention_ratio=settings.keep,
            num_inference_steps=num_steps,
            mag_ratios=list(settings.ratios if name == "transformer" else settings.ratios_2),
        )
    return TaylorSeerCacheConfig(
        cache_interval=settings.interval,
        disable_cache_before_step=settings.first_steps,
        max_order=settings.order,
        use_lite_mode=True,
    )
