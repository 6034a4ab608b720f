"""The reference's keys and values, layer by layer: how they are stored and how they come back.

Separate from `reference.py` because storage (bf16, fp8, host memory) has nothing to do with attention: what goes in and
what comes out are plain tensors [B, N, heads, head_dim].
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from realmaster.errors import ConfigError
from realmaster.models.reference_grid import TokenGrid

StorageDevice = Literal["model", "host"]
FP8 = torch.float8_e4m3fn
FP8_LARGEST = torch.finfo(FP8).max


@dataclass(frozen=True)
class Storage:
    """How a cache keeps its tensors.

    `dtype` is None for "as computed" (exact, and the only way to train through besides bf16), `torch.bfloat16`, or
    `torch.float8_e4m3fn` (a scale for every head). `device` is "model" (where they were computed) or "host" (pinned
    memory; layer i + 1 is fetched on a side stream while layer i computes; on a machine without CUDA plain memory).
    """

    dtype: torch.dtype | None = None
    device: StorageDevice = "model"

    def __post_init__(self) -> None:
        """Refuse what cannot be stored."""
        if self.dtype not in (None, torch.bfloat16, FP8):
            raise ConfigError(f"expected a cache in bfloat16, float8_e4m3fn or None (as computed), got {self.dtype}")
        if self.device not in ("model", "host"):
            raise ConfigError(f"expected a cache on 'model' or 'host', got {self.device!r}")


@dataclass(frozen=True)
class Packed:
    """One stored tensor [B, N, heads, head_dim]; in fp8 with a scale [B, 1, heads, 1] that multiplies it."""

    data: Tensor
    scale: Tensor | None
    dtype: torch.dtype

    @classmethod
    def pack(cls, tensor: Tensor, storage: Storage, stream: torch.cuda.Stream | None) -> Packed:
        """Store a tensor.

        Raises:
            ConfigError: gradients are asked through fp8 or host memory.
        """
        if tensor.requires_grad and (storage.dtype is FP8 or storage.device == "host"):
            raise ConfigError(
                "expected a cache stored as computed or in bfloat16 on the model's device for training, "
                f"got {storage.dtype} on {storage.device!r}: keep fp8 and host memory for inference"
            )
        data, scale = tensor.contiguous(), None  # a part of fused projections would keep the whole alive
        if storage.dtype is FP8:
            largest = tensor.detach().abs().amax(dim=(1, 3), keepdim=True).float().clamp_min(1e-12)
            scale = largest / FP8_LARGEST
            data = (tensor.float() / scale).clamp(-FP8_LARGEST, FP8_LARGEST).to(FP8)
        elif storage.dtype is not None:
            data = tensor.to(storage.dtype)
        if storage.device == "host" and stream is not None:
            host = torch.empty(data.shape, dtype=data.dtype, pin_memory=True)
            stream.wait_stream(torch.cuda.current_stream(data.device))
            with torch.cuda.stream(stream):
                host.copy_(data, non_blocking=True)
            data.record_stream(stream)
            data = host
        return cls(data, scale, tensor.dtype)

    def unpack(self, data: Tensor) -> Tensor:
        """Give the tensor back from its stored form on the model's device."""
        if self.scale is not None:
            return (data.to(torch.float32) * self.scale).to(self.dtype)
        return data.to(self.dtype)

    @property
    def nbytes(self) -> int:
        """Count the bytes that the stored form takes."""
        return self.data.nbytes + (self.scale.nbytes if self.scale is not None else 0)

    def select(self, rows: slice | Tensor) -> Packed:
        """Keep some videos of the batch."""
        data = self.data[rows]
        if self.data.is_pinned() and not data.is_pinned():
            data = data.pin_memory()
        return Packed(data, None if self.scale is None else self.scale[rows], self.dtype)


