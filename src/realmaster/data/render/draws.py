"""Seeded choices, in the vocabulary of a scene: every random number of the renderer comes from one of these streams.

Separate because reproduction hangs on the order of the draws: a scene of seed s must come out the same in every weather
and in every release. Options are drawn even where they are then not used; a new feature takes a stream of its own.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

Option = TypeVar("Option")
Array = npt.NDArray[Any]

# Streams of one seed, which must not disturb one another.
WETNESS, SCENE, FILM, LAMPS, CLEARANCE = None, 2, 3, 4, 5


class Draws:
    """One stream of seeded choices."""

    def __init__(self, seed: int, stream: int | None = None) -> None:
        """Open the stream of a seed; `None` is the seed's first."""
        self.generator = np.random.default_rng(seed if stream is None else [seed, stream])

    def uniform(self, low: float, high: float) -> float:
        """Draw a number between two bounds."""
        return float(self.generator.uniform(low, high))

    def choose(self, *options: Option) -> Option:
        """Draw one of the options, each as likely."""
        return options[int(self.generator.integers(len(options)))]

    def integer(self, low: int, high: int) -> int:
        """Draw a whole number, low <= n < high."""
        return int(self.generator.integers(low, high))

    def chance(self, probability: float) -> bool:
        """Say yes with this probability."""
        return bool(self.generator.random() < probability)

    def numbers(self, count: int) -> Array:
        """Draw `count` numbers between 0 and 1."""
        return self.generator.random(count)

    def normal(self, mean: float, deviation: float, count: int) -> Array:
        """Draw `count` normal numbers."""
        return self.generator.normal(mean, deviation, count)

    def tint(self, low: float, high: float, deviation: float, shift: float = 0.0) -> tuple[float, float, float]:
        """Draw a multiplier near white: each channel varies by `deviation`, all of them together by `shift`."""
        channels = self.generator.normal(1, deviation, 3)
        if shift:
            channels = channels + self.generator.normal(0, shift)
        red, green, blue = np.clip(channels, low, high)
        return float(red), float(green), float(blue)

    def shade(self, brightness: float) -> tuple[float, float, float]:
        """Draw any colour up to a brightness."""
        red, green, blue = self.generator.random(3) * brightness
        return float(red), float(green), float(blue)

    def directions(self, count: int) -> Array:
        """Draw `count` unit vectors, [count, 3]."""
        vectors = self.generator.normal(size=(count, 3))
        return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
