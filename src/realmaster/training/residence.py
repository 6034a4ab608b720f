"""Where the experts' weights are while they train: one on the device, the other in host memory.

Separate from `models/placement.py`, which serves inference: there an expert's weights never change, here its LoRA does.
So the LoRA stays on the device, where its optimizer is, and the frozen base comes and goes without being copied back.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from realmaster.models.placement import OneAtATime


def find_offloaded(transformer: Any, num_blocks: int) -> frozenset[int]:
    """Give the `id`s of the frozen parameters that `block_offload.offload_blocks` moves: `stay` of the class below."""
    blocks = list(transformer.blocks)[-num_blocks:] if num_blocks else []
    return frozenset(id(p) for block in blocks for p in block.parameters() if not p.requires_grad)


class TrainedOneAtATime(OneAtATime):
    """Experts of which one has its frozen weights on the device; parameters that train are always there."""

    def __init__(
        self, modules: Mapping[str, nn.Module], device: torch.device, stay: frozenset[int] = frozenset()
    ) -> None:
        """Take over modules in host memory; tensors whose `id` is in `stay` are moved by someone else."""
        super().__init__(modules, device)
        self.stay = stay
        for module in modules.values():
            for parameter in module.parameters():
                if parameter.requires_grad:
                    parameter.data = parameter.data.to(device)

    @torch.inference_mode(False)  # validation brings experts too, and its weights have to serve training again
    def bring(self, name: str) -> None:
        """Let one expert's base be on the device, and the one that was there leave before it comes."""
        if self.present == name:
            return
        self.leave()
        home = self.home.setdefault(name, {})
        for key, tensor in self._moving(name).items():
            home[key] = tensor.data
            tensor.data = tensor.data.to(self.device)
        self.present = name

    @torch.inference_mode(False)
    def leave(self) -> None:
        """Let the base that is on the device leave it; its host copies are still there."""
        if self.present is None:
            return
        home = self.home.pop(self.present)
        for key, tensor in self._moving(self.present).items():
            tensor.data = home[key]
        self.present = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()

    def _moving(self, name: str) -> dict[str, Tensor]:
        module = self.modules[name]
        tensors = {**dict(module.named_parameters()), **dict(module.named_buffers())}
        return {key: t for key, t in tensors.items() if not t.requires_grad and id(t) not in self.stay}
