"""Do raters agree? Krippendorff's alpha for nominal answers (2011), and the plain share of agreeing pairs of raters.

    alpha = 1 - D_observed / D_expected

A unit is one pair of methods on one clip; its values are the methods preferred by those who saw it. Units with one
rater say nothing and are left out; people need not have seen the same units. 1 is full agreement, 0 is chance.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Agreement:
    """How far raters agree; `alpha` is absent where nobody ever differed in what to prefer."""

    alpha: float | None
    observed: float
    num_units: int
    num_answers: int


def agreement(answers: Iterable[tuple[Hashable, Hashable]]) -> Agreement | None:
    """Measure agreement over (unit, value) of each answer; None where no unit has two raters."""
    units: dict[Hashable, Counter[Hashable]] = {}
    for unit, value in answers:
        units.setdefault(unit, Counter())[value] += 1
    shared = [values for values in units.values() if values.total() > 1]
    count = sum(values.total() for values in shared)
    if not shared:
        return None
    differing = sum(_differing(values) / (values.total() - 1) for values in shared) / count
    whole: Counter[Hashable] = Counter()
    for values in shared:
        whole.update(values)
    expected = _differing(whole) / (count * (count - 1))
    pairs = sum(values.total() * (values.total() - 1) for values in shared)
    observed = 1 - sum(_differing(values) for values in shared) / pairs
    return Agreement(1 - differing / expected if expected > 0 else None, observed, len(shared), count)


def _differing(values: Counter[Hashable]) -> int:
    """Count ordered pairs of unequal values."""
    return values.total() ** 2 - sum(count * count for count in values.values())
