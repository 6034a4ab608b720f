"""Where the reference's tokens sit: the token grid, its rotary positions, and the checks before a pass.

Separate because both reference modes ask the same questions of a transformer and of latents, and neither owns them.

Letters: B batch, C latent channels, F frames, H, W latent pixels, N tokens, D head width, P positions in the table.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from diffusers import WanTransformer3DModel
from torch import Tensor, nn

from realmaster.errors import ConfigError


@dataclass(frozen=True)
class TokenGrid:
    """Size of a video in tokens after the transformer's patches."""

    num_frames: int
    height: int
    width: int

    @property
    def num_tokens(self) -> int:
        """Count the tokens of the grid."""
        return self.num_frames * self.height * self.width

    @classmethod
    def of(cls, wan: WanTransformer3DModel, latents: Tensor, *, name: str) -> TokenGrid:
        """Measure latents [B, C, F, H, W] in tokens.

        Raises:
            ConfigError: the latents have other axes or channels than the transformer's, or do not divide into patches.
        """
        channels, patch = wan.config.in_channels, tuple(wan.config.patch_size)
        if latents.ndim != 5 or latents.shape[1] != channels:
            raise ConfigError(
                f"expected {name} of shape [B, {channels}, F, H, W], got {list(latents.shape)}: "
                "encode them with the autoencoder of the same profile"
            )
        sizes = latents.shape[2:]
        if any(size < step or size % step for size, step in zip(sizes, patch, strict=True)):
            raise ConfigError(
                f"expected {name} that divide into patches of {list(patch)} (frames, height, width), "
                f"got {list(sizes)}: pad or crop the clip"
            )
        return cls(*(size // step for size, step in zip(sizes, patch, strict=True)))


def find_wan(transformer: nn.Module) -> WanTransformer3DModel:
    """Find the stock transformer inside whatever wraps it (PEFT, DDP, `torch.compile`).

    Raises:
        ConfigError: there is no `WanTransformer3DModel` inside.
    """
    found = [module for module in transformer.modules() if isinstance(module, WanTransformer3DModel)]
    if not found:
        raise no_reference(type(transformer).__name__)
    return found[0]


def no_reference(name: str) -> ConfigError:
    """Give the error for a transformer of the class `name`, which cannot read a reference."""
    return ConfigError(
        f"expected a diffusers WanTransformer3DModel, got {name}: "
        "the reference is read by Wan text-to-video transformers only"
    )


def check_positions(
    wan: WanTransformer3DModel, grid: TokenGrid, *, spatial_scale: int, frame_offset: int | None
) -> None:
    """Refuse a reference whose positions lie outside the transformer's table.

    Raises:
        ConfigError: the scale is below 1, the offset below 0, or the clip too long or too large.
    """
    start = frame_offset or 0
    if spatial_scale < 1 or start < 0:
        raise ConfigError(
            f"expected spatial_scale of at least 1 and frame_offset of at least 0, got {spatial_scale} and {start}: "
            "correct them"
        )
    num_positions = wan.config.rope_max_seq_len
    last = max(start + grid.num_frames, *((size - 1) * spatial_scale + 1 for size in (grid.height, grid.width)))
    if last > num_positions:
        raise ConfigError(
            f"expected a reference within {num_positions} positions along each axis, got {last}: "
            "use a shorter or smaller clip"
        )


def check_grids(reference: TokenGrid, noisy: TokenGrid, *, spatial_scale: int, frame_offset: int | None) -> None:
    """Refuse a reference that does not cover the noisy latents.

    Raises:
        ConfigError: the two grids do not fit each other.
    """
    height, width = -(-noisy.height // spatial_scale), -(-noisy.width // spatial_scale)
    if (reference.height, reference.width) != (height, width):
        raise ConfigError(
            f"expected a reference of {height}x{width} tokens for noisy latents of {noisy.height}x{noisy.width} tokens "
            f"at spatial scale {spatial_scale}, got {reference.height}x{reference.width}: encode the clip at that size"
        )
    if frame_offset is None and reference.num_frames != noisy.num_frames:
        raise ConfigError(
            f"expected a reference of {noisy.num_frames} latent frames, got {reference.num_frames}: "
            "give the same frames, or say with frame_offset where the reference begins"
        )
    if frame_offset is not None and frame_offset + reference.num_frames > noisy.num_frames:
        raise ConfigError(
            f"expected a reference inside {noisy.num_frames} latent frames, got frames {frame_offset} to "
            f"{frame_offset + reference.num_frames - 1}: lower frame_offset or give fewer frames"
        )


def check_batch(batch_size: int, timesteps: Tensor, encoder_hidden_states: Tensor, references: int) -> Tensor:
    """Refuse a batch whose parts differ in size; return the timesteps as [B].

    Raises:
        ConfigError: timesteps, text or reference have another batch size than the noisy latents.
    """
    if timesteps.ndim == 0:
        timesteps = timesteps.expand(batch_size)
    if timesteps.shape != (batch_size,):
        raise ConfigError(
            f"expected one timestep a video, shape [{batch_size}], got {list(timesteps.shape)}: "
            "give one value for each video of the batch"
        )
    if encoder_hidden_states.ndim != 3 or encoder_hidden_states.shape[0] != batch_size:
        raise ConfigError(
            f"expected text of shape [{batch_size}, tokens, width], got {list(encoder_hidden_states.shape)}: "
            "encode one prompt for each video of the batch"
        )
    if references != batch_size:
        raise ConfigError(
            f"expected {batch_size} references for {batch_size} noisy videos, got {references}: "
            "repeat a shared cache with ReferenceCache.expand, or give one reference a video"
        )
    return timesteps


def rotary_at(
    rope: Any, grid: TokenGrid, *, spatial_scale: int = 1, frame_offset: int | None = None
) -> tuple[Tensor, Tensor]:
    """Look up rotary cosines and sines [1, N, 1, D] for a grid laid over a finer one.

    Token (f, y, x) gets the position (frame_offset + f, spatial_scale * y, spatial_scale * x): the first corner of the
    cell of full-grid tokens that it covers. With scale 1 and no offset this is what the transformer's own `rope` gives.
    """
    axes = ((grid.num_frames, frame_offset or 0, 1), (grid.height, 0, spatial_scale), (grid.width, 0, spatial_scale))

    def spread(table: Tensor) -> Tensor:  # [P, D] -> [1, N, 1, D]
        parts = table.split([rope.t_dim, rope.h_dim, rope.w_dim], dim=1)
        pieces = []
        for axis, (part, (count, start, step)) in enumerate(zip(parts, axes, strict=True)):
            shape = [1, 1, 1, part.shape[1]]
            shape[axis] = count
            rows = part[start : start + (count - 1) * step + 1 : step].view(shape)
            pieces.append(rows.expand(grid.num_frames, grid.height, grid.width, -1))
        return torch.cat(pieces, dim=-1).reshape(1, grid.num_tokens, 1, -1)

    return spread(rope.freqs_cos), spread(rope.freqs_sin)
