"""A self-attention processor in two halves: up to queries, keys and values, and from them on.

Separate because every reading of a reference has to put something between the halves; diffusers' own
`transformer_wan.WanAttnProcessor`, which this follows, runs them as one.

Letters: B batch, N tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models.attention_dispatch import dispatch_attention_fn
from torch import Tensor


class StandIn:
    """Stands in for a layer's processor; back-end and parallel settings stay the original's and keep their effect."""

    def __init__(self, original: Any, layer: int = 0) -> None:
        """Stand in for a processor in one layer."""
        self.original, self.layer = original, layer

    @property
    def _attention_backend(self) -> Any:
        return self.original._attention_backend

    @_attention_backend.setter
    def _attention_backend(self, value: Any) -> None:
        self.original._attention_backend = value

    @property
    def _parallel_config(self) -> Any:
        return self.original._parallel_config

    @_parallel_config.setter
    def _parallel_config(self, value: Any) -> None:
        self.original._parallel_config = value

    def project(self, attn: Any, hidden_states: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give query, key and value [B, N, heads, head_dim], the first two after norm and rotary positions.

        All in the value's precision: CUDA's autocast norms in float32, and keys that are kept would take twice as much.
        """
        if getattr(attn, "fused_projections", False):
            query, key, value = attn.to_qkv(hidden_states).chunk(3, dim=-1)
        else:
            query, key, value = attn.to_q(hidden_states), attn.to_k(hidden_states), attn.to_v(hidden_states)
        query = rotate(attn.norm_q(query).unflatten(2, (attn.heads, -1)), cos, sin)
        key = rotate(attn.norm_k(key).unflatten(2, (attn.heads, -1)), cos, sin)
        return query.type_as(value), key.type_as(value), value.unflatten(2, (attn.heads, -1))

    def attend(self, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None = None) -> Tensor:
        """Attend with the original's back-end, [B, N, heads * head_dim]."""
        attended: Tensor = dispatch_attention_fn(
            query,
            key,
            value,
            attn_mask=attention_mask,
            backend=self._attention_backend,
            parallel_config=self._parallel_config,
        )
        return attended.flatten(2, 3).type_as(query)


def finish(attn: Any, attended: Tensor) -> Tensor:
    """Apply the output projection and dropout."""
    for step in attn.to_out:
        attended = step(attended)
    return attended


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate pairs of x [B, N, heads, head_dim] by their positions' angles: (a, b) -> (a cos - b sin, a sin + b cos).

    cos and sin are [1, N, 1, head_dim], each angle twice (RoFormer, eq. 34; same layout as WanAttnProcessor).
    """
    a, b = x.unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = cos[..., 0::2], sin[..., 1::2]
    return torch.stack((a * cos - b * sin, a * sin + b * cos), dim=-1).flatten(-2).type_as(x)
