"""The recipes that are shipped fit the settings they are for."""

from pathlib import Path

import pytest

from realmaster.training.nano import NanoRecipe


@pytest.mark.parametrize("name", ["nano-cpu", "nano-gpu"])
def test_a_shipped_recipe_reads(checkout: Path, name: str) -> None:
    recipe = NanoRecipe.from_yaml(checkout / "recipes" / f"{name}.yaml")
    assert recipe.reference.loop.max_minutes is not None
