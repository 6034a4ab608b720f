"""Meter a computation without doing it: floating-point operations and the peak of the memory it allocates.

Separate because it knows nothing of the models: any code that runs on torch's meta device can be metered, and what is
metered is the code itself, not a formula about it. The same meter over real tensors gives the same figures, which the
tests hold against torch's own profiler.

What it counts is what torch's allocator would hand out: every new storage, until its last user is gone. Weights and
inputs that exist before are not counted. Attention counts as the fused kernels run it, without a matrix of all pairs.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry
from torch.utils.weak import WeakIdKeyDictionary


@dataclass(frozen=True)
class Cost:
    """What a call costs: operations, bytes at its peak, and bytes that its result keeps alive afterwards."""

    flops: float
    peak_bytes: int
    kept_bytes: int


def meter(call: Callable[[], Any]) -> tuple[Any, Cost]:
    """Run a call (cheaply on the meta device) and give its result with its cost."""
    with Meter() as counted, _fused_attention():
        result = call()
    return result, Cost(counted.flops, counted.peak_bytes, counted.live_bytes)


class Meter(TorchDispatchMode):
    """Count operations, by torch's own table, and follow the storages that they make until these are freed.

    torch's `FlopCounterMode` counts the same, but keeps the activations of a backward pass alive.
    """

    def __init__(self) -> None:
        """Begin at nothing."""
        super().__init__()
        self.flops = 0.0
        self.live_bytes = 0
        self.peak_bytes = 0
        self._known: Any = WeakIdKeyDictionary()

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        """Run an operation; what it takes in is known, what it makes is counted."""
        keywords = keywords or {}
        for tensor in _tensors((arguments, keywords)):
            self._known.setdefault(tensor.untyped_storage(), True)
        result = function(*arguments, **keywords)
        for tensor in _tensors(result):
            self._count(tensor.untyped_storage())
        count_flops = flop_registry.get(function._overloadpacket)
        if count_flops is not None:
            self.flops += count_flops(*arguments, **keywords, out_val=result)
        return result

    def _count(self, storage: Any) -> None:
        if storage in self._known:
            return
        size = storage.nbytes()
        self._known[storage] = True
        weakref.finalize(storage, self._release, size)
        self.live_bytes += size
        self.peak_bytes = max(self.peak_bytes, self.live_bytes)

    def _release(self, size: int) -> None:
        self.live_bytes -= size


@contextmanager
def _fused_attention() -> Iterator[None]:
    """On the meta device, let attention cost what the fused kernel costs; torch itself would write all pairs down.

    A function of torch is replaced for a while, because a mode is off inside `backward`, where gradient checkpointing
    computes again. Calls with real tensors or a mask go to the original.
    """
    original = functional.scaled_dot_product_attention

    def attend(query: Tensor, key: Tensor, value: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        if query.is_meta and not arguments and keywords.get("attn_mask") is None:
            return torch.ops.aten._scaled_dot_product_flash_attention(query, key, value)[0]
        return original(query, key, value, *arguments, **keywords)

    functional.scaled_dot_product_attention = attend
    try:
        yield
    finally:
        functional.scaled_dot_product_attention = original


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor)]
