"""What the tests of the translator share: nano, loaded once a file, and a pattern that moves."""

from __future__ import annotations

import numpy as np
import pytest

from realmaster.pipelines.translate import Translator


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.from_profile("nano", device="cpu")


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    generator = np.random.default_rng(0)
    still = np.kron(generator.integers(30, 220, (9, 16, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([np.roll(still, 2 * shift, axis=1) for shift in range(15)])
