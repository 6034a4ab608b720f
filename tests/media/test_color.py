from __future__ import annotations

import numpy as np
import pytest

from realmaster.media.color import linear_to_srgb, linear_to_srgb_uint8, primaries_matrix, srgb_to_linear

LEVELS = np.arange(256, dtype=np.uint8)


def plain_srgb_to_linear(values):
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


def test_the_table_for_bytes_is_the_curve_of_the_standard():
    np.testing.assert_allclose(srgb_to_linear(LEVELS), plain_srgb_to_linear(LEVELS / 255.0), atol=1e-6)


def test_floats_follow_the_same_curve_both_ways():
    values = np.random.default_rng(0).random((7, 5, 3))
    linear = srgb_to_linear(values)
    assert linear.dtype == np.float32
    np.testing.assert_allclose(linear, plain_srgb_to_linear(values), atol=1e-6)
    np.testing.assert_allclose(linear_to_srgb(linear), values, atol=2e-6)


def test_every_byte_survives_the_way_to_linear_light_and_back():
    assert (linear_to_srgb_uint8(srgb_to_linear(LEVELS)) == LEVELS).all()


def test_encoding_to_bytes_agrees_with_the_exact_curve_within_one_level_and_mostly_exactly():
    linear = np.random.default_rng(1).random(100_000).astype(np.float32) ** 3
    exact = np.rint(linear_to_srgb(linear) * 255).astype(int)
    difference = np.abs(linear_to_srgb_uint8(linear).astype(int) - exact)
    assert difference.max() <= 1
    assert difference.mean() < 0.01


def test_light_outside_0_to_1_is_clipped():
    np.testing.assert_allclose(linear_to_srgb(np.array([-1.0, 2.0])), [0, 1], atol=1e-6)
    assert linear_to_srgb_uint8(np.array([-1.0, 2.0])).tolist() == [0, 255]


@pytest.mark.parametrize("function", [srgb_to_linear, linear_to_srgb, linear_to_srgb_uint8])
def test_empty_and_single_values_keep_their_shape(function):
    assert function(np.zeros((0, 3), np.float32)).shape == (0, 3)
    assert function(np.float32(0.5).reshape(())).shape == ()


def test_white_stays_white_between_primaries_and_wide_red_leaves_the_narrow_gamut():
    np.testing.assert_allclose(primaries_matrix("bt2020") @ np.ones(3), 1, atol=1e-6)
    red = primaries_matrix("bt2020") @ np.array([1, 0, 0])
    np.testing.assert_allclose(red, [1.6605, -0.1246, -0.0182], atol=1e-4)  # ITU-R BT.2087, table 2
