"""A CUDA device on a machine that has none: it refuses what CUDA refuses, and counts what is allocated on it.

    with virtual_cuda() as memory:                  computed on the CPU: the results are right
    with virtual_cuda(computes=False) as memory:    shapes alone, so that the full size can be run

A storage knows which device it is on; all of them are the CPU's. Operations on tensors of two devices are refused, as
are numpy and generators of the other device; streams and events do nothing. So code that places tensors can be tested
where there is no GPU, with `memory.peak` (bytes) for what torch's allocator would have handed out. It says nothing of
time, kernels or fragmentation. Attention costs what the fused kernels cost.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensor, FakeTensorMode
from torch.utils import _device
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakIdKeyDictionary

CUDA, CPU = torch.device("cuda", 0), torch.device("cpu")
aten = torch.ops.aten
BETWEEN_DEVICES = {aten.copy_.default, aten._to_copy.default, aten._has_compatible_shallow_copy_type.default}
INDEXED = {aten.index.Tensor, aten.index_put_.default, aten._index_put_impl_.default, aten._unsafe_index.Tensor}
BLOCK = 512  # bytes: torch's allocator hands out multiples
WITH_GENERATOR = ("randn", "rand", "randint", "normal")
real_clone, real_numpy, real_to, real_array = Tensor.clone, Tensor.numpy, Tensor.to, Tensor.__array__
real_device, fake_device, real_attention = (
    Tensor.device,
    FakeTensor.device,
    torch.nn.functional.scaled_dot_product_attention,
)
real_apply, real_autocast, RealGenerator = torch.nn.Module._apply, torch.autocast.__init__, torch.Generator


@dataclass
class Memory:
    """Bytes on the device, now and at most, and the storages that are there."""

    now: int = 0
    peak: int = 0
    asleep: bool = False  # while torch works on tensors that are all the CPU's
    there: Any = field(default_factory=WeakIdKeyDictionary)
    pinned: Any = field(default_factory=WeakIdKeyDictionary)

    def put(self, tensor: Tensor) -> Tensor:
        """Place a new tensor's storage on the device."""
        storage = tensor.untyped_storage()
        if storage not in self.there:
            size = math.ceil(storage.nbytes() / BLOCK) * BLOCK
            self.there[storage] = True
            self.now += size
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._free, size)
        return tensor

    def holds(self, tensor: Tensor) -> bool:
        """Say whether a tensor is on the device."""
        return is_kept(tensor) and tensor.untyped_storage() in self.there

    @contextmanager
    def sleep(self) -> Iterator[None]:
        """Let every tensor be the CPU's."""
        before, self.asleep = self.asleep, True
        try:
            yield
        finally:
            self.asleep = before

    def _free(self, size: int) -> None:
        self.now -= size


class Placement(TorchDispatchMode):
    """Refuse operations between devices; results are where their inputs are, or where they are asked for."""

    def __init__(self, memory: Memory) -> None:
        super().__init__()
        self.memory = memory

    def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), keywords: Any = None) -> Any:
        keywords = keywords or {}
        if self.memory.asleep:
            return function(*arguments, **keywords)
        tensors = [leaf for leaf in tree_leaves((arguments, keywords)) if isinstance(leaf, Tensor)]
        here = [self.memory.holds(tensor) for tensor in tensors]
        in_backward = torch._C._current_graph_task_id() != -1  # autograd makes its zeros without asking us
        if any(here) and function not in BETWEEN_DEVICES and not in_backward:
            outside = [t for t, is_here in zip(tensors, here, strict=True) if not is_here and t.dim() and is_kept(t)]
            if outside and not (function in INDEXED and here[0]):
                raise RuntimeError(f"expected all tensors on one device, got cuda:0 and cpu in {function}")
        # torch's own code asks for the device it believes in, the CPU; callers move tensors by the methods below
        on_device = (here[0] if here and function in BETWEEN_DEVICES else any(here)) or is_cuda(keywords.get("device"))
        before = {tensor.untyped_storage()._cdata for tensor in tensors if is_kept(tensor)}
        words = {name: False if name == "pin_memory" else tree_map(as_cpu, word) for name, word in keywords.items()}
        with self.memory.sleep():
            result = function(*tree_map(as_cpu, arguments), **words)
        made = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)] if on_device else []
        for tensor in made:
            if is_kept(tensor) and tensor.untyped_storage()._cdata not in before:
                self.memory.put(tensor)
        return result


class Event:
    """Nothing runs ahead, so there is nothing to wait for."""

    def __init__(self, *_: Any, **__: Any) -> None: ...

    def record(self, *_: Any) -> None: ...

    wait = synchronize = wait_stream = wait_event = record

    def query(self) -> bool:
        return True

    def record_event(self, event: Event | None = None) -> Event:
        return event or Event()


