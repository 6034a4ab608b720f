"""The stand-in for a GPU refuses what CUDA refuses, counts what CUDA would hand out, and is gone afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

BOTH = pytest.mark.parametrize("computes", [True, False], ids=["computed", "shapes"])


@BOTH
def test_tensors_stay_on_their_device_until_they_are_moved(virtual_cuda: Any, computes: bool) -> None:
    with virtual_cuda(computes=computes):
        there = torch.randn(4, 4, device="cuda")
        assert {x.device.type for x in (there, there * 2, there[1:], there.half(), torch.zeros_like(there))} == {"cuda"}
        assert {x.device.type for x in (there.cpu(), there.to("cpu"), torch.ones(3))} == {"cpu"}
        layer = nn.Linear(4, 4).to("cuda")
        layer(there).sum().backward()
        assert layer.weight.grad.device == torch.device("cuda", 0)
        assert layer.to("cpu").weight.device.type == "cpu"
    assert not torch.cuda.is_available()
    assert torch.ones(2).device.type == "cpu"


@pytest.mark.parametrize(
    "mistake",
    [
        lambda there: there + torch.ones(4),
        lambda there: nn.Linear(4, 4)(there),
        lambda there: torch.cat([there, torch.ones(1, 4)]),
        lambda there: there.numpy(),
        lambda there: np.asarray(there),
        lambda there: there.pin_memory(),
        lambda there: torch.randn(3, device="cuda", generator=torch.Generator("cpu")),
    ],
)
def test_what_cuda_refuses_is_refused(virtual_cuda: Any, mistake: Callable[[torch.Tensor], Any]) -> None:
    with virtual_cuda(), pytest.raises((RuntimeError, TypeError), match=r"device|Tensor\.cpu|pin"):
        mistake(torch.ones(4, 4, device="cuda"))


@BOTH
def test_memory_is_counted_until_the_last_user_is_gone(virtual_cuda: Any, computes: bool) -> None:
    with virtual_cuda(computes=computes) as memory:
        first = torch.zeros(1024, 256, device="cuda")
        view = first[:10]
        assert memory.now == 2**20
        second = first.to("cpu").to("cuda")
        assert torch.cuda.max_memory_allocated() == 2**21
        del first, second
        assert memory.now == 2**20  # the view needs it
        del view
        assert memory.now == 0
        torch.zeros(1, device="cuda")
        assert memory.peak == 2**21


def test_what_is_computed_is_right(virtual_cuda: Any) -> None:
    torch.manual_seed(0)
    layer, values = nn.Linear(8, 8), torch.randn(3, 8)
    expected = layer(values)
    with virtual_cuda(), torch.autocast("cuda", dtype=torch.bfloat16):
        found = layer.to("cuda")(values.to("cuda"))
        assert found.dtype == torch.bfloat16
        torch.testing.assert_close(found.float().cpu(), expected, rtol=2e-2, atol=2e-2)
