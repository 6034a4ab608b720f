"""The change carried from the model's size to the input's."""

import cv2
import numpy as np
import pytest

from realmaster.evaluation.metrics import gradient_energy
from realmaster.models.profiles import TransferSettings
from realmaster.pipelines.transfer import SteadyFit, apply_change

SETTINGS = TransferSettings()


def fit_change(guide: np.ndarray, translated: np.ndarray, settings: TransferSettings) -> np.ndarray:
    return SteadyFit(settings).fit(guide, guide, translated)


@pytest.fixture
def frame() -> np.ndarray:
    generator = np.random.default_rng(0)
    coarse = generator.integers(40, 200, (12, 16, 3), dtype=np.uint8)
    image = cv2.resize(coarse, (160, 120), interpolation=cv2.INTER_CUBIC)
    return cv2.putText(image, "HUD 42", (20, 60), cv2.FONT_HERSHEY_SIMPLEX, 1, (255, 255, 255), 1, cv2.LINE_AA)


def shrink(frame: np.ndarray) -> np.ndarray:
    return cv2.resize(frame, (40, 30), interpolation=cv2.INTER_AREA)


def test_no_change_changes_nothing_but_flat_rounding(frame: np.ndarray) -> None:
    small = shrink(frame)
    out = apply_change(frame, fit_change(small, small, TransferSettings(epsilon=1e-8)))
    assert np.abs(out.astype(int) - frame).max() <= 2


def test_a_change_of_light_reaches_every_pixel_and_keeps_the_detail(frame: np.ndarray) -> None:
    small = shrink(frame)
    darker = (small * 0.5).astype(np.uint8)
    out = apply_change(frame, fit_change(small, darker, SETTINGS))
    assert np.abs(out.astype(float) - frame * 0.5).mean() < 4
    energy = gradient_energy(out[None]) / gradient_energy((frame * 0.5).astype(np.uint8)[None])
    assert 0.8 < energy < 1.2


def test_a_blurred_translation_of_a_blurred_guide_keeps_the_input_sharp(frame: np.ndarray) -> None:
    blurred = cv2.GaussianBlur(shrink(frame), (0, 0), 2.0)
    out = apply_change(frame, fit_change(blurred, (blurred * 0.7).astype(np.uint8), SETTINGS))
    assert gradient_energy(out[None]) > 0.6 * gradient_energy((frame * 0.7).astype(np.uint8)[None])


def test_strength_zero_gives_the_frame_itself(frame: np.ndarray) -> None:
    small = shrink(frame)
    maps = fit_change(small, 255 - small, SETTINGS)
    np.testing.assert_array_equal(apply_change(frame, maps, strength=0.0), frame)


def test_protected_pixels_are_the_input_bit_for_bit_and_others_change(frame: np.ndarray) -> None:
    small = shrink(frame)
    maps = fit_change(small, 255 - small, SETTINGS)
    weight = np.ones(frame.shape[:2], dtype=np.float32)
    weight[:50] = 0
    out = apply_change(frame, maps, strength=weight)
    np.testing.assert_array_equal(out[:50], frame[:50])
    assert np.abs(out[60:].astype(int) - frame[60:]).mean() > 10


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (1080, 1920)])
def test_any_size_of_frame_takes_the_maps(size: tuple[int, int]) -> None:
    frame = np.full((*size, 3), 100, dtype=np.uint8)
    small = np.full((24, 40, 3), 100, dtype=np.uint8)
    out = apply_change(frame, fit_change(small, small + 50, SETTINGS))
    assert out.shape == frame.shape
    assert (np.abs(out.astype(int) - 150) <= 1).all()


def test_a_translation_without_texture_does_not_take_the_inputs_away(frame: np.ndarray) -> None:
    small = shrink(frame)
    blurred = (cv2.GaussianBlur(small, (0, 0), 6.0) * 0.8).astype(np.uint8)  # all that a model of few steps draws
    kept, taken = (
        apply_change(frame, fit_change(small, blurred, TransferSettings(epsilon=epsilon))) for epsilon in (0.05, 1e-6)
    )
    assert gradient_energy(kept[None]) > 1.5 * gradient_energy(taken[None])
    assert kept.mean() == pytest.approx(0.8 * frame.mean(), rel=0.05)


