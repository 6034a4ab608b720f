"""Bradley-Terry strengths: one number a method, from all pairs together.

    P(i preferred to j) = 1 / (1 + exp(s_j - s_i)),    sum of s = 0

by maximum likelihood (Bradley and Terry 1952), with half a win either way added to each pair that was compared
(Haldane and Anscombe), so that a method which won every time has a finite strength. For two methods s_1 - s_2 is
log((wins + 1/2) / (losses + 1/2)). Intervals are s +- 1.96 sd, with the larger of two variances for each strength: the
inverse information, as if every answer were independent, and the sandwich over people, whose answers belong together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Float = npt.NDArray[np.float64]
_STEPS = 60
_Z = 1.959963984540054  # 97.5 % point of the normal distribution


@dataclass(frozen=True)
class Strength:
    """A method's strength in log-odds about a mean of zero, and its 95 % interval."""

    method: str
    value: float
    low: float
    high: float


def strengths(methods: Sequence[str], contests: Sequence[tuple[int, str, str]]) -> tuple[Strength, ...] | None:
    """Estimate the strengths of methods.

    Args:
        methods: names, K of them.
        contests: (person, winner, loser) for each answer.

    Returns:
        The strengths in the order of `methods`; None where the comparisons do not link all methods.
    """
    index = {method: place for place, method in enumerate(methods)}
    people = {person: place for place, person in enumerate(sorted({person for person, _, _ in contests}))}
    wins = np.zeros((len(people), len(methods), len(methods)))  # [people, K, K]: how often a person chose i over j
    for person, winner, loser in contests:
        wins[people[person], index[winner], index[loser]] += 1
    total = wins.sum(axis=0)
    compared = (total + total.T) > 0
    if not people or not _is_linked(compared):
        return None
    values = fit(total + 0.5 * compared)
    reach = _Z * np.sqrt(_variances(values, wins, 0.5 * compared))
    return tuple(
        Strength(method, float(values[place]), float(values[place] - reach[place]), float(values[place] + reach[place]))
        for place, method in enumerate(methods)
    )


def fit(wins: Float) -> Float:
    """Fit strengths to a table of wins [K, K] (row over column) whose pairs link all K methods, by Newton's method."""
    won = wins.sum(axis=1)
    games = wins + wins.T
    values = np.zeros(len(wins))
    for _ in range(_STEPS):
        gradient = won - (games * _chance(values)).sum(axis=1)
        step = np.linalg.solve(_information(values, games), gradient)
        values = values + step / max(1.0, float(np.abs(step).max()) / 2)  # far steps of Newton's overshoot
        if np.abs(step).max() < 1e-10:
            break
    return values - values.mean()


def _variances(values: Float, wins: Float, added: Float) -> Float:
    """Variance of each strength [K], from each person's wins [people, K, K] and the wins that were added to all."""
    games = wins + wins.transpose(0, 2, 1)
    total = (wins.sum(axis=0) + added) + (wins.sum(axis=0) + added).T
    centre = np.eye(len(values)) - 1 / len(values)
    inverse = centre @ np.linalg.inv(_information(values, total)) @ centre
    independent = np.diag(inverse)
    if len(wins) < 2:
        return independent
    scores = wins.sum(axis=2) - (games * _chance(values)).sum(axis=2)  # [people, K]
    together = scores.T @ scores * len(wins) / (len(wins) - 1)
    return np.maximum(independent, np.diag(inverse @ together @ inverse))


def _chance(values: Float) -> Float:
    """Chance [K, K] that the row is preferred to the column."""
    chance: Float = 1 / (1 + np.exp(values[None, :] - values[:, None]))
    return chance


def _information(values: Float, games: Float) -> Float:
    """Fisher information [K, K] of the strengths; a constant added to every entry fixes their sum."""
    chance = _chance(values)
    weight = games * chance * (1 - chance)
    information: Float = np.diag(weight.sum(axis=1)) - weight + 1 / len(values)
    return information


def _is_linked(compared: npt.NDArray[np.bool_]) -> bool:
    reached = {0}
    while True:
        further = {int(place) for one in reached for place in np.flatnonzero(compared[one])} - reached
        if not further:
            return len(reached) == len(compared)
        reached |= further
