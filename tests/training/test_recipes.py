"""The recipes that are shipped fit the settings they are for."""

from pathlib import Path

import pytest

from realmaster.errors import ConfigError
from realmaster.models.profiles import load_profile
from realmaster.training.nano import NanoRecipe
from realmaster.training.settings import TrainSettings, plan_turns

CONFIGS = ("nano", "wan2.1-1.3b", "wan2.2-a14b")


@pytest.mark.parametrize("name", ["nano-cpu", "nano-gpu"])
def test_a_shipped_recipe_reads(checkout: Path, name: str) -> None:
    recipe = NanoRecipe.from_yaml(checkout / "recipes" / f"{name}.yaml")
    assert recipe.reference.loop.max_minutes is not None


@pytest.mark.parametrize("name", CONFIGS)
def test_a_shipped_config_reads_and_fits_its_profile(checkout: Path, name: str) -> None:
    settings = TrainSettings.read(checkout / "configs" / "train" / f"{name}.yaml")
    profile = load_profile(settings.profile)
    assert set(settings.experts) == set(profile.transformers)
    assert settings.adapter.rank == settings.adapter.alpha == 32
    assert len(plan_turns(settings.experts, settings.turn_steps)) % settings.validation.every == 0
    if name != "nano":
        sizes = {(size.width, size.height) for size in profile.size.all_buckets}
        assert {(bucket.width, bucket.height) for bucket in settings.data.encode.buckets} <= sizes


def test_settings_of_a_config_are_changed_by_their_names(checkout: Path) -> None:
    path = checkout / "configs" / "train" / "nano.yaml"
    changed = TrainSettings.read(path, {"data.manifest": "elsewhere.jsonl", "experts.transformer.num_steps": 7})
    assert changed.data.manifest == Path("elsewhere.jsonl")
    assert changed.experts["transformer"].num_steps == 7
    with pytest.raises(ConfigError, match="learning_rat"):
        TrainSettings.read(path, {"experts.transformer.learning_rat": 1})


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"memory.gradient_checkpointing": False, "memory.fp8_base": True}, "need gradient_checkpointing"),
        ({"memory.gradient_checkpointing": True, "memory.fp8_base": True, "memory.offload_blocks": 2}, "choose one"),
        ({"memory.gradient_checkpointing": True, "memory.fp8_base": True, "memory.compile": True}, "choose one"),
        ({"reference": {"mode": "joint", "adapted": False}}, "needs mode: cached"),
        ({"experts": {}}, "name transformer"),
        ({"data.encode.buckets": ["128 by 72"]}, "WIDTHxHEIGHTxFRAMES"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(checkout: Path, changes: dict[str, object], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        TrainSettings.read(checkout / "configs" / "train" / "nano.yaml", changes)
