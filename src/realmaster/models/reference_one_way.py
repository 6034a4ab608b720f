"""The cached reading as it is trained: both streams go through each block together, in one forward.

`ReferenceAttention` runs the reference first and keeps every layer's keys and values, which is what makes many
denoising steps cheap. A training step denoises once: there the kept keys and values, and the gradients that all of them
get before the reference's own backward pass begins, are most of the memory (54 of 106 GB for the A14B at 81 frames).
Here a block sees [reference, noisy]; reference tokens attend to themselves, noisy tokens to both, each part reads its
own text and its own timestep. That is the same computation, and gradient checkpointing then holds one block's keys and
values at a time. The tests hold both ways, and their gradients, against each other.

Separate from `reference_joint.py`, whose sequence this borrows, because there the reference sees the noisy tokens.

Letters: B batch, C latent channels, F frames, H, W latent pixels, N tokens, D width.
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from realmaster.errors import ConfigError
from realmaster.models.reference_grid import find_wan
from realmaster.models.reference_joint import TwoTexts, run_sequence
from realmaster.models.reference_processor import StandIn, finish


class OneWayReading:
    """Let a stock Wan transformer read a reference as a cached one, without a cache: for training.

    Installs itself on all attentions when made; `remove`, or leaving it as a context manager, puts the original
    processors back. With gradient checkpointing `backward` comes before `remove`, as with `ReferenceAttention`.

    Raises:
        ConfigError: the transformer is no Wan transformer, or another reading is installed on it.
    """

    def __init__(self, transformer: nn.Module) -> None:
        """Install on every attention of the transformer."""
        self.transformer = transformer
        self.wan = find_wan(transformer)
        if any(isinstance(block.attn1.processor, StandIn) for block in self.wan.blocks):
            raise ConfigError(
                "expected a transformer that reads no reference yet, got one that does: call remove() on the first"
            )
        for block in self.wan.blocks:
            block.attn1.set_processor(OneWaySelfAttention(block.attn1.processor))
            block.attn2.set_processor(TwoTextsAttention(block.attn2.processor))

    def velocity(
        self,
        noisy_latents: Tensor,
        reference_latents: Tensor,
        timesteps: Tensor,
        encoder_hidden_states: Tensor,
        reference_text: Tensor,
        *,
        spatial_scale: int = 1,
        frame_offset: int | None = None,
        **forward_arguments: Any,
    ) -> Tensor:
        """Predict the velocity [B, C, F, H, W] of noisy latents, as `encode` and `denoise` of a cache do.

        Args:
            noisy_latents: [B, C, F, H, W].
            reference_latents: [B, C, F, H, W], clean; H and W are those of the noisy latents over `spatial_scale`.
            timesteps: [B] or a scalar, 1000 * sigma.
            encoder_hidden_states: text [B, tokens, width] that the noisy tokens read.
            reference_text: text [B, tokens, width] that the reference reads.
            spatial_scale: how many noisy tokens a reference token covers along height and along width.
            frame_offset: latent frame of the noisy clip where the reference begins; None if both have the same frames.
            forward_arguments: further arguments of the transformer's forward, such as `attention_kwargs`.

        Raises:
            ConfigError: sizes do not fit.
        """
        return run_sequence(
            self.transformer, noisy_latents, reference_latents, timesteps, encoder_hidden_states,
            spatial_scale=spatial_scale, frame_offset=frame_offset, reference_text=reference_text, **forward_arguments,
        )  # fmt: skip

    def remove(self) -> None:
        """Put the original processors back; a second call does nothing."""
        for block in self.wan.blocks:
            for attention in (block.attn1, block.attn2):
                if isinstance(attention.processor, OneWaySelfAttention | TwoTextsAttention):
                    attention.set_processor(attention.processor.original)

    def __enter__(self) -> Self:
        """Use as a context manager; the processors are installed already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the original processors back."""
        self.remove()


class OneWaySelfAttention(StandIn):
    """Self-attention of [reference, noisy] in which the reference does not see the noisy tokens."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B, N, D]
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Any, ...] | None = None,
    ) -> Tensor:
        """Attend; rotary_emb is (cos, sin), or (cos, sin, number of reference tokens)."""
        if rotary_emb is None or len(rotary_emb) == 2:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        cos, sin, first = rotary_emb
        query, key, value = self.project(attn, hidden_states, cos, sin)
        clean = self.attend(query[:, :first], key[:, :first], value[:, :first])
        noisy = self.attend(query[:, first:], key, value)
        return finish(attn, torch.cat([clean, noisy], dim=1))


class TwoTextsAttention(StandIn):
    """Cross-attention in which each part of the sequence reads its own text."""

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B, N, D]
        encoder_hidden_states: Tensor | TwoTexts,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Any, ...] | None = None,
    ) -> Tensor:
        """Read one text, or two."""
        if not isinstance(encoder_hidden_states, TwoTexts):
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        texts, first = encoder_hidden_states, encoder_hidden_states.num_first
        parts = ((hidden_states[:, :first], texts.first), (hidden_states[:, first:], texts.second))
        return torch.cat([self.original(attn, part, text, attention_mask, rotary_emb) for part, text in parts], dim=1)
