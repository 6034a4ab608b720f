"""A start for toy transformers: blocks that speak from the first step, attention that looks at its own place, a copy.

Separate because it is a choice of nano's training alone. diffusers starts a Wan transformer with gates near zero and
attention spread over all tokens; at nano's few thousand steps most of the training then goes into finding the reference
token at its own position. Started as here, a transformer stands a decibel higher on held-out scenes after 160 steps
(docs/findings.md).
"""

from __future__ import annotations

import logging
import math
from typing import Any

import torch

logger = logging.getLogger(__name__)

ANCHOR = 2.0  # a constant part of every token, larger than its latents: a layer norm then hardly changes their scale


def start_reading(transformer: Any) -> None:
    """Open the gates, let half of the heads attend by place, and make the first prediction a copy of the reference."""
    open_gates(transformer)
    start_local(transformer)
    start_copying(transformer)


@torch.no_grad()
def widen(transformer: Any, ffn_dim: int) -> None:
    """Give the feed-forward layers more channels, which say nothing at first: the model stays what it was.

    Raises:
        ValueError: they have more already.
    """
    known = transformer.config.ffn_dim
    if ffn_dim < known:
        raise ValueError(f"expected feed-forward layers to widen, got {ffn_dim} channels for {known}")
    for block in transformer.blocks:
        first, last = block.ffn.net[0].proj, block.ffn.net[2]
        wide = torch.nn.Linear(first.in_features, ffn_dim).to(first.weight)
        wide.weight.normal_(std=float(first.weight.std()))
        wide.weight[:known], wide.bias[:known] = first.weight, first.bias
        narrow = torch.nn.Linear(ffn_dim, last.out_features).to(last.weight)
        narrow.weight.zero_()
        narrow.weight[:, :known], narrow.bias[:] = last.weight, last.bias
        block.ffn.net[0].proj, block.ffn.net[2] = wide, narrow
    transformer.register_to_config(ffn_dim=ffn_dim)


@torch.no_grad()
def open_gates(transformer: Any, *, scale: float = 0.3) -> None:
    """Set every block's gates to 1, its shifts and scales to 0, and what it adds to `scale` of the ordinary start."""
    embedder = transformer.condition_embedder
    embedder.time_proj.weight *= 0.1
    embedder.time_proj.bias.zero_()
    transformer.scale_shift_table.zero_()
    for block in transformer.blocks:
        block.scale_shift_table.zero_()
        block.scale_shift_table[:, [2, 5]] = 1.0  # shift, scale, gate of attention, then of the feed-forward layer
        for last in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
            last.weight *= scale
            last.bias.zero_()


@torch.no_grad()
def start_local(transformer: Any, *, sharpness: float = 8.0, share: float = 0.5) -> None:
    """Set the queries and keys of a share of each layer's heads to a constant, so that they attend by place.

    With queries and keys that are one constant vector, rotary positions make the score depend on the offset alone, and
    it is highest at offset 0. `sharpness` is the score lost one token away, roughly, in nats times 2. The energy sits
    in the two fastest frequencies of each axis: the fastest tells neighbours apart, the second removes its repeat six
    tokens away.
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


@torch.no_grad()
def start_copying(transformer: Any, *, attended: float = 0.45) -> None:
    """Let the first layer's local heads carry a token's latents, and the output be noise less what they carried.

    A noisy token finds itself and the reference token at its place alike, so that what is carried is their sum times
    `attended`; twice the noise less the sum over `attended` is the velocity towards the reference. A transformer whose
    width is not three times a token's latents has no room for this and is left as it is.
    """
    embedding, attention, output = transformer.patch_embedding, transformer.blocks[0].attn1, transformer.proj_out
    width = embedding.weight.shape[0]
    count = math.prod(embedding.weight.shape[1:])
    if 3 * count > width or count > attention.to_v.weight.shape[0] // 2 or output.weight.shape[0] != count:
        logger.info("a width of %d has no room to copy %d latents: starting without the copy", width, count)
        return
    same = torch.eye(count)
    own, carried, constant = slice(0, count), slice(count, 2 * count), slice(width - count, width)
    embedding.weight.zero_()
    embedding.weight.view(width, count)[own] = same
    embedding.bias.zero_()
    embedding.bias[constant] = ANCHOR * torch.tensor([1.0, -1.0]).repeat(count)[:count]
    for block in transformer.blocks:
        for last in (block.attn1.to_out[0], block.attn2.to_out[0], block.ffn.net[2]):
            last.weight[: 2 * count] *= 0.1
    attention.to_v.weight[own], attention.to_v.bias[own] = 0.0, 0.0
    attention.to_v.weight[own, own] = same
    attention.to_out[0].weight[carried], attention.to_out[0].weight[:, own] = 0.0, 0.0
    attention.to_out[0].weight[carried, own] = same
    before = ((count + count * ANCHOR**2) / width) ** 0.5  # spread of a token, which the first norm divides by
    after = ((count * (1 + ANCHOR**2) + count / 2) / width) ** 0.5
    output.weight.zero_()
    output.bias.zero_()
    output.weight[:, own] = 2 * after * same
    output.weight[:, carried] = -after * before / attended * same
