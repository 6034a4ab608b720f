"""The training loop: it learns, averages, resumes, and stops at NaN."""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from realmaster.errors import ConfigError, NumericalError
from realmaster.training.loop import Loop, LoopSettings

SETTINGS = LoopSettings(num_steps=40, learning_rate=0.05, warmup_steps=2, save_every=10, validate_every=20)


class Line(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1, 1))
        self.bias = nn.Parameter(torch.zeros(1))


def step_of(model: Line):
    def step(_index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        x = torch.from_numpy(generator.normal(size=(16, 1))).float() + 0.1 * torch.randn(16, 1)
        return {"loss": (x @ model.weight + model.bias - (2 * x + 1)).square().mean()}

    return step


def test_training_lowers_the_loss_and_logs_it(tmp_path: Path) -> None:
    model = Line()
    scores = []
    settings = SETTINGS.model_copy(update={"num_steps": 160, "validate_every": 80})
    Loop(tmp_path, model, settings).run(step_of(model), lambda: scores.append(1) or {"score": 0.5})
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    losses = [line["loss"] for line in lines if "loss" in line]
    assert len(losses) == 8
    assert losses[-1] < 0.2 * 5  # at zero weights the loss is 2 * 2 + 1
    assert len(scores) == 2
    assert {"step": 160, "score": 0.5}.items() <= lines[-1].items()


def test_a_run_broken_off_and_resumed_ends_where_an_uninterrupted_one_does(tmp_path: Path) -> None:
    whole = Line()
    Loop(tmp_path / "whole", whole, SETTINGS).run(step_of(whole))

    class StopError(Exception):
        pass

    broken = Line()
    plain = step_of(broken)

    def stopping(index: int, generator: np.random.Generator) -> Mapping[str, Tensor]:
        if index == 25:
            raise StopError
        return plain(index, generator)

    with pytest.raises(StopError):
        Loop(tmp_path / "broken", broken, SETTINGS).run(stopping)
    resumed = Line()
    loop = Loop(tmp_path / "broken", resumed, SETTINGS)
    assert loop.index == 20
    loop.run(step_of(resumed))
    torch.testing.assert_close(resumed.weight, whole.weight, rtol=0, atol=0)
    torch.testing.assert_close(resumed.bias, whole.bias, rtol=0, atol=0)


def test_nothing_in_a_state_is_pickled(tmp_path: Path) -> None:
    model = Line()
    Loop(tmp_path, model, SETTINGS).run(step_of(model))
    assert {path.suffix for path in (tmp_path / "state").iterdir()} == {".safetensors", ".json"}


def test_averaged_weights_are_put_in_and_taken_out(tmp_path: Path) -> None:
    model = Line()
    loop = Loop(tmp_path, model, SETTINGS)
    loop.run(step_of(model))
    trained = model.weight.detach().clone()
    with loop.averaged():
        assert not torch.equal(model.weight, trained)
    torch.testing.assert_close(model.weight.detach(), trained)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    model = Line()
    with pytest.raises(NumericalError, match="lower learning_rate"):
        Loop(tmp_path, model, SETTINGS).run(lambda _i, _g: {"loss": model.weight.sum() * float("nan")})


def test_the_state_of_another_model_is_refused(tmp_path: Path) -> None:
    model = Line()
    Loop(tmp_path, model, SETTINGS).run(step_of(model))
    with pytest.raises(ConfigError, match="another output folder"):
        Loop(tmp_path, nn.Linear(3, 3), SETTINGS)
