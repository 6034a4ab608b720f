"""The optimizer, its state as plain tensors, and how both are gathered when the weights are sharded.

Separate because resume needs the state by parameter name, whatever the optimizer calls its moments and whichever way
the parameters lie on the devices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from realmaster.config import Settings
from realmaster.errors import ConfigError
from realmaster.optional import require
from realmaster.training.schedule import Decay


class OptimizerSettings(Settings):
    """How weights are changed."""

    kind: Literal["adamw", "adamw8bit"] = Field(
        "adamw", description="AdamW (fused on CUDA), or bitsandbytes' 8-bit one"
    )
    betas: tuple[float, float] = Field((0.9, 0.99), description="decay of the two moments")
    weight_decay: float = Field(0.01, ge=0, description="decay of the LoRA's matrices")
    clip_norm: float = Field(1.0, gt=0, description="largest norm of a gradient")
    warmup_steps: int = Field(50, ge=0, description="steps of linear warm-up, of each expert")
    decay: Decay = Field("constant", description="constant, or a cosine that ends at final_fraction")
    final_fraction: float = Field(0.1, ge=0, le=1, description="learning rate at the end of a cosine, of the peak")


def build_optimizer(parameters: Iterable[nn.Parameter], settings: OptimizerSettings, learning_rate: float) -> Any:
    """Make the optimizer for parameters on their final device.

    Raises:
        MissingExtraError: bitsandbytes is not installed. ConfigError: 8-bit AdamW is asked for without CUDA.
    """
    parameters = list(parameters)
    arguments: dict[str, Any] = {
        "lr": learning_rate, "betas": settings.betas, "weight_decay": settings.weight_decay,
    }  # fmt: skip
    on_cuda = all(p.is_cuda for p in parameters)
    if settings.kind == "adamw8bit":
        bitsandbytes = require("bitsandbytes", extra="adamw8bit")
        if not on_cuda:
            raise ConfigError("expected a CUDA device for optimizer.kind adamw8bit, got none: choose adamw")
        return bitsandbytes.optim.AdamW8bit(parameters, **arguments)
    return torch.optim.AdamW(parameters, fused=on_cuda, **arguments)


def optimizer_tensors(optimizer: Any, parameters: Mapping[str, nn.Parameter]) -> dict[str, Tensor]:
    """Give the optimizer's state as "parameter|moment" tensors, whole, on the CPU; every process has to call it."""
    tensors = {}
    for name, parameter in parameters.items():
        for moment, value in optimizer.state.get(parameter, {}).items():
            tensors[f"{name}|{moment}"] = whole(value if isinstance(value, Tensor) else torch.tensor(value))
    return tensors


def load_optimizer_tensors(
    optimizer: Any, parameters: Mapping[str, nn.Parameter], tensors: Mapping[str, Tensor]
) -> None:
    """Put a state made by `optimizer_tensors` back, spread as the parameters are.

    Raises:
        ConfigError: it is the state of other parameters.
    """
    for key, value in tensors.items():
        name, _, moment = key.rpartition("|")
        if name not in parameters:
            raise ConfigError(f"expected the optimizer state of this adapter, got one with {name}: begin a new run")
        parameter = parameters[name]
        if value.ndim > 0:
            optimizer.state[parameter][moment] = spread(value, parameter)
        elif "bitsandbytes" in type(optimizer).__module__:  # which counts steps in a number
            optimizer.state[parameter][moment] = value.item()
        else:  # fused AdamW keeps the count beside the parameter
            fused = optimizer.param_groups[0].get("fused")
            optimizer.state[parameter][moment] = value.to(parameter.device if fused else "cpu", copy=True)


def whole(tensor: Tensor) -> Tensor:
    """Give a tensor whole, on the CPU, in memory of its own; a sharded one is gathered from all processes."""
    from torch.distributed.tensor import DTensor

    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).to("cpu", copy=True).contiguous()


def spread(value: Tensor, parameter: Tensor) -> Tensor:
    """Lay a whole tensor out as a parameter is: on its device, and sharded where it is sharded."""
    from torch.distributed.tensor import DTensor, distribute_tensor

    value = value.to(parameter.device)
    if isinstance(parameter, DTensor) and value.shape == parameter.shape:
        return distribute_tensor(value, parameter.device_mesh, parameter.placements)
    return value
