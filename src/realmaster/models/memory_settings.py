"""What a profile asks of the machine: precision, what stays on the accelerator, what is cached between steps.

Separate from `profiles` because none of it says what is made, only how; `machine_options` puts it into effect.
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from realmaster.config import Settings


class ReferenceCacheSettings(Settings):
    """How the reference's keys and values are kept."""

    dtype: Literal["computed", "bfloat16", "float8"] = Field(
        "computed", description="computed is exact; float8 (e4m3, a scale for every head) takes half of bfloat16"
    )
    device: Literal["model", "host"] = Field("model", description="where they are kept; host is pinned memory")


class MemorySettings(Settings):
    """What stays where, and in which precision."""

    dtype: Literal["float32", "bfloat16", "float16"] = Field(
        "float32", description="of transformers and text encoder; the autoencoder is always float32"
    )
    vae_tiling: bool = Field(False, description="encode and decode in tiles; for frames larger than the tiles")
    drop_text_encoder: bool = Field(False, description="free the text encoder once the prompts are encoded")
    offload: Literal["none", "experts", "group"] = Field(
        "none",
        description="none: all on the accelerator; experts: one expert at a time, unless both fit; "
        "group: blocks of each transformer come one after the other",
    )
    blocks_per_group: int = Field(1, ge=1, description="blocks that come together under offload: group")
    offload_stream: bool = Field(True, description="fetch the next group while one computes (CUDA only)")
    layerwise_fp8: bool = Field(False, description="keep the transformers' weights in float8, compute in dtype")
    compile: bool = Field(False, description="compile the transformers' blocks")
    attention_backend: str | None = Field(None, description="name of diffusers' attention dispatch; None takes native")
    context_parallel: int = Field(1, ge=1, description="accelerators that share one clip's tokens; run with torchrun")
    context_parallel_kind: Literal["ulysses", "ring"] = Field("ulysses", description="how they exchange them")
    reference_cache: ReferenceCacheSettings = ReferenceCacheSettings()
    share_reference_between_guidance: bool = Field(
        True, description="read the reference once, with the empty prompt, for both branches of guidance"
    )
    step_cache: Literal["none", "first_block", "mag", "taylorseer"] = Field(
        "none", description="skip parts of a step that change little; see step_cache"
    )


class StepCacheSettings(Settings):
    """When a step cache skips; diffusers' names and defaults in brackets."""

    threshold: float = Field(0.05, gt=0, description="first_block, mag: change below which a step is skipped")
    max_skips: int = Field(3, ge=1, description="mag: steps skipped in a row (max_skip_steps)")
    keep: float = Field(0.2, ge=0, le=1, description="mag: share of the steps at the start that never skip (retention)")
    ratios: tuple[float, ...] = Field((), description="mag: measured magnitudes, a step each, of transformer")
    ratios_2: tuple[float, ...] = Field((), description="mag: measured magnitudes of transformer_2")
    interval: int = Field(5, ge=2, description="taylorseer: every how many steps is computed (cache_interval)")
    order: int = Field(1, ge=1, le=3, description="taylorseer: order of the prediction (max_order)")
    first_steps: int = Field(3, ge=1, description="taylorseer: steps computed first (disable_cache_before_step)")
