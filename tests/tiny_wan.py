"""Small random Wan transformers, and a plain reading of a reference written from the formulas alone.

`plain_velocity` uses the transformer's weights and none of its code: patches are cut by hand, positions are complex
numbers, attention is a softmax over a masked matrix, and every token looks up its own modulation. It is the slow twin
that both modes of `realmaster.models.reference` have to agree with.
"""

from __future__ import annotations

import math

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor
from torch.nn import functional

CONFIG = {
    "num_attention_heads": 2,
    "attention_head_dim": 24,
    "in_channels": 4,
    "out_channels": 4,
    "text_dim": 16,
    "freq_dim": 32,
    "ffn_dim": 64,
    "num_layers": 3,
    "cross_attn_norm": True,
    "rope_max_seq_len": 64,
}


def tiny_wan(seed: int = 0, **changes: object) -> WanTransformer3DModel:
    """A transformer of three layers whose every weight is random, norms and biases too."""
    torch.manual_seed(seed)
    wan = WanTransformer3DModel(**{**CONFIG, **changes}).eval()
    with torch.no_grad():
        for parameter in wan.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.2 * torch.randn_like(parameter))
    return wan


def latents(batch: int = 1, frames: int = 3, height: int = 8, width: int = 12, *, seed: int = 1) -> Tensor:
    """Random latents [B, 4, F, H, W]."""
    return torch.randn(batch, 4, frames, height, width, generator=torch.Generator().manual_seed(seed))


def text(batch: int = 1, *, seed: int = 2) -> Tensor:
    """Random text [B, 5, 16]."""
    return torch.randn(batch, 5, 16, generator=torch.Generator().manual_seed(seed))


def plain_velocity(
    wan: WanTransformer3DModel,
    noisy: Tensor,
    reference: Tensor,
    timesteps: Tensor,
    words: Tensor,
    *,
    one_way: bool,
    scale: int = 1,
    first_frame: int = 0,
) -> Tensor:
    """One sequence [reference, noisy]; with `one_way` the reference does not see the noisy tokens."""
    config, heads = wan.config, wan.config.num_attention_heads
    tokens, angles = [], []
    for video, step, start in ((reference, scale, first_frame), (noisy, 1, 0)):
        tokens.append(patches(wan, video))
        angles.append(position_angles(config.attention_head_dim, video, step, start))
    x = torch.cat(tokens, dim=1)  # [B, N, D]
    turn = torch.polar(torch.ones(()), torch.cat(angles).float())[None, :, None, :]  # [1, N, 1, head_dim / 2]
    num_reference = tokens[0].shape[1]
    is_noisy = torch.arange(x.shape[1]) >= num_reference
    hidden = (
        ~is_noisy[:, None] & is_noisy[None, :] if one_way else torch.zeros(x.shape[1], x.shape[1], dtype=torch.bool)
    )
    mask = torch.zeros(hidden.shape).masked_fill(hidden, -math.inf)

    embedder = wan.condition_embedder
    row_at = {}
    for when, times in (("clean", torch.zeros_like(timesteps)), ("noisy", timesteps)):
        half = config.freq_dim // 2
        frequencies = torch.exp(-math.log(10000) * torch.arange(half) / half)
        waves = times[:, None].float() * frequencies
        time = embedder.time_embedder.linear_1(torch.cat([waves.cos(), waves.sin()], dim=1))
        time = embedder.time_embedder.linear_2(functional.silu(time))
        row_at[when] = (time, embedder.time_proj(functional.silu(time)).view(len(times), 6, -1))
    rows = torch.stack([row_at["clean"][1], row_at["noisy"][1]], dim=1)[:, is_noisy.long()]  # [B, N, 6, D]
    words = embedder.text_embedder.linear_1(words)
    words = embedder.text_embedder.linear_2(functional.gelu(words, approximate="tanh"))

    for block in wan.blocks:
        shift, scaling, gate, ff_shift, ff_scaling, ff_gate = (block.scale_shift_table[:, None] + rows).unbind(2)
        x = x + gate * attend(block.attn1, norm(x) * (1 + scaling) + shift, None, heads, turn, mask)
        x = x + attend(block.attn2, norm(x) * block.norm2.weight + block.norm2.bias, words, heads, None, None)
        y = functional.gelu(block.ffn.net[0].proj(norm(x) * (1 + ff_scaling) + ff_shift), approximate="tanh")
        x = x + ff_gate * block.ffn.net[2](y)

    shift, scaling = (wan.scale_shift_table + row_at["noisy"][0][:, None]).chunk(2, dim=1)
    x = wan.proj_out(norm(x[:, num_reference:]) * (1 + scaling) + shift)
    velocity = torch.zeros_like(noisy)
    for number, (f, i, j) in enumerate(places(noisy)):
        velocity[:, :, f, i : i + 2, j : j + 2] = x[:, number].view(-1, 2, 2, velocity.shape[1]).permute(0, 3, 1, 2)
    return velocity