class Generator(RealGenerator):
    """A generator that says which device it was asked for."""

    def __new__(cls, device: Any = "cpu") -> Generator:
        return super().__new__(cls, "cpu")

    def __init__(self, device: Any = "cpu") -> None:
        self.asked = torch.device(device)

    @property
    def device(self) -> torch.device:
        return self.asked


class Move(torch.autograd.Function):
    """Copy a tensor to the other device, and its gradient back."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, memory: Memory, there: bool) -> Tensor:
        context.memory, context.back = memory, not there
        with memory.sleep():
            copied = real_clone(tensor)
        return memory.put(copied) if there else copied

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return Move.apply(gradient, context.memory, context.back), None, None


def is_kept(tensor: Tensor) -> bool:
    """Say whether a tensor has memory of its own: not on the meta device, not sparse."""
    return tensor.layout == torch.strided and device_of(tensor).type != "meta"


def device_of(tensor: Tensor) -> torch.device:
    """Give the device that torch itself believes in."""
    return (fake_device if isinstance(tensor, FakeTensor) else real_device).__get__(tensor)  # type: ignore


def is_cuda(device: Any) -> bool:
    """Say whether a device is the virtual one."""
    return device is not None and torch.device(device).type == "cuda"


def as_cpu(word: Any) -> Any:
    """Give the CPU instead of the virtual device."""
    return CPU if isinstance(word, torch.device) and word.type == "cuda" else word


@contextmanager
def virtual_cuda(*, gigabytes: float = 85.0, computes: bool = True) -> Iterator[Memory]:
    """Let there be a CUDA device of so many GB (10^9 bytes) until the end of the block; gives its memory."""
    memory, total = Memory(), int(gigabytes * 1e9)
    _device._device_constructors()  # remembered before some of them are replaced
    with ExitStack() as stack:

        def replace(owner: Any, **new: Any) -> None:
            for name, value in new.items():
                stack.enter_context(patch.object(owner, name, value, create=True))

        replace(Tensor, **tensor_methods(memory))
        replace(FakeTensor, device=Tensor.device)
        replace(torch.nn.Module, _apply=apply_by_data)
        replace(torch.nn.functional, scaled_dot_product_attention=attend)
        replace(torch.autocast, __init__=begin_autocast)
        replace(torch, Generator=Generator)
        replace(torch, **{name: placed(getattr(torch, name)) for name in ("tensor", "as_tensor")})
        replace(torch, **{name: drawn(getattr(torch, name)) for name in WITH_GENERATOR})
        replace(torch.cuda, **cuda_functions(memory, total))
        mode = nullcontext() if computes else FakeTensorMode(allow_non_fake_inputs=True)
        with torch.autograd.set_multithreading_enabled(False), mode, Placement(memory):
            yield memory


def tensor_methods(memory: Memory) -> dict[str, Any]:
    """Tensor's own methods that know of devices."""

    def place(tensor: Tensor) -> torch.device:
        return CUDA if not memory.asleep and memory.holds(tensor) else device_of(tensor)

    def to(tensor: Tensor, *arguments: Any, **keywords: Any) -> Tensor:
        rest, device = list(arguments), keywords.pop("device", None)
        if rest and isinstance(rest[0], Tensor):
            device, rest = rest[0].device, [rest[0].dtype, *rest[1:]]
        elif rest and (rest[0] is None or isinstance(rest[0], (str, torch.device))):
            device = rest.pop(0)
        keywords = {name: value for name, value in keywords.items() if name != "non_blocking" and value is not None}
        rest = [value for value in rest if isinstance(value, torch.dtype)]
        if not is_kept(tensor) or (device is not None and torch.device(device).type == "meta"):
            return real_to(tensor, *([] if device is None else [device]), *rest, **keywords)
        if device is not None and is_cuda(device) != memory.holds(tensor):
            keywords.pop("copy", None)
            tensor = Move.apply(tensor, memory, is_cuda(device))
        return real_to(tensor, *rest, **keywords) if rest or keywords else tensor

    def on_host(method: Callable[..., Any]) -> Callable[..., Any]:
        def called(tensor: Tensor, *arguments: Any, **keywords: Any) -> Any:
            if memory.holds(tensor):
                raise TypeError("can't convert cuda:0 device type tensor to numpy, use Tensor.cpu() first")
            return method(tensor, *arguments, **keywords)

        return called

    def pin_memory(tensor: Tensor, *_: Any) -> Tensor:
        if memory.holds(tensor):
            raise RuntimeError("cannot pin a tensor of the device, only dense CPU tensors can be pinned")
        copied = real_clone(tensor)
        memory.pinned[copied.untyped_storage()] = True
        return copied

    return {
        "device": property(place), "is_cuda": property(memory.holds), "to": to, "numpy": on_host(real_numpy),
        "cpu": lambda tensor, **_: to(tensor, "cpu"), "cuda": lambda tensor, *_, **__: to(tensor, "cuda"),
        "__array__": on_host(real_array), "pin_memory": pin_memory, "record_stream": lambda *_: None,
        "type_as": lambda tensor, other: to(tensor, other.device, other.dtype),
        "is_pinned": lambda tensor, *_: tensor.untyped_storage() in memory.pinned,
    }  # fmt: skip