@dataclass(frozen=True)
class ReferenceCache:
    """What a reference left in every layer: keys (after norm and rotary positions) and values.

    Layers are `None` until the reference pass has written them; the first write holds, so that the recomputation of
    gradient checkpointing changes nothing. Gradients flow through a cache that is stored as computed.
    """

    grid: TokenGrid
    batch: int
    layers: list[tuple[Packed, Packed] | None]
    spatial_scale: int = 1
    frame_offset: int | None = None
    storage: Storage = Storage()
    copies: int = 1
    stream: torch.cuda.Stream | None = None
    model: int | None = None  # id of the transformer that wrote it, so that another expert does not read it

    @property
    def batch_size(self) -> int:
        """Count the videos that this cache serves."""
        return self.batch * self.copies

    @property
    def is_empty(self) -> bool:
        """Say whether no layer holds anything: then the model reads as if there were no reference."""
        return all(layer is None for layer in self.layers)

    @property
    def nbytes(self) -> int:
        """Count the bytes of all layers; a shared cache is counted once."""
        return sum(key.nbytes + value.nbytes for key, value in filter(None, self.layers))

    def write(self, layer: int, key: Tensor, value: Tensor) -> None:
        """Store one layer's keys and values [B, N, heads, head_dim]; a second write is ignored."""
        if self.layers[layer] is None:
            self.layers[layer] = (
                Packed.pack(key, self.storage, self.stream),
                Packed.pack(value, self.storage, self.stream),
            )

    def expand(self, copies: int) -> ReferenceCache:
        """Serve `copies` batches laid one after the other, as guidance does with its branches; memory is shared."""
        return replace(self, copies=self.copies * copies)

    def select(self, rows: slice | Sequence[int]) -> ReferenceCache:
        """Keep some of the videos.

        Raises:
            ConfigError: the cache is expanded already (select first), or a row is not in it.
        """
        if self.copies != 1:
            raise ConfigError("expected a cache before expand, got an expanded one: call select first, then expand")
        numbers = list(range(self.batch))[rows] if isinstance(rows, slice) else list(rows)
        if not numbers or any(not 0 <= number < self.batch for number in numbers):
            raise ConfigError(f"expected rows within a cache of {self.batch} videos, got {rows}: correct the rows")
        index = rows if isinstance(rows, slice) else torch.tensor(numbers)
        layers = [None if pair is None else (pair[0].select(index), pair[1].select(index)) for pair in self.layers]
        return replace(self, batch=len(numbers), layers=layers)


class CacheReader:
    """Hand out a cache's layers in one forward; from host memory the next one is fetched ahead of time."""

    def __init__(self, cache: ReferenceCache, device: torch.device) -> None:
        """Begin a forward on a device."""
        self.cache, self.device = cache, device
        self.fetched: dict[int, tuple[Tensor, Tensor, torch.cuda.Event]] = {}
        self.begun: torch.cuda.Event | None = None
        if cache.stream is not None:
            self.fetch(0)

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """Give keys and values [copies * B, N, heads, head_dim] of one layer on the model's device."""
        pair = self.cache.layers[layer]
        assert pair is not None, f"layer {layer} of the cache was never written"
        key, value = pair
        key_data, value_data = (key.data, value.data) if self.cache.stream is None else self.arrive(layer)
        return self.copy(key.unpack(key_data)), self.copy(value.unpack(value_data))

    def copy(self, tensor: Tensor) -> Tensor:
        """Lay `copies` of the batch one after the other (a view for a single video)."""
        copies = self.cache.copies
        if copies == 1:
            return tensor
        return tensor.unsqueeze(0).expand(copies, *(-1 for _ in tensor.shape)).flatten(0, 1)

    def arrive(self, layer: int) -> tuple[Tensor, Tensor]:
        """Wait for a layer on its way from the host, and send for the next one.

        The next one is sent for when the device has come to the layer before this one: kernels are queued far ahead of
        it, and memory of a layer that still waits for its turn cannot be used again.
        """
        if layer not in self.fetched:
            self.fetch(layer)
        key, value, event = self.fetched.pop(layer)
        current = torch.cuda.current_stream(self.device)
        current.wait_event(event)
        for tensor in (key, value):
            tensor.record_stream(current)
        if self.begun is not None:
            self.begun.synchronize()
        self.begun = current.record_event()
        if layer + 1 < len(self.cache.layers):
            self.fetch(layer + 1)
        return key, value

    def fetch(self, layer: int) -> None:
        """Start copying a layer from pinned memory on the side stream."""
        pair, stream = self.cache.layers[layer], self.cache.stream
        assert pair is not None
        assert stream is not None
        with torch.cuda.stream(stream):
            key, value = (packed.data.to(self.device, non_blocking=True) for packed in pair)
            self.fetched[layer] = (key, value, stream.record_event())
