"""Share one clip's tokens among several accelerators, through diffusers' context parallelism.

Every process holds the whole model and a part of the sequence. Self-attention's queries are a part; keys and values of
all parts are exchanged (Ulysses: heads against tokens; ring: around the processes). The reference's pass is shared out
in the same way, so that each process caches the keys and values of its own part of the reference: the cache is sharded
with the sequence, and the exchange carries both.

Separate because it is the one option that needs several processes; everything else is blind to it.
"""

from __future__ import annotations

import os
from typing import Any

import torch
from torch import distributed

from realmaster.errors import ConfigError
from realmaster.models.memory_settings import MemorySettings


def check_context_parallel(memory: MemorySettings) -> None:
    """Refuse fewer or more processes than the setting asks for.

    Raises:
        ConfigError: with the command that starts them.
    """
    asked, started = memory.context_parallel, int(os.environ.get("WORLD_SIZE", "1"))
    if asked not in (1, started):
        raise ConfigError(
            f"expected {asked} processes for memory.context_parallel, got {started}: "
            f"run `torchrun --nproc-per-node {asked} --no-python realmaster translate ...`"
        )


def join_processes(memory: MemorySettings, device: str | None) -> str | None:
    """Join the processes that torchrun started, and give this one's device; alone, give the device back.

    Raises:
        ConfigError: several processes were started that would all make the same clip, or `check_context_parallel`.
    """
    check_context_parallel(memory)
    started = int(os.environ.get("WORLD_SIZE", "1"))
    if memory.context_parallel == 1:
        if started > 1:
            raise ConfigError(
                f"expected memory.context_parallel {started} with {started} processes, got 1: they would all make the "
                f"same clip; add --set memory.context_parallel={started}, or start one process"
            )
        return device
    kind = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if kind.type == "cuda":
        kind = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(kind)
    if not distributed.is_initialized():
        distributed.init_process_group("nccl" if kind.type == "cuda" else "gloo")
    return str(kind)


def is_first() -> bool:
    """Say whether this process is the one that writes and talks: the only one, or rank 0."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def share_tokens(transformer: Any, memory: MemorySettings) -> None:
    """Let a transformer's forwards share their tokens among the processes."""
    if memory.context_parallel == 1:
        return
    from diffusers import ContextParallelConfig

    degree = {f"{memory.context_parallel_kind}_degree": memory.context_parallel}
    transformer.enable_parallelism(config=ContextParallelConfig(**degree))