def apply_by_data(module: Any, function: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
    """Do what `Module._apply` does: tensors of shapes alone would be exchanged, which autograd's hooks do not allow."""
    if not any(isinstance(parameter, FakeTensor) for parameter in module.parameters()):
        return real_apply(module, function, recurse)
    for child in module.children() if recurse else ():
        child._apply(function)
    with torch.no_grad():
        for parameter in (parameter for parameter in module._parameters.values() if parameter is not None):
            parameter.data = function(parameter)
        module._buffers.update({name: b if b is None else function(b) for name, b in module._buffers.items()})
    return module


def attend(query: Tensor, key: Tensor, value: Tensor, attn_mask: Tensor | None = None, **keywords: Any) -> Tensor:
    """Attend; tensors of shapes alone cost what the fused kernel costs, in the precision that autocast gives it."""
    if not isinstance(query, FakeTensor) or attn_mask is not None:
        return real_attention(query, key, value, attn_mask=attn_mask, **keywords)
    if torch.is_autocast_enabled("cpu"):
        query, key, value = (tensor.to(torch.get_autocast_dtype("cpu")) for tensor in (query, key, value))
    return aten._scaled_dot_product_flash_attention_for_cpu(query, key, value)[0]


def begin_autocast(context: Any, device_type: str, *arguments: Any, **keywords: Any) -> None:
    """Let autocast for CUDA be the CPU's, where the operations really are."""
    real_autocast(context, "cpu" if device_type == "cuda" else device_type, *arguments, **keywords)


def placed(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Make a tensor of given values on a device: torch would look for the device's library."""

    def made(*arguments: Any, device: Any = None, **keywords: Any) -> Tensor:
        result = make(*arguments, **keywords)
        return result if device is None else result.to(device)

    return made


def drawn(make: Callable[..., Tensor]) -> Callable[..., Tensor]:
    """Draw numbers, refusing the other device's generator."""

    def made(*arguments: Any, generator: torch.Generator | None = None, **keywords: Any) -> Tensor:
        if generator is None:
            return make(*arguments, **keywords)
        asked = is_cuda(keywords.get("device") or "cpu")
        if asked != is_cuda(generator.device):
            raise RuntimeError(f"expected a generator of the device asked for, got one of {generator.device.type}")
        return make(*arguments, generator=generator, **keywords)

    return made


def cuda_functions(memory: Memory, total: int) -> dict[str, Any]:
    """What `torch.cuda` has to say."""
    properties = SimpleNamespace(name="virtual GPU", total_memory=total, major=9, minor=0, multi_processor_count=132)
    stream = Event()

    def nothing(*_: Any, **__: Any) -> None: ...

    def reset_peak(*_: Any) -> None:
        memory.peak = memory.now

    silent = ("init", "_lazy_init", "synchronize", "empty_cache", "set_device", "set_stream", "manual_seed_all")
    return {
        **dict.fromkeys(silent, nothing),
        "is_available": lambda: True, "is_initialized": lambda: True, "device_count": lambda: 1,
        "current_device": lambda: 0, "is_bf16_supported": lambda *_, **__: True,
        "get_device_properties": lambda *_: properties, "get_device_name": lambda *_: properties.name,
        "get_device_capability": lambda *_: (9, 0), "mem_get_info": lambda *_: (total - memory.now, total),
        "memory_allocated": lambda *_: memory.now, "memory_reserved": lambda *_: memory.now,
        "max_memory_allocated": lambda *_: memory.peak, "reset_peak_memory_stats": reset_peak,
        "get_rng_state": lambda *_: torch.zeros(16, dtype=torch.uint8), "set_rng_state": nothing,
        "Stream": Event, "Event": Event, "stream": nullcontext,
        "current_stream": lambda *_: stream, "default_stream": lambda *_: stream,
    }  # fmt: skip
