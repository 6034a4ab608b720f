"""Blocks whose frozen weights wait in host memory and come for their turn, forwards and when they are recomputed.

Separate from diffusers' group offload, which moves every parameter of a block: here the LoRA and its gradients stay on
the device, where the optimizer works on them. Needs gradient checkpointing: what the recomputation of a block saves for
its backward keeps its memory until then, while the module itself is already back at the host's copy.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn


def offload_blocks(transformer: Any, num_blocks: int, device: torch.device) -> None:
    """Keep the frozen weights of the last `num_blocks` blocks on the host; the rest of the transformer stays.

    Host copies are pinned where there is CUDA. The first blocks stay on the device: they are needed soonest.
    """
    for block in list(transformer.blocks)[-num_blocks:] if num_blocks else []:
        _HostWeights(block, device)


class _HostWeights:
    """One block's frozen parameters: host copies, and the device's for as long as the block computes.

    The device's are parameters of their own: autograd saves some weights as they are (a norm's), and what is saved must
    not follow the module back to the host.
    """

    def __init__(self, block: nn.Module, device: torch.device) -> None:
        self.device = device
        self.places = [
            (module, name, parameter)
            for module in block.modules()
            for name, parameter in module.named_parameters(recurse=False)
            if not parameter.requires_grad
        ]
        for _, _, parameter in self.places:
            copy = parameter.data.to("cpu")
            parameter.data = copy.pin_memory() if device.type == "cuda" else copy
        arrive, leave = torch.compiler.disable(self.arrive), torch.compiler.disable(self.leave)
        block.register_forward_pre_hook(lambda *_: arrive())
        block.register_forward_hook(lambda *_: leave(), always_call=True)

    def arrive(self) -> None:
        """Copy the weights to the device; new ones each time, so that a saved one is never written over."""
        for module, name, host in self.places:
            copied = host.data.to(self.device, non_blocking=True, copy=True)
            setattr(module, name, nn.Parameter(copied, requires_grad=False))

    def leave(self) -> None:
        """Give the module its host copies again; the device's are freed when nothing needs them."""
        for module, name, host in self.places:
            setattr(module, name, host)
