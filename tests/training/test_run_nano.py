"""The adapter of the shipped nano is trained, validated as it will be used, and kept from other runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

import tiny_run
from realmaster.errors import ConfigError, DataError
from realmaster.evaluation.metrics import psnr
from realmaster.training.nano import NanoRecipe, train_nano
from realmaster.training.run import Trained, train
from realmaster.training.settings import TrainSettings


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_run.write_pairs(tmp_path_factory.mktemp("pairs"), count=3)


def run(manifest: Path, output: Path, **changes: Any) -> Trained:
    values = tiny_run.config(manifest, Path(), output, profile="nano", **changes) | {"model_dir": None}
    values["profile_changes"] = {}
    settings = TrainSettings.from_mapping(values, source="test")
    return train(settings, score=lambda output, truth: {"psnr": psnr(output, truth)})


def test_it_is_validated_with_its_refiner(manifest: Path, tmp_path: Path) -> None:
    validation = {"manifest": str(manifest), "every": 2, "num_clips": 1}
    done = run(manifest, tmp_path / "run", experts={"transformer": {"num_steps": 2}}, validation=validation)
    assert done.num_steps == 2
    scores = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert len([line for line in scores if "psnr" in line]) == 2


def test_a_validation_that_fails_loses_no_steps(manifest: Path, tmp_path: Path) -> None:
    first = json.loads(manifest.read_text().splitlines()[0])
    odd = tmp_path / "odd.jsonl"
    rows = {name: str(manifest.parent / first[name]) for name in ("reference_video", "video")}
    tiny_run.write_clip(tmp_path / "short.mkv", np.zeros((4, tiny_run.HEIGHT, tiny_run.WIDTH, 3), np.uint8))
    odd.write_text(json.dumps(first | rows | {"video": "short.mkv"}))
    validation = {"manifest": str(odd), "every": 4, "at_start": False}
    with pytest.raises(DataError, match="two looks of one size and length"):
        run(manifest, tmp_path / "run", validation=validation, checkpoints={"every": 100})
    assert [path.name for path in (tmp_path / "run" / "checkpoints").iterdir()] == ["step-00000004"]


def test_a_second_run_in_the_same_output_is_refused(manifest: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    output.mkdir()
    with (
        FileLock(output / ".lock"),
        pytest.raises(ConfigError, match=r"run: expected an output in which no other run is at work"),
    ):
        run(manifest, output)
    assert run(manifest, output, experts={"transformer": {"num_steps": 1}}).num_steps == 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"device": "gpu"}, "expected a device among cpu"),
        ({"size": [70, 128]}, "size must be multiples of 8 pixels"),
    ],
)
def test_a_recipe_of_nano_that_cannot_work_here_is_refused_before_the_pairs_are_read(
    tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        train_nano([tmp_path / "nowhere"], tmp_path / "out", NanoRecipe.from_mapping(changes, source="test"))
    assert not (tmp_path / "out").exists()
