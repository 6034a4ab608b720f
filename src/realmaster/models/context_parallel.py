"""Share one clip's tokens among several accelerators, through diffusers' context parallelism.

Every process holds the whole model and a part of the sequence. Self-attention's queries are a part; keys and values of
all parts are exchanged (Ulysses: heads against tokens; ring: around the processes). The reference's pass is shared out
in the same way, so that each process caches the keys and values of its own part of the reference: the cache is sharded
with the sequence, and the exchange carries both.

Separate because it is the one option that needs several processes; everything else is blind to it.
"""

from __future__ import annotations

import os
from typing import Any, Self

import torch
from torch import distributed

from realmaster.errors import ConfigError
from realmaster.models.memory_settings import MemorySettings


def check_context_parallel(memory: MemorySettings, device: torch.device) -> None:
    """Refuse what cannot share a clip: no accelerator, too few or too many processes, a back-end without ring.

    Raises:
        ConfigError: with the command that starts the processes, or the setting to change.
    """
    asked, started = memory.context_parallel, int(os.environ.get("WORLD_SIZE", "1"))
    if asked == 1:
        return
    if device.type == "cpu":
        raise ConfigError(f"expected {asked} CUDA devices for memory.context_parallel, got the CPU: set it to 1")
    if memory.context_parallel_kind == "ring" and memory.attention_backend in (None, "native"):
        raise ConfigError(
            "expected a memory.attention_backend that tells its normaliser (_native_cudnn, _native_flash, flash) for "
            f"context_parallel_kind ring, got {memory.attention_backend or 'native'}: set one, or choose ulysses"
        )
    if asked != started:
        raise ConfigError(
            f"expected {asked} processes for memory.context_parallel, got {started}: "
            f"run `torchrun --nproc-per-node {asked} --no-python realmaster translate ...`"
        )


def join_processes(memory: MemorySettings, device: str | None) -> str | None:
    """Join the processes that torchrun started, and give this one's device; alone, give the device back.

    Raises:
        ConfigError: several processes were started that would all make the same clip, or `check_context_parallel`.
    """
    kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    check_context_parallel(memory, kind)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if memory.context_parallel == 1:
        if started > 1:
            raise ConfigError(
                f"expected memory.context_parallel {started} with {started} processes, got 1: they would all make the "
                f"same clip; add --set memory.context_parallel={started}, or start one process"
            )
        return device
    kind = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(kind)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl")
    return str(kind)


def is_first() -> bool:
    """Say whether this process is the one that writes and talks: the only one, or rank 0."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def check_shares(memory: MemorySettings, *, num_tokens: int, num_heads: int) -> None:
    """Refuse tokens or heads that do not divide among the processes.

    Raises:
        ConfigError: with both numbers.
    """
    degree = memory.context_parallel
    if num_tokens % degree:
        raise ConfigError(
            f"expected tokens that divide among {degree} processes, got {num_tokens}: change memory.context_parallel, "
            "size or window.num_frames"
        )
    if memory.context_parallel_kind == "ulysses" and num_heads % degree:
        raise ConfigError(
            f"expected attention heads that divide among {degree} processes, got {num_heads}: change "
            "memory.context_parallel, or set context_parallel_kind=ring"
        )


def share_tokens(transformer: Any, memory: MemorySettings) -> None:
    """Let a transformer's forwards share their tokens among the processes."""
    if memory.context_parallel == 1:
        return
    from diffusers import ContextParallelConfig

    degree = {f"{memory.context_parallel_kind}_degree": memory.context_parallel}
    transformer.enable_parallelism(config=ContextParallelConfig(**degree))


class NoWriter:
    """Stands where the clip's writer is in the first process."""

    warnings: tuple[str, ...] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing was begun."""

    def write(self, frames: Any) -> None:
        """Leave the frames to the first process."""

    def close(self) -> None:
        """Nothing was begun."""
