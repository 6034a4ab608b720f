"""Which expert is on the accelerator: one at a time, brought from host memory and forgotten there.

Separate because it is the one place where weights move while a model is in use. At inference weights never change, so
the host's copy stays where it is: leaving the accelerator copies nothing back, and a swap moves each byte once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping

import torch
from torch import Tensor, nn

logger = logging.getLogger(__name__)


class OneAtATime:
    """Several modules in host memory, of which the one in use has its weights on a device.

    For inference: what is written into weights on the device is lost when the module leaves.
    """

    def __init__(self, modules: Mapping[str, nn.Module], device: torch.device) -> None:
        """Keep the modules' present tensors as their home in host memory."""
        self.modules, self.device = dict(modules), device
        self.home: dict[str, dict[str, Tensor]] = {}
        self.present: str | None = None

    def bring(self, name: str) -> None:
        """Let one module be on the device, and the one that was there leave before it comes."""
        if self.present == name:
            return
        self.leave()
        home = self.home.setdefault(name, {})
        with torch.inference_mode(mode=False):  # weights that came during inference would be no good for training
            for key, tensor in _tensors(self.modules[name]):
                home[key] = tensor.data
                tensor.data = self.copy(tensor.data)
        self.present = name
        logger.info("%s is on %s", name, self.device)

    def copy(self, tensor: Tensor) -> Tensor:
        """Copy a tensor onto the device."""
        return tensor.to(self.device, non_blocking=True)

    def leave(self) -> None:
        """Let the module that is on the device leave it."""
        if self.present is None:
            return
        home = self.home.pop(self.present)
        for key, tensor in _tensors(self.modules[self.present]):
            tensor.data = home[key]
        self.present = None
        if self.device.type == "cuda":
            torch.cuda.empty_cache()


def _tensors(module: nn.Module) -> list[tuple[str, Tensor]]:
    return [*module.named_parameters(), *module.named_buffers()]


def free_bytes(device: torch.device) -> int | None:
    """Count the bytes that are free on an accelerator; None on a CPU, where all memory is the host's."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return None
