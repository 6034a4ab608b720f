"""Lens and sensor: light is kept, corners darken, grain is new in every frame and the same in every run."""

from __future__ import annotations

import numpy as np

from realmaster.data.render.film.lens import Lens, expose_sensor, reduce
from realmaster.data.render.film.metering import choose_exposure

CLEAN = Lens(bloom=0, vignette=0, grain=0, lateral_colour=0)


def flat(value: int) -> np.ndarray:
    return np.full((36, 64, 3), value, np.uint8)


def test_reducing_averages_light_and_not_its_display_values() -> None:
    checks = (np.indices((72, 128)).sum(0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, -1)
    small = reduce(checks, 64, 36)
    assert small.shape == (36, 64, 3)
    expected = 255 * 0.5 ** (1 / 2.2)  # half the light; averaging display values would give 127
    assert np.abs(small.astype(float) - expected).max() <= 1
    assert reduce(small, 64, 36) is small


def test_a_lens_without_faults_changes_nothing() -> None:
    frame = np.random.default_rng(0).integers(0, 256, (36, 64, 3)).astype(np.uint8)
    assert np.abs(expose_sensor(frame, CLEAN, 1, 1).astype(int) - frame).max() <= 1


def test_a_vignette_darkens_the_corners_and_not_the_middle() -> None:
    seen = expose_sensor(flat(180), Lens(0, 0.25, 0, 0), 1, 1).astype(int)
    assert abs(seen[18, 32, 1] - 180) <= 1
    assert seen[0, 0, 1] < seen[18, 0, 1] < 180


def test_bloom_spreads_highlights_and_leaves_a_dim_picture_alone() -> None:
    frame = flat(20)
    frame[16:20, 30:34] = 255
    lens = Lens(0.14, 0, 0, 0)
    assert expose_sensor(frame, lens, 1, 1)[18, 37, 0] > 25
    assert np.abs(expose_sensor(flat(20), lens, 1, 1).astype(int) - 20).max() <= 1


def test_lateral_colour_moves_red_inwards_and_blue_outwards_from_the_edge() -> None:
    frame = flat(0)
    frame[:, 60] = 255
    seen = expose_sensor(frame, Lens(0, 0, 0, 0.02), 1, 1)[18].astype(float)
    place = (seen * np.arange(64)[:, None]).sum(0) / seen.sum(0)
    assert place[0] > place[1] > place[2]


def test_grain_is_fresh_in_each_frame_and_repeats_with_the_seed() -> None:
    lens = Lens(0, 0, 0.01, 0)
    one, again, later = (expose_sensor(flat(128), lens, 5, number) for number in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert (one != later).mean() > 0.3
    assert 1.0 < one.astype(float).std() < 5.0


def test_a_lens_is_drawn_by_the_seed_and_pushed_at_night() -> None:
    by_day, at_night = Lens.draw(8, is_night=False), Lens.draw(8, is_night=True)
    assert by_day == Lens.draw(8, is_night=False) != Lens.draw(9, is_night=False)
    assert at_night.grain > by_day.grain
    assert (at_night.bloom, at_night.vignette) == (by_day.bloom, by_day.vignette)


def test_a_darker_scene_is_exposed_longer_and_a_night_stays_darker_than_a_day() -> None:
    grey = np.full((10, 10, 3), 0.1)
    assert choose_exposure(grey / 4, "clear") > choose_exposure(grey, "clear") + 1.9
    assert choose_exposure(grey, "night") < choose_exposure(grey, "rain") < choose_exposure(grey, "clear")
    assert choose_exposure(grey * 0, "clear") == 7
