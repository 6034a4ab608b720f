"""Count the floating-point operations of a window, stage by stage, without computing anything.

Separate because it asks only for modules and sizes: the modules stand on torch's meta device, where a forward costs
nothing and torch counts what it would have cost. What the reference adds is attention alone, and a formula.

Letters: N tokens, M keys, D width, L layers. Attention costs 4 N M D a layer: queries by keys, weights by values.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch.utils.flop_counter import FlopCounterMode

from realmaster.types import VideoShape


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one window, by stage; `step` is one forward of one guidance branch."""

    encode: float
    reference: float
    step: float
    decode: float

    def total(self, *, num_steps: int, num_branches: int) -> float:
        """Sum up a window: `num_branches` is 2 under guidance, and the reference is read once for each."""
        return self.encode + num_branches * (self.reference + num_steps * self.step) + self.decode


def count_work(
    autoencoder: Any,
    transformer: Any,
    shape: VideoShape,
    *,
    num_text_tokens: int,
    reference: Literal["cached", "joint"],
) -> Work:
    """Count a window's work for a diffusers `AutoencoderKLWan` and `WanTransformer3DModel` on the meta device.

    Args:
        autoencoder: encodes [1, 3, F, H, W] and decodes.
        transformer: predicts from latents, a timestep and text.
        shape: the window, in pixels, at the size of the models.
        num_text_tokens: length of the text given to the cross-attention.
        reference: how the render is read.
    """
    video = torch.empty(1, 3, shape.num_frames, shape.height, shape.width, device="meta")
    text = torch.empty(1, num_text_tokens, transformer.config.text_dim, device="meta")
    timestep = torch.zeros(1, device="meta")
    latents, encode = _count(lambda: autoencoder.encode(video).latent_dist.mode())
    _, decode = _count(lambda: autoencoder.decode(latents).sample)
    _, plain = _count(lambda: transformer(latents, timestep=timestep, encoder_hidden_states=text).sample)
    patch = transformer.config.patch_size
    num_tokens = latents[0, 0].numel() // (patch[0] * patch[1] * patch[2])
    width = transformer.config.num_attention_heads * transformer.config.attention_head_dim
    square = 4.0 * num_tokens**2 * width * transformer.config.num_layers  # self-attention of N tokens among themselves
    if reference == "cached":  # N queries see 2 N keys
        return Work(encode, plain, plain + square, decode)
    return Work(encode, 0.0, 2 * plain + 2 * square, decode)  # 2 N queries see 2 N keys


def _count(call: Callable[[], Any]) -> tuple[Any, float]:
    """Run a call on the meta device; give its result and its floating-point operations."""
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        result = call()
    return result, float(counter.get_total_flops())
