"""The reference, read by a stock `WanTransformer3DModel`: the heart of RealMaster.

The render's clean latents become tokens at timestep 0 that share the noisy tokens' positions (arXiv 2603.23462, the
model). They are read in one of two ways, and an adapter knows which one it was trained with:

- cached (`ReferenceAttention`): pass 1 runs the reference alone at timestep 0 and writes the keys and values of every
  self-attention; each denoising forward reads them, so that noisy tokens attend to [reference, themselves].
- joint (`joint_velocity`): one sequence [reference, noisy], full attention both ways, one modulation row for each part.

Both call the model's own forward and change what flows through it from outside. What a self-attention has to do travels
with the rotary embedding, the one argument that the stock forward hands unchanged to every self-attention: a call is
(cos, sin, task) instead of (cos, sin). Gradient checkpointing keeps that argument, so that a recomputation, in another
thread and after other calls, does what the first computation did.

To train through a cached reference there is a third file, `reference_one_way.py`: both streams in one forward, whose
keys and values need no keeping.

Letters: B batch, C latent channels, F frames, H, W latent pixels, N tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn

from realmaster.errors import ConfigError
from realmaster.models.reference_cache import CacheReader, ReferenceCache, Storage, StorageDevice
from realmaster.models.reference_grid import TokenGrid, check_batch, check_grids, check_positions, find_wan, rotary_at
from realmaster.models.reference_joint import joint_velocity
from realmaster.models.reference_processor import StandIn, finish

__all__ = ["ReferenceAttention", "ReferenceCache", "joint_velocity"]


class Task:
    """What the self-attentions of one forward do: write into a cache, or read one.

    No dataclass: FSDP2 takes those apart in a block's arguments and makes new ones, and a write would be lost.
    """

    def __init__(self, *, write: ReferenceCache | None = None, read: CacheReader | None = None) -> None:
        """Say what to do; one of the two is given."""
        self.write, self.read = write, read


_task: ContextVar[Task | None] = ContextVar("reference_task", default=None)


class ReferenceAttention:
    """Let a stock Wan transformer read a reference through cached keys and values.

    Installs itself on the self-attentions (`attn1`) when made; `remove`, or leaving it as a context manager, puts the
    original processors back. Without a cache every call goes to the original processors and the model equals itself
    bit for bit. PEFT adapters, attention back-ends, feature caches, offload and gradient checkpointing keep working,
    because the transformer's own forward is called. With gradient checkpointing, `backward` comes before `remove`: the
    recomputation needs the installed processors, and fails without them.

    `transformer` may be wrapped (PEFT, DDP, `torch.compile`). `storage_dtype` is None for keys and values as computed,
    bfloat16, or float8_e4m3fn; `storage_device` is "model", or "host" for pinned memory with prefetch.

    Raises:
        ConfigError: the transformer is no Wan transformer, or has a reference attention already.
    """

    def __init__(
        self,
        transformer: nn.Module,
        *,
        storage_dtype: torch.dtype | None = None,
        storage_device: StorageDevice = "model",
    ) -> None:
        """Install on every self-attention of the transformer."""
        self.transformer = transformer
        self.wan = find_wan(transformer)
        self.storage = Storage(storage_dtype, storage_device)
        self._stream: torch.cuda.Stream | None = None
        if any(isinstance(block.attn1.processor, StandIn) for block in self.wan.blocks):
            raise ConfigError(
                "expected a transformer without reference attention, got one that has it: call remove() on the first"
            )
        for layer, block in enumerate(self.wan.blocks):
            block.attn1.set_processor(ReferenceProcessor(block.attn1.processor, layer))
        self._hook = self.wan.rope.register_forward_hook(self._attach_task)

    def encode(
        self,
        reference_latents: Tensor,
        encoder_hidden_states: Tensor,
        *,
        spatial_scale: int = 1,
        frame_offset: int | None = None,
        **forward_arguments: Any,
    ) -> ReferenceCache:
        """Run the clean reference once at timestep 0 and keep every layer's keys and values.

        Args:
            reference_latents: [B, C, F, H, W], clean; H and W are those of the noisy latents over `spatial_scale`.
            encoder_hidden_states: text [B, tokens, width] that the reference stream sees. Guidance branches can share
                the cache only if this text is the same for both.
            spatial_scale: how many noisy tokens a reference token covers along height and along width.
            frame_offset: latent frame of the noisy clip where the reference begins; None if both have the same frames.
            forward_arguments: further arguments of the transformer's forward, such as `attention_kwargs`.

        Raises:
            ConfigError: sizes do not fit, or a feature cache skipped layers.
        """
        batch_size = reference_latents.shape[0]
        grid = TokenGrid.of(self.wan, reference_latents, name="reference latents")
        check_positions(self.wan, grid, spatial_scale=spatial_scale, frame_offset=frame_offset)
        timesteps = check_batch(
            batch_size, reference_latents.new_zeros(batch_size, dtype=torch.float32), encoder_hidden_states, batch_size
        )
        on_cuda_host = self.storage.device == "host" and reference_latents.is_cuda
        cache = ReferenceCache(
            grid,
            batch_size,
            [None] * len(self.wan.blocks),
            spatial_scale,
            frame_offset,
            self.storage,
            stream=self._side_stream(reference_latents.device) if on_cuda_host else None,
            model=id(self.wan),
        )
        with self._running(Task(write=cache)), self._fresh_feature_cache():
            self._forward(reference_latents, timesteps, encoder_hidden_states, forward_arguments)
        if cache.stream is not None:
            cache.stream.synchronize()  # from here on the host may read what was copied to it
        missing = [layer for layer, pair in enumerate(cache.layers) if pair is None]
        if missing:
            raise ConfigError(
                f"expected keys and values from all {len(cache.layers)} layers, layers {missing} wrote none: "
                "a feature cache or another processor skips them; disable it for the reference pass"
            )
        return cache

    def _side_stream(self, device: torch.device) -> torch.cuda.Stream:
        """Give the stream of every cache: the allocator keeps what was freed on a stream for that stream alone."""
        self._stream = self._stream or torch.cuda.Stream(device)
        return self._stream

    def denoise(
        self,
        noisy_latents: Tensor,
        timesteps: Tensor,
        encoder_hidden_states: Tensor,
        cache: ReferenceCache | None,
        **forward_arguments: Any,
    ) -> Tensor:
        """Predict the velocity [B, C, F, H, W] of noisy latents that attend to the reference and to themselves.

        Args:
            noisy_latents: [B, C, F, H, W].
            timesteps: [B] or a scalar, 1000 * sigma.
            encoder_hidden_states: text [B, tokens, width].
            cache: from `encode`; None or an empty one gives the model itself.
            forward_arguments: further arguments of the transformer's forward.

        Raises:
            ConfigError: the cache is for another transformer, another batch or another grid.
        """
        batch_size = noisy_latents.shape[0]
        if cache is None or cache.is_empty:
            timesteps = check_batch(batch_size, timesteps, encoder_hidden_states, batch_size)
            return self._forward(noisy_latents, timesteps, encoder_hidden_states, forward_arguments)
        if cache.model not in (None, id(self.wan)):
            raise ConfigError(
                "expected a cache that this transformer wrote, got another one's: encode the reference with each expert"
            )
        grid = TokenGrid.of(self.wan, noisy_latents, name="noisy latents")
        timesteps = check_batch(batch_size, timesteps, encoder_hidden_states, cache.batch_size)
        check_grids(cache.grid, grid, spatial_scale=cache.spatial_scale, frame_offset=cache.frame_offset)
        with self._running(Task(read=CacheReader(cache, noisy_latents.device))):
            return self._forward(noisy_latents, timesteps, encoder_hidden_states, forward_arguments)

    def remove(self) -> None:
        """Put the original self-attention processors back; a second call does nothing."""
        self._hook.remove()
        for block in self.wan.blocks:
            if isinstance(block.attn1.processor, ReferenceProcessor):
                block.attn1.set_processor(block.attn1.processor.original)

    def __enter__(self) -> Self:
        """Use as a context manager; the processors are installed already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Put the original processors back."""
        self.remove()

    def _forward(self, latents: Tensor, timesteps: Tensor, text: Tensor, arguments: dict[str, Any]) -> Tensor:
        velocity: Tensor = self.transformer(
            hidden_states=latents, timestep=timesteps, encoder_hidden_states=text, return_dict=False, **arguments
        )[0]
        return velocity

    @contextmanager
    def _running(self, task: Task) -> Iterator[None]:
        token = _task.set(task)
        try:
            yield
        finally:
            _task.reset(token)

    @contextmanager
    def _fresh_feature_cache(self) -> Iterator[None]:
        """Let diffusers' feature caches, if on, forget: what they remember belongs to another clip or timestep."""
        if not self.wan.is_cache_enabled:
            yield
            return
        self.wan._reset_stateful_cache()
        with self.wan.cache_context("reference"):
            yield

    def _attach_task(self, rope: nn.Module, arguments: Any, rotary: tuple[Tensor, Tensor]) -> Any:
        """Extend what `rope` returns by the running task; leave it alone when there is none."""
        task = _task.get()
        if task is None:
            return None
        cache = task.write
        if cache is not None and (cache.spatial_scale != 1 or cache.frame_offset):
            rotary = rotary_at(rope, cache.grid, spatial_scale=cache.spatial_scale, frame_offset=cache.frame_offset)
        return (*rotary, task)


