"""Framing and augmentation change both looks alike, or the engine look alone."""

from __future__ import annotations

import numpy as np
import pytest

from realmaster.data.augment import Augmentation, Framing, engine_colour, find_function, mirror, zoom
from realmaster.errors import ConfigError

FRAME = np.random.default_rng(0).integers(0, 256, (36, 64, 3), dtype=np.uint8)


def generator(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def test_a_frame_of_the_right_size_is_shown_as_it_is() -> None:
    np.testing.assert_array_equal(Framing.cover((36, 64), (36, 64)).show(FRAME, (36, 64)), FRAME)


def test_another_aspect_is_cropped_around_the_middle() -> None:
    shown = Framing.cover((36, 64), (36, 36)).show(FRAME, (36, 36))
    np.testing.assert_array_equal(shown, FRAME[:, 14:50])
    tall = Framing.cover((36, 64), (16, 64)).show(FRAME, (16, 64))
    np.testing.assert_array_equal(tall, FRAME[10:26])


def test_a_mirror_swaps_left_and_right() -> None:
    framing = mirror(Framing(), generator(), 1.0)
    np.testing.assert_array_equal(framing.show(FRAME, (36, 64)), FRAME[:, ::-1])
    assert not mirror(framing, generator(), 1.0).is_mirrored


def test_a_zoom_stays_within_the_picture_and_keeps_its_aspect() -> None:
    for seed in range(50):
        framing = zoom(Framing(), generator(seed), 1.0)
        assert 0 <= framing.left <= framing.left + framing.width <= 1
        assert 0 <= framing.top <= framing.top + framing.height <= 1
        assert 0.5 <= framing.width == framing.height <= 1
        assert framing.show(FRAME, (18, 32)).shape == (18, 32, 3)


def test_the_colours_of_the_engine_change_and_its_frames_do_not_move() -> None:
    frames = np.stack([FRAME, FRAME[::-1]])
    changed = engine_colour(frames, generator(1), 1.0)
    assert changed.dtype == np.uint8
    assert changed.shape == frames.shape
    assert np.abs(changed.astype(int) - frames).mean() > 2
    assert np.corrcoef(changed.mean(-1).ravel(), frames.mean(-1).ravel())[0, 1] > 0.8


def test_an_augmentation_of_ones_own_is_found_by_module_and_name() -> None:
    assert Augmentation(name="numpy:flip").name == "numpy:flip"
    assert find_function("numpy:flip") is np.flip


@pytest.mark.parametrize("name", ["numpy:no_such_function", "no_such_package.module:f", "numpy:pi"])
def test_an_augmentation_that_cannot_be_found_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="check the name"):
        find_function(name)


def test_an_unknown_name_is_refused_when_the_settings_are_read() -> None:
    with pytest.raises(ConfigError, match="mirror, zoom, engine_colour"):
        Augmentation.from_mapping({"name": "miror"}, source="train.yaml")
