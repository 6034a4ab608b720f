"""Blocks whose frozen weights wait in host memory and come for their turn, forwards and when they are recomputed.

Separate from diffusers' group offload, which moves every parameter of a block: here the LoRA and its gradients stay on
the device, where the optimizer works on them. Needs gradient checkpointing: what the recomputation of a block saves for
its backward keeps its memory until then, while the module itself is already back at the host's copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


def offload_blocks(transformer: Any, num_blocks: int, device: torch.device) -> None:
    """Keep the frozen weights of the last `num_blocks` blocks on the host; the rest of the transformer stays.

    Host copies are pinned where there is CUDA. The first blocks stay on the device: they are needed soonest.
    """
    for block in list(transformer.blocks)[-num_blocks:] if num_blocks else []:
        _HostWeights(block, device)


class _HostWeights:
    """One block's frozen parameters: host copies, and the device's for as long as the block computes."""

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self.device = device
        self.parameters = [p for p in block.parameters() if not p.requires_grad]
        self.host: list[Tensor] = []
        for parameter in self.parameters:
            copy = parameter.data.to("cpu")
            self.host.append(copy.pin_memory() if device.type == "cuda" else copy)
        self.leave()
        block.register_forward_pre_hook(lambda *_: self.arrive())
        block.register_forward_hook(lambda *_: self.leave(), always_call=True)

    def arrive(self) -> None:
        """Copy the weights to the device; a new copy each time, so that a saved one is never written over."""
        for parameter, host in zip(self.parameters, self.host, strict=True):
            copied = host.to(self.device, non_blocking=True)
            parameter.data = copied if copied is not host else host.clone()

    def leave(self) -> None:
        """Point the module back at the host's copy; the device's is freed when nothing needs it."""
        for parameter, host in zip(self.parameters, self.host, strict=True):
            parameter.data = host