class ReferenceProcessor(StandIn):
    """Self-attention that writes its keys and values, or reads a reference's beside its own.

    Calls the original whenever no reference is asked for.
    """

    def __call__(
        self,
        attn: Any,
        hidden_states: Tensor,  # [B, N, heads * head_dim]
        encoder_hidden_states: Tensor | None = None,
        attention_mask: Tensor | None = None,
        rotary_emb: tuple[Any, ...] | None = None,
    ) -> Tensor:
        """Attend within the noisy tokens and to the reference; rotary_emb is (cos, sin) or (cos, sin, task)."""
        if rotary_emb is None or len(rotary_emb) == 2:
            return self.original(attn, hidden_states, encoder_hidden_states, attention_mask, rotary_emb)
        cos, sin, task = rotary_emb
        query, key, value = self.project(attn, hidden_states, cos, sin)
        key, value = self.exchange(task, key, value)
        return finish(attn, self.attend(query, key, value, attention_mask))

    @torch.compiler.disable  # else every layer's number is a guard, and a compiled block is compiled once a layer
    def exchange(self, task: Task, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Write keys and values [B, N, heads, head_dim], or give them back with the reference's before them."""
        if task.write is not None:
            task.write.write(self.layer, key, value)
            return key, value
        assert task.read is not None, "a task writes or reads"
        reference_key, reference_value = task.read.read(self.layer)
        return torch.cat([reference_key, key], dim=1), torch.cat([reference_value, value], dim=1)
