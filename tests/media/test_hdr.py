from __future__ import annotations

import numpy as np
import pytest

from realmaster.media.color import srgb_to_linear
from realmaster.media.hdr import KNEE, PEAK_NITS, REFERENCE_WHITE_NITS, to_sdr, tone_map


def pq_code(nits: float) -> int:
    """SMPTE ST 2084, from luminance to a 16-bit code."""
    m1, m2, c1, c2, c3 = 0.1593017578125, 78.84375, 0.8359375, 18.8515625, 18.6875
    power = (nits / 10000) ** m1
    return round(65535 * ((c1 + c2 * power) / (1 + c3 * power)) ** m2)


def grey(code: int):
    return np.full((2, 2, 3), code, np.uint16)


def test_dark_light_passes_unchanged_and_the_peak_becomes_white():
    peak = PEAK_NITS / REFERENCE_WHITE_NITS
    levels = np.array([0, 0.1, KNEE, 1, peak, 2 * peak], np.float32)
    mapped = tone_map(np.repeat(levels[None, :, None], 3, axis=2))[0, :, 0]
    np.testing.assert_allclose(mapped[:3], levels[:3], atol=1e-6)
    np.testing.assert_allclose(mapped[4:], 1, atol=1e-5)
    assert KNEE < mapped[3] < 1


def test_the_tone_curve_is_smooth_and_rising():
    levels = np.linspace(0, PEAK_NITS / REFERENCE_WHITE_NITS, 1001, dtype=np.float32)
    slopes = np.diff(tone_map(np.repeat(levels[None, :, None], 3, axis=2))[0, :, 0]) / np.diff(levels)
    assert slopes.min() > 0
    assert np.abs(np.diff(slopes)).max() < 0.03


def test_hue_stays_because_all_channels_are_scaled_alike():
    color = np.array([[[3.0, 1.5, 0.75]]], np.float32)
    mapped = tone_map(color)
    np.testing.assert_allclose(mapped / mapped.max(), color / color.max(), rtol=1e-5)


@pytest.mark.parametrize("nits", [1.0, 20.0, 50.0])
def test_pq_below_the_knee_shows_its_light_relative_to_diffuse_white(nits):
    shown = srgb_to_linear(to_sdr(grey(pq_code(nits)), "pq", "bt2020"))
    np.testing.assert_allclose(shown, nits / REFERENCE_WHITE_NITS, atol=0.004)


def test_pq_black_is_black_and_1000_nits_are_white():
    assert to_sdr(grey(0), "pq", "bt2020").max() == 0
    assert to_sdr(grey(pq_code(1000)), "pq", "bt2020").min() >= 254


def test_hlg_white_at_75_percent_equals_pq_at_203_nits():
    hlg = int(to_sdr(grey(round(0.75 * 65535)), "hlg", "bt2020")[0, 0, 0])
    pq = int(to_sdr(grey(pq_code(203)), "pq", "bt2020")[0, 0, 0])
    assert abs(hlg - pq) <= 2


def test_grey_in_wide_primaries_is_unchanged():
    for level in (0, 1, 77, 128, 254, 255):
        assert (to_sdr(grey(level * 257), "sdr", "bt2020") == level).all()


def test_colour_in_wide_primaries_gains_saturation():
    muted = np.array([[[40000, 20000, 20000]]], np.uint16)
    plain, wide = to_sdr(muted, "sdr", "bt709"), to_sdr(muted, "sdr", "bt2020")
    assert wide[0, 0, 0] > plain[0, 0, 0]
    assert wide[0, 0, 1] < plain[0, 0, 1]
