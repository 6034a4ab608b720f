"""Training with everything on a GPU (one that only places tensors): nothing is mixed, and the losses are the CPU's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelerate.state import AcceleratorState

import tiny_run
from realmaster.training.run import train
from realmaster.training.settings import TrainSettings
from wan_layout import write_wan22

TWO = {"transformer": {"num_steps": 2, "learning_rate": 0.01}, "transformer_2": {"num_steps": 2, "learning_rate": 0.01}}
OFFLOADED = {"offload_blocks": 1, "gradient_checkpointing": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("train")
    return tiny_run.write_pairs(folder / "pairs", 3), write_wan22(folder / "wan")


@pytest.fixture(autouse=True)
def own_state() -> Iterator[None]:
    """Accelerate remembers a process's device for good."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


def losses(place: tuple[Path, Path], output: Path, changes: dict[str, Any]) -> list[tuple[int, str, float]]:
    train(TrainSettings.from_mapping(tiny_run.config(*place, output, **changes), source="test"))
    return tiny_run.losses(output)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:'pin_memory' argument is set")  # torch's own look at the machine is not deceived
@pytest.mark.parametrize(
    "changes",
    [
        {"experts": TWO, "turn_steps": 1, "average": 0.9},
        {"experts": TWO, "memory": OFFLOADED},
        {"memory": OFFLOADED | {"dtype": "bfloat16"}, "reference": {"adapted": False}},
        {"memory": {"dtype": "bfloat16", "fp8_base": True, "gradient_checkpointing": True}},
        {"memory": OFFLOADED, "reference": {"mode": "joint"}, "noise": {"first_frame": 0.5, "still": 0.5}},
    ],
    ids=["both experts", "offloaded", "offloaded unadapted bf16", "fp8", "offloaded joint"],
)
def test_each_option_keeps_to_its_devices_and_gives_the_cpus_losses(
    place: tuple[Path, Path], tmp_path: Path, virtual_cuda: Any, changes: dict[str, Any]
) -> None:
    validation = {"manifest": str(place[0]), "every": 2, "num_clips": 1, "num_inference_steps": 1}
    changes = {"validation": validation, **changes}
    expected = losses(place, tmp_path / "cpu", changes)
    AcceleratorState._reset_state(reset_partial_state=True)
    with virtual_cuda() as memory:
        found = losses(place, tmp_path / "cuda", {**changes, "device": "cuda"})
        assert memory.peak > 0
    assert [step[:2] for step in found] == [step[:2] for step in expected]
    assert [step[2] for step in found] == pytest.approx([step[2] for step in expected], rel=1e-4)
