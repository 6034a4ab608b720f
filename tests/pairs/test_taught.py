"""The two commands of the paper's claim fit each other: what the pipeline makes is what the model learns from."""

from __future__ import annotations

from pathlib import Path

import pytest

from realmaster.evaluation.comparison_settings import ComparisonSettings
from realmaster.pairs.settings import PairSettings
from realmaster.training.settings import TrainSettings


@pytest.fixture
def config(checkout: Path) -> Path:
    folder = checkout / "configs"
    if not folder.is_dir():
        pytest.skip("configs are not part of the source distribution")
    return folder


def test_the_model_learns_from_the_pipelines_pairs_and_from_nothing_else(config: Path) -> None:
    made = PairSettings.from_yaml(config / "pairs" / "taught.yaml")
    compared = ComparisonSettings.from_yaml(config / "eval" / "taught.yaml")
    taught = compared.made["taught by the pipeline"].train
    assert taught is not None
    settings = TrainSettings.read(config.parent / taught.config, taught.settings)
    assert Path(str(settings.data.manifest)) == Path(made.output) / "train.jsonl"
    assert settings.validation.manifest is None, "exact pairs choose no checkpoint"


def test_both_adapters_are_taught_alike_but_for_their_pairs(config: Path) -> None:
    compared = ComparisonSettings.from_yaml(config / "eval" / "taught.yaml")
    by_pipeline, by_exact = (compared.made[f"taught by {name}"].train for name in ("the pipeline", "exact pairs"))
    assert by_pipeline is not None
    assert by_exact is not None
    differ = {name for name, value in by_pipeline.settings.items() if by_exact.settings[name] != value}
    assert differ == {"output", "data.manifest"}
    assert {"psnr_seen", "psnr_unseen"} <= set(compared.metrics or ())
