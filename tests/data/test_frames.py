"""Crops and colours that training draws."""

import json
from pathlib import Path

import numpy as np
import pytest

from realmaster.data.frames import Crop, fit, jitter_look, load_pairs
from realmaster.errors import ConfigError

FRAMES = np.random.default_rng(0).integers(0, 256, (13, 36, 64, 3), dtype=np.uint8)


def test_a_crop_cuts_the_same_place_from_every_look() -> None:
    crop = Crop.draw(np.random.default_rng(1), FRAMES.shape, num_frames=5, size=(16, 24))
    one, other = crop.cut(FRAMES), crop.cut(255 - FRAMES)
    assert one.shape == (3, 5, 16, 24)
    np.testing.assert_allclose(one, -other, atol=1e-6)


@pytest.mark.parametrize("column", ["engine_weather", "camera_weather"])
def test_training_wants_the_weathers_of_every_pair(tmp_path: Path, column: str) -> None:
    row = {"id": "1_street", "reference_video": "e", "video": "c", "caption": "a street"}
    row |= {"engine_weather": "clear", "camera_weather": "rain"}
    row.pop(column)
    (tmp_path / "train.jsonl").write_text(json.dumps(row))
    with pytest.raises(ConfigError, match=f"train.jsonl: expected .* column '{column}' .*, 1_street has none: add it"):
        load_pairs([tmp_path], "train")


def test_a_zoomed_crop_has_the_size_that_was_asked() -> None:
    for seed in range(10):
        crop = Crop.draw(np.random.default_rng(seed), FRAMES.shape, num_frames=13, size=(18, 32), zoom=(0.5, 2.0))
        assert crop.cut(FRAMES).shape == (3, 13, 18, 32)


def test_the_same_seed_draws_the_same_crop() -> None:
    draw = [Crop.draw(np.random.default_rng(3), FRAMES.shape, num_frames=5, size=(8, 8)) for _ in range(2)]
    assert draw[0] == draw[1]


def test_jitter_changes_colours_within_range_and_nothing_at_zero() -> None:
    video = Crop.draw(np.random.default_rng(1), FRAMES.shape, num_frames=5, size=(16, 16)).cut(FRAMES)
    changed = jitter_look(video, np.random.default_rng(2), 1.0)
    assert np.abs(changed - video).mean() > 0.01
    assert changed.min() >= -1
    assert changed.max() <= 1
    np.testing.assert_array_equal(jitter_look(video, np.random.default_rng(2), 0.0), video)


def test_fitting_averages_areas() -> None:
    assert fit(FRAMES, (18, 32)).shape == (13, 18, 32, 3)
    np.testing.assert_allclose(fit(FRAMES, (18, 32)).mean(), FRAMES.mean(), atol=0.6)
    assert fit(FRAMES, None) is FRAMES
