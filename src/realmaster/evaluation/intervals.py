"""A mean with its 95 % interval by the bootstrap over clips. Separate because every table of scores shows one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_RESAMPLES = 10_000
_SEED = 20260323


@dataclass(frozen=True)
class Score:
    """A mean over clips and the ends of its 95 % interval (percentile bootstrap, clips drawn with replacement)."""

    mean: float
    low: float
    high: float
    values: tuple[float | None, ...]  # one per clip; None where it could not be computed or is infinite

    @property
    def interval(self) -> tuple[float, float] | None:
        """Give the ends of the interval; None for a single clip, which tells nothing of others."""
        return (self.low, self.high) if sum(value is not None for value in self.values) > 1 else None


def score(values: Sequence[float | None]) -> Score | None:
    """Summarise one figure per clip; clips without one are left out, and nothing is left of nothing.

    The drawing is seeded: the same values give the same interval.
    """
    finite = tuple(value if value is not None and math.isfinite(value) else None for value in values)
    known = np.array([value for value in finite if value is not None], dtype=np.float64)
    if known.size == 0:
        return None
    draws = np.random.default_rng(_SEED).integers(0, known.size, (_RESAMPLES, known.size))
    low, high = np.percentile(known[draws].mean(axis=1), [2.5, 97.5])
    return Score(float(known.mean()), float(low), float(high), finite)
