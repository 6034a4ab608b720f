"""The joint reading: one sequence [reference, noisy], full attention both ways, two modulation rows.

This is what the paper's text implies (arXiv 2603.23462, the model: clean reference tokens, their timestep fixed to 0,
positions shared with the noisy tokens). Separate from `reference.py` because the modes share nothing but the checks.

The stock forward is called here too. Four of its modules are listened to while it runs: the patch embedding puts the
reference's tokens first, the rotary embedding puts their positions first, the condition embedder gives a modulation row
for timestep 0 beside the one for t, and the output norm keeps the noisy tokens only. The two rows reach the blocks as
`TwoRows`, an object that answers to the few operations a block performs on its modulation and applies each row to its
own part of the sequence: no modulation is ever spread over tokens.

Letters: B batch, C latent channels, F frames, H, W latent pixels, N tokens, D width.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from realmaster.models.reference_grid import TokenGrid, check_batch, check_grids, check_positions, find_wan, rotary_at

_running: ContextVar[object] = ContextVar("joint_forward", default=None)


def joint_velocity(
    transformer: nn.Module,
    noisy_latents: Tensor,
    reference_latents: Tensor,
    timesteps: Tensor,
    encoder_hidden_states: Tensor,
    *,
    spatial_scale: int = 1,
    frame_offset: int | None = None,
    **forward_arguments: Any,
) -> Tensor:
    """Predict the velocity [B, C, F, H, W] of noisy latents in one sequence with a clean reference, full attention.

    Reference tokens are modulated by timestep 0 and noisy tokens by their own; both sit at the same positions.

    Args:
        transformer: a stock Wan transformer, wrapped or not (PEFT, DDP).
        noisy_latents: [B, C, F, H, W].
        reference_latents: [B, C, F, H, W], clean; H and W are those of the noisy latents over `spatial_scale`.
        timesteps: [B] or a scalar, 1000 * sigma.
        encoder_hidden_states: text [B, tokens, width], seen by both parts.
        spatial_scale: how many noisy tokens a reference token covers along height and along width.
        frame_offset: latent frame of the noisy clip where the reference begins; None if both have the same frames.
        forward_arguments: further arguments of the transformer's forward, such as `attention_kwargs`.

    Raises:
        ConfigError: no Wan transformer, or sizes that do not fit.
    """
    return run_sequence(
        transformer, noisy_latents, reference_latents, timesteps, encoder_hidden_states, spatial_scale=spatial_scale,
        frame_offset=frame_offset, **forward_arguments,
    )  # fmt: skip


def run_sequence(
    transformer: nn.Module,
    noisy_latents: Tensor,
    reference_latents: Tensor,
    timesteps: Tensor,
    encoder_hidden_states: Tensor,
    *,
    spatial_scale: int,
    frame_offset: int | None,
    reference_text: Tensor | None = None,
    **forward_arguments: Any,
) -> Tensor:
    """Run one sequence [reference, noisy]; arguments as in `joint_velocity`.

    With `reference_text` [B, tokens, width] the parts are apart but for what the installed processors let through:
    they get the reference's number of tokens behind the rotary embedding, and `TwoTexts` as text.
    """
    wan = find_wan(transformer)
    noisy_grid = TokenGrid.of(wan, noisy_latents, name="noisy latents")
    grid = TokenGrid.of(wan, reference_latents, name="reference latents")
    check_positions(wan, grid, spatial_scale=spatial_scale, frame_offset=frame_offset)
    check_grids(grid, noisy_grid, spatial_scale=spatial_scale, frame_offset=frame_offset)
    batch_size = noisy_latents.shape[0]
    timesteps = check_batch(batch_size, timesteps, encoder_hidden_states, reference_latents.shape[0])
    if reference_text is not None:
        check_batch(batch_size, timesteps, reference_text, batch_size)
        num_words = reference_text.shape[1]
        encoder_hidden_states = torch.cat([reference_text, encoder_hidden_states], dim=1)  # embedded word by word

    def prepend_tokens(embedding: Any, _: Any, noisy: Tensor) -> Tensor:  # [B, D, f, h, w] -> [B, D, N]
        return torch.cat([embedding.forward(reference_latents).flatten(2), noisy.flatten(2)], dim=2)

    def prepend_positions(rope: nn.Module, _: Any, noisy: tuple[Tensor, Tensor]) -> tuple[Any, ...]:
        reference = noisy
        if grid != noisy_grid:
            reference = rotary_at(rope, grid, spatial_scale=spatial_scale, frame_offset=frame_offset)
        both = tuple(torch.cat(pair, dim=1) for pair in zip(reference, noisy, strict=True))
        return both if reference_text is None else (*both, grid.num_tokens)

    def ask_both_timesteps(_: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:  # [B] -> [2 B]
        return (torch.cat([torch.zeros_like(arguments[0]), arguments[0]]), *arguments[1:])

    def split_rows(_: nn.Module, __: Any, embedded: tuple[Any, ...]) -> tuple[Any, ...]:
        time, rows, text, *image = embedded  # [2 B, D], [2 B, 6 D], [B, tokens, D]
        if reference_text is not None:
            text = TwoTexts(text[:, :num_words], text[:, num_words:], num_first=grid.num_tokens)
        return (time.chunk(2)[1], TwoRows(*rows.chunk(2), num_first=grid.num_tokens), text, *image)

    def drop_reference(_: nn.Module, arguments: tuple[Tensor]) -> tuple[Tensor]:  # [B, N, D]
        return (arguments[0][:, grid.num_tokens :],)

    with _listening(
        lambda call: (
            wan.patch_embedding.register_forward_hook(call(prepend_tokens)),
            wan.rope.register_forward_hook(call(prepend_positions)),
            wan.condition_embedder.register_forward_pre_hook(call(ask_both_timesteps)),
            wan.condition_embedder.register_forward_hook(call(split_rows)),
            wan.norm_out.register_forward_pre_hook(call(drop_reference)),
        )
    ):
        velocity: Tensor = transformer(
            hidden_states=noisy_latents,
            timestep=timesteps,
            encoder_hidden_states=encoder_hidden_states,
            return_dict=False,
            **forward_arguments,
        )[0]
    return velocity


class TwoTexts:
    """Embedded texts [B, tokens, D]: what the first `num_first` tokens of the sequence read, and what the rest read."""

    def __init__(self, first: Tensor, second: Tensor, *, num_first: int) -> None:
        """Hold both."""
        self.first, self.second, self.num_first = first, second, num_first


class TwoRows:
    """Modulation [B, 6, D] of a sequence in two parts, as a block sees it: one row for each part.

    A block adds its table to it and takes it apart with `chunk` into six `Row`s.
    """

    ndim = 3

    def __init__(self, first: Tensor, second: Tensor, *, num_first: int) -> None:
        """Hold the rows of the first `num_first` tokens and of the rest."""
        self.first, self.second, self.num_first = first, second, num_first

    def _each(self, change: Callable[[Tensor], Tensor]) -> TwoRows:
        return TwoRows(change(self.first), change(self.second), num_first=self.num_first)

    def unflatten(self, dim: int, sizes: tuple[int, ...]) -> TwoRows:
        """Unflatten both rows."""
        return self._each(lambda row: row.unflatten(dim, sizes))

    def float(self) -> TwoRows:
        """Bring both rows to float32."""
        return self._each(lambda row: row.float())

    def chunk(self, chunks: int, dim: int) -> list[Row]:
        """Take both rows apart along `dim` into shift, scale and gate [B, 1, D] of attention and feed-forward."""
        pairs = zip(self.first.chunk(chunks, dim), self.second.chunk(chunks, dim), strict=True)
        return [Row(first, second, num_first=self.num_first) for first, second in pairs]

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> TwoRows:
        """Answer `table + rows`, with a table [1, 6, D]."""
        table, rows = arguments
        if function is not torch.Tensor.add or not isinstance(rows, TwoRows):
            return NotImplemented
        return rows._each(lambda row: table + row)


class Row:
    """One of the six modulations [B, 1, D] of a sequence in two parts."""

    def __init__(self, first: Tensor, second: Tensor, *, num_first: int) -> None:
        """Hold the values of the first `num_first` tokens and of the rest."""
        self.first, self.second, self.num_first = first, second, num_first

    def __radd__(self, number: float) -> Row:
        """Give `1 + scale`."""
        return Row(number + self.first, number + self.second, num_first=self.num_first)

    @classmethod
    def __torch_function__(cls, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Tensor:
        """Answer `tokens * row` and `tokens + row`, part by part, with tokens [B, N, D]."""
        tokens, row = arguments
        if function not in (torch.Tensor.add, torch.Tensor.mul) or not isinstance(row, Row):
            return NotImplemented
        first, second = tokens[:, : row.num_first], tokens[:, row.num_first :]
        return torch.cat([function(first, row.first), function(second, row.second)], dim=1)


@contextmanager
def _listening(register: Callable[[Callable[..., Any]], tuple[Any, ...]]) -> Iterator[None]:
    """Listen to modules during one forward of this thread; forwards of other threads pass unheard."""
    mine = object()

    def only_mine(hook: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *arguments: hook(*arguments) if _running.get() is mine else None

    token = _running.set(mine)
    handles = register(only_mine)
    try:
        yield
    finally:
        _running.reset(token)
        for handle in handles:
            handle.remove()