def norm(x: Tensor) -> Tensor:
    """Zero mean and unit variance over the width."""
    return (x - x.mean(-1, keepdim=True)) / torch.sqrt(x.var(-1, keepdim=True, unbiased=False) + 1e-6)


def places(video: Tensor) -> list[tuple[int, int, int]]:
    """First latent pixel of every 1 x 2 x 2 patch, in the order of the tokens."""
    frames, height, width = video.shape[2:]
    return [(f, i, j) for f in range(frames) for i in range(0, height, 2) for j in range(0, width, 2)]


def patches(wan: WanTransformer3DModel, video: Tensor) -> Tensor:
    """Tokens [B, N, D]: every patch times the convolution's weights."""
    weight, bias = wan.patch_embedding.weight.flatten(1), wan.patch_embedding.bias
    cut = [video[:, :, f, i : i + 2, j : j + 2].flatten(1) for f, i, j in places(video)]
    return torch.stack(cut, dim=1) @ weight.T + bias


def position_angles(head_dim: int, video: Tensor, step: int, start: int) -> Tensor:
    """Angles [N, head_dim / 2]: frame, row and column of a token, each by its own share of the frequencies."""
    side = 2 * (head_dim // 6)
    shares = (head_dim - 2 * side, side, side)
    frequencies = [10000.0 ** (-torch.arange(0, share, 2).double() / share) for share in shares]
    rows = [(f + start, i // 2 * step, j // 2 * step) for f, i, j in places(video)]
    return torch.stack([torch.cat([at * speeds for at, speeds in zip(row, frequencies, strict=True)]) for row in rows])


def attend(
    attn: torch.nn.Module, x: Tensor, words: Tensor | None, heads: int, turn: Tensor | None, mask: Tensor | None
) -> Tensor:
    """softmax(q k' / sqrt(d) + mask) v, queries and keys normalised over all heads, then turned by their positions."""
    source = x if words is None else words
    query, key, value = attn.to_q(x), attn.to_k(source), attn.to_v(source)
    query = query * torch.rsqrt(query.square().mean(-1, keepdim=True) + 1e-6) * attn.norm_q.weight
    key = key * torch.rsqrt(key.square().mean(-1, keepdim=True) + 1e-6) * attn.norm_k.weight
    query, key, value = (part.view(*part.shape[:2], heads, -1) for part in (query, key, value))
    if turn is not None:
        query, key = (
            torch.view_as_real(torch.view_as_complex(part.unflatten(-1, (-1, 2)).contiguous()) * turn).flatten(-2)
            for part in (query, key)
        )
    scores = torch.einsum("bnhd,bmhd->bhnm", query, key) / math.sqrt(query.shape[-1])
    weights = (scores if mask is None else scores + mask).softmax(-1)
    return attn.to_out[0](torch.einsum("bhnm,bmhd->bnhd", weights, value).flatten(2))
