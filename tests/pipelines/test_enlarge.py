"""The model's own pixels at the input's size, mixed by strength and mask."""

import numpy as np
import pytest

from realmaster.pipelines.enlarge import enlarge

GENERATOR = np.random.default_rng(0)
FRAME = GENERATOR.integers(0, 256, (48, 64, 3), dtype=np.uint8)
SMALL = GENERATOR.integers(0, 256, (24, 32, 3), dtype=np.uint8)


def test_a_translation_of_the_input_s_size_comes_as_it_is() -> None:
    other = FRAME[::-1].copy()
    assert enlarge(FRAME, other) is other


@pytest.mark.parametrize("shape", [(48, 64), (12, 16), (24, 40)])
def test_any_size_becomes_the_input_s(shape: tuple[int, int]) -> None:
    frame = np.zeros((*shape, 3), dtype=np.uint8)
    grey = np.full_like(SMALL, 130)
    assert (enlarge(frame, grey) == 130).all()


def test_strength_and_mask_say_how_far_to_go() -> None:
    np.testing.assert_array_equal(enlarge(FRAME, SMALL, strength=0.0), FRAME)
    white = np.full_like(FRAME, 200)
    black = np.zeros_like(FRAME)
    assert (enlarge(black, white, strength=0.5) == 100).all()
    mask = np.zeros((48, 64), dtype=np.float32)
    mask[:, 32:] = 1
    mixed = enlarge(FRAME, white, strength=mask)
    np.testing.assert_array_equal(mixed[:, :32], FRAME[:, :32])
    assert (mixed[:, 32:] == 200).all()
