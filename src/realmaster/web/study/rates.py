"""How often one method is preferred to another, with an interval that knows that answers come from people and clips.

    p = wins / n        V = V_people + V_clips - V_both        n_eff = n min(1, p (1 - p) / (n V))

V is the variance of a share when whole people and whole clips could have come out otherwise (Cameron, Gelbach, Miller
2011, two-way clusters); the interval is Wilson's (1927) at n_eff answers. With answers that do not depend on who gives
them and on which clip, n_eff is n and the interval is the plain one; it never has no width and never leaves [0, 1].
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass

_Z = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Share:
    """A share of answers and its 95 % interval; `num_effective` is how many independent answers it is worth."""

    share: float
    low: float
    high: float
    num_wins: int
    num_answers: int
    num_effective: float

    @property
    def is_decided(self) -> bool:
        """Whether the interval leaves out one half, that is chance."""
        return not self.low <= 0.5 <= self.high


def share_of(wins: Sequence[bool], people: Sequence[Hashable], clips: Sequence[Hashable]) -> Share | None:
    """Estimate a share from one win or loss an answer, with who gave it and on which clip; None without answers."""
    count = len(wins)
    if count == 0:
        return None
    share = sum(wins) / count
    residuals = [win - share for win in wins]
    single = share * (1 - share) / count
    effective = float(count)
    if single > 0:
        parts = [_variance(residuals, groups) for groups in (people, clips)]
        both = _variance(residuals, list(zip(people, clips, strict=True)))
        known = [part for part in parts if part is not None]
        variance = sum(known) - (both or 0.0 if len(known) == 2 else 0.0)
        variance = max([variance, *known, single])  # the two-way sum may fall below its parts: never narrower than they
        effective = count * single / variance
    low, high = _wilson(share, effective)
    return Share(share, low, high, sum(wins), count, effective)


def _variance(residuals: Sequence[float], groups: Sequence[Hashable]) -> float | None:
    """Variance of the mean over clusters, with the small-sample factor G / (G - 1); None for a single cluster."""
    sums: dict[Hashable, float] = {}
    for residual, group in zip(residuals, groups, strict=True):
        sums[group] = sums.get(group, 0.0) + residual
    if len(sums) < 2:
        return None
    square = sum(value * value for value in sums.values()) / len(residuals) ** 2
    return square * len(sums) / (len(sums) - 1)


def _wilson(share: float, count: float) -> tuple[float, float]:
    weight = 1 + _Z**2 / count
    middle = (share + _Z**2 / (2 * count)) / weight
    half = _Z / weight * math.sqrt(share * (1 - share) / count + _Z**2 / (4 * count**2))
    return max(0.0, middle - half), min(1.0, middle + half)