def test_a_steady_fit_follows_a_flicker_less_and_starts_afresh_at_a_cut(frame: np.ndarray) -> None:
    small = cv2.resize(frame, (80, 60), interpolation=cv2.INTER_AREA) // 2
    fit = SteadyFit(TransferSettings(steadiness=0.8))
    bright, dark = (small * 1.5).astype(np.uint8), (small * 0.5).astype(np.uint8)
    first = apply_change(frame // 2, fit.fit(small, small, bright)).mean()
    steady = apply_change(frame // 2, fit.fit(small, small, dark)).mean()
    plain = apply_change(frame // 2, fit_change(small, dark, TransferSettings())).mean()
    assert first - steady < 0.3 * (first - plain)
    cut = cv2.resize(255 - frame, (80, 60), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(fit.fit(cut, cut, cut // 2), fit_change(cut, cut // 2, TransferSettings()))


def test_a_change_stays_on_the_surface_it_was_made_for() -> None:
    wide = np.random.default_rng(3).integers(90, 130, (30, 60, 3), dtype=np.uint8)
    wide = cv2.resize(wide, (240, 96), interpolation=cv2.INTER_CUBIC)
    wide[:, 60:100] += 60  # a lighter surface, and the only one that the model changes
    changed = wide.copy()
    changed[:, 60:100] -= 50
    fit = SteadyFit(TransferSettings(steadiness=0.95))
    for index in range(8):  # the camera turns
        view = slice(3 * index, 3 * index + 160)
        maps = fit.fit(wide[:, view], wide[:, view], changed[:, view])
    out = apply_change(wide[:, view], maps).astype(int)
    assert np.abs(out - changed[:, view]).mean() < 3
    beside = slice(100 - view.start, 108 - view.start)  # where it stood some frames ago
    assert np.abs(out[:, beside] - wide[:, view][:, beside]).mean() < 10  # left behind on the screen: up to 50


def test_a_shade_that_no_luma_tells_moves_with_its_wall() -> None:
    wall = np.random.default_rng(4).integers(90, 150, (24, 70, 3), dtype=np.uint8)
    wall = cv2.resize(wall, (280, 96), interpolation=cv2.INTER_CUBIC)
    shaded = wall.copy()
    shaded[:, 60:120] //= 2
    fit = SteadyFit(TransferSettings(steadiness=0.95))
    for index in range(13):  # the camera turns
        view = slice(6 * index, 6 * index + 160)
        maps = fit.fit(wall[:, view], wall[:, view], shaded[:, view])
    out = apply_change(wall[:, view], maps).astype(int)
    assert np.abs(out - shaded[:, view]).mean() < 8  # left behind on the screen: 30


def test_a_moving_camera_brings_no_tint() -> None:
    wall = np.random.default_rng(5).integers(60, 200, (32, 100), dtype=np.uint8)
    wall = np.dstack([cv2.resize(wall, (280, 96), interpolation=cv2.INTER_CUBIC)] * 3)
    fit = SteadyFit(TransferSettings(steadiness=0.95))
    for index in range(13):
        view = cv2.warpAffine(wall, np.array([[1, 0, -2.3 * index], [0, 1, 0]]), (160, 96))
        maps = fit.fit(view, view, cv2.add(view, (30, 30, 30, 0)))
    out = apply_change(view, maps).astype(int)
    assert (out.max(axis=2) - out.min(axis=2)).max() <= 1  # 4 where the sums of a cell are not all moved alike


def test_a_change_ends_at_an_edge_that_the_model_is_too_small_to_show() -> None:
    frame = np.full((96, 160, 3), 60, dtype=np.uint8)
    frame[:, 83:] = 200
    small = cv2.resize(frame, (40, 24), interpolation=cv2.INTER_AREA)
    darker = np.where(small > 130, small // 2, small)
    out = apply_change(frame, fit_change(small, darker, SETTINGS))
    assert (np.abs(out[:, :83].astype(int) - 60) <= 6).all()
    assert (np.abs(out[:, 83:].astype(int) - 100) <= 6).all()


def test_a_hue_that_the_model_has_not_seen_there_stays_what_it_is() -> None:
    small = np.full((24, 40, 3), 118, dtype=np.uint8)  # a wall
    small[:, 20:] = 90, 125, 160  # and a window that shows the sky, which the model makes dark
    dark = small.copy()
    dark[:, 20:] //= 5
    small, dark = (cv2.GaussianBlur(picture, (0, 0), 1.0) for picture in (small, dark))
    frame = np.zeros((96, 160, 3), dtype=np.uint8)
    frame[:] = 220, 75, 70  # a red coat comes before the wall, as bright as both
    out = apply_change(frame, fit_change(small, dark, SETTINGS))
    assert np.abs(out[:, :32].astype(int) - frame[:, :32]).max() < 15, "red, and not pink"


def test_strips_of_a_large_frame_meet_without_a_seam(frame: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    small = shrink(frame)
    maps = fit_change(small, 255 - small, SETTINGS)
    whole = apply_change(frame, maps)
    monkeypatch.setattr("realmaster.pipelines.strips._PIXELS", 7 * frame.shape[1])
    np.testing.assert_array_equal(apply_change(frame, maps), whole)


def lamp(small: np.ndarray, x: int) -> np.ndarray:
    """Draw a light that the render lacks: no map from the render's colours makes it."""
    return cv2.circle(small.copy(), (x, 12), 3, (250, 250, 250), -1)


def test_what_no_map_can_say_is_carried_on_when_asked() -> None:
    frame = np.full((96, 160, 3), 90, dtype=np.uint8)
    small = cv2.resize(frame, (40, 24))
    out = {}
    for remainder in (0.0, 0.5, 1.0):
        fit = SteadyFit(TransferSettings(cell=3, remainder=remainder))
        out[remainder] = apply_change(frame, fit.fit(small, small, lamp(small, 20)), fit.remainder).astype(int)
        assert (fit.remainder is None) == (remainder == 0)
    lit = slice(44, 54), slice(76, 86)
    assert out[0.0][lit].mean() < 230 < 245 < out[1.0][lit].mean()
    assert out[0.5][lit].mean() == pytest.approx((out[0.0][lit].mean() + out[1.0][lit].mean()) / 2, abs=1)
    assert np.abs(out[1.0][:, 120:] - 90).max() <= 2


def test_what_no_map_can_say_moves_with_the_picture_and_ends_at_a_cut() -> None:
    wall = np.random.default_rng(6).integers(60, 140, (24, 70, 3), dtype=np.uint8)
    wall = cv2.resize(wall, (280, 96), interpolation=cv2.INTER_CUBIC)
    lit = cv2.circle(wall.copy(), (140, 48), 8, (240, 240, 240), -1)
    fit = SteadyFit(TransferSettings(steadiness=0.95, remainder=1.0))
    for index in range(12):  # the camera turns
        view = slice(6 * index, 6 * index + 160)
        maps = fit.fit(wall[:, view], wall[:, view], lit[:, view])
    out = apply_change(wall[:, view], maps, fit.remainder).astype(int)
    assert (
        np.abs(out - lit[:, view])[44:52, 136 - view.start : 144 - view.start].mean() < 16
    )  # in its place; without it 60
    assert np.abs(out - lit[:, view])[44:52, 150 - view.start : 174 - view.start].mean() < 3  # where it was
    cut = 255 - wall[:, view]
    fit.fit(cut, cut, cut)
    assert fit.remainder is not None
    assert np.abs(fit.remainder).max() <= 1


def test_what_is_carried_on_fits_any_size_of_frame(frame: np.ndarray) -> None:
    small = shrink(frame)
    fit = SteadyFit(TransferSettings(remainder=1.0))
    maps = fit.fit(small, small, lamp(small, 20))
    for height, width in ((1, 1), (3, 500), (1080, 1920)):
        large = np.full((height, width, 3), 100, dtype=np.uint8)
        assert apply_change(large, maps, fit.remainder).shape == large.shape
        np.testing.assert_array_equal(apply_change(large, maps, fit.remainder, strength=0.0), large)


def test_a_frame_that_counts_little_says_little_of_what_is_carried_on() -> None:
    small = np.full((24, 40, 3), 90, dtype=np.uint8)
    fit = SteadyFit(TransferSettings(cell=3, remainder=1.0))
    fit.begin(small, np.stack([small] * 2), np.stack([lamp(small, 20), small]), np.array([0.01, 1.0], np.float32))
    assert np.abs(fit.remainder).max() < 5
    fit = SteadyFit(TransferSettings(cell=3, remainder=1.0))
    fit.fit(small, small, lamp(small, 20), 0.01)
    assert np.abs(fit.remainder).max() > 50
    fit.fit(small, small, small)
    assert np.abs(fit.remainder).max() < 10
