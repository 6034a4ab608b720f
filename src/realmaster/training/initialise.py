"""A start for toy transformers: attention that looks at its own place first.

Separate because it is a choice of nano's training alone. A randomly started self-attention spreads over all tokens and
spends thousands of steps finding the reference token at its own position. Rotary positions let it start there: with
queries and keys that are one constant vector, the score depends on the offset alone and is highest at offset 0.
"""

from __future__ import annotations

from typing import Any

import torch


@torch.no_grad()
def start_local(transformer: Any, *, sharpness: float = 8.0, share: float = 0.5) -> None:
    """Set the queries and keys of a share of each layer's heads to a constant, so that they attend by place.

    `sharpness` is the score lost one token away, roughly, in nats times 2. The energy sits in the two fastest
    frequencies of each axis: the fastest tells neighbours apart, the second removes its repeat six tokens away.
    """
    for block in transformer.blocks:
        attention = block.attn1
        heads = attention.heads
        width = attention.to_q.weight.shape[0] // heads
        spatial = 2 * (width // 6)  # as diffusers' WanRotaryPosEmbed splits a head: time, rows, columns
        temporal = width - 2 * spatial
        constant = torch.zeros(width)
        for start in (0, temporal, temporal + spatial):
            constant[start : start + 4 : 2] = 1.0
        constant *= (width / constant.square().sum()).sqrt()
        local = round(heads * share)
        for projection, norm in ((attention.to_q, attention.norm_q), (attention.to_k, attention.norm_k)):
            weight = projection.weight.view(heads, width, -1)
            bias = projection.bias.view(heads, width)
            weight[:local] *= 0.1
            bias[:local] = constant
            norm.weight.view(heads, width)[:local] = sharpness**0.5
