"""Who sees which pairs, in which order, on which side: balanced, shuffled, counterbalanced. Pure and seeded.

A cell is one pair of methods on one clip. Plans are made one after the other and handed out in that order to whoever
really comes, so what holds for every beginning of the list holds for the study: no cell was used more than once more
than another, and in no cell did a method stand on the left more than once more than on the right.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

Side = Literal["left", "right"]


@dataclass(frozen=True)
class PlannedTrial:
    """One screen: a clip and what stands left and right; `damaged` says which side is spoilt in an attention check."""

    clip: int
    left: str
    right: str
    damaged: Side | None = None

    @property
    def expected(self) -> Side | None:
        """The side that an attentive person chooses in a check; None for a comparison, which has no right answer."""
        return None if self.damaged is None else "left" if self.damaged == "right" else "right"


def make_plans(
    pairs: Sequence[tuple[str, str]],
    num_clips: int,
    *,
    num_plans: int,
    trials_per_person: int,
    checks_per_person: int,
    check_methods: Sequence[str],
    seed: int,
) -> list[list[PlannedTrial]]:
    """Plan every participant's trials.

    Args:
        pairs: pairs of methods to compare.
        num_clips: clips that every method has.
        num_plans: participants at most.
        trials_per_person: comparisons each; fewer where there are not so many cells, for no cell comes twice.
        checks_per_person: attention checks each, spread over the session and never first.
        check_methods: for each clip, the method whose output is shown beside its damaged copy.
        seed: the same seed gives the same plans.
    """
    rng = random.Random(seed)
    cells = [(pair, clip) for pair in pairs for clip in range(num_clips)]
    used: Counter[tuple[tuple[str, str], int]] = Counter()
    first_left = {cell: rng.random() < 0.5 for cell in cells}
    clips_for_checks = _endless(range(num_clips), rng)
    plans = []
    for _ in range(num_plans):
        trials = []
        for cell in _choose(cells, used, min(trials_per_person, len(cells)), rng):
            (one, other), clip = cell
            one_is_left = first_left[cell] == (used[cell] % 2 == 0)
            used[cell] += 1
            trials.append(PlannedTrial(clip, *((one, other) if one_is_left else (other, one))))
        rng.shuffle(trials)
        sides: list[Side] = ["left", "right"] * (checks_per_person // 2)  # who presses one side only fails every second
        sides += [rng.choice(("left", "right"))] * (checks_per_person % 2)
        rng.shuffle(sides)
        checks = []
        for side, clip in zip(sides, clips_for_checks, strict=False):
            checks.append(PlannedTrial(clip, check_methods[clip], check_methods[clip], damaged=side))
        plans.append(_spread(trials, checks, rng))
    return plans


def _choose(
    cells: Sequence[tuple[tuple[str, str], int]],
    used: Counter[tuple[tuple[str, str], int]],
    count: int,
    rng: random.Random,
) -> list[tuple[tuple[str, str], int]]:
    """Choose the least used cells; among equals those whose pair, then clip, this person has seen least."""
    left = list(cells)
    rng.shuffle(left)
    pairs: Counter[tuple[str, str]] = Counter()
    clips: Counter[int] = Counter()
    chosen = []
    for _ in range(count):
        best = min(left, key=lambda cell: (used[cell], pairs[cell[0]], clips[cell[1]]))
        left.remove(best)
        pairs[best[0]] += 1
        clips[best[1]] += 1
        chosen.append(best)
    return chosen


def _spread(trials: list[PlannedTrial], checks: list[PlannedTrial], rng: random.Random) -> list[PlannedTrial]:
    """Put one check at a random place in each of as many equal stretches; the first screen is a comparison."""
    total = len(trials) + len(checks)
    places = set()
    for index in range(len(checks)):
        start, end = (total * index) // len(checks), (total * (index + 1)) // len(checks)
        places.add(rng.randrange(max(start, 1), max(end, 2)) if total > 1 else 0)
    for place in range(total - 1, 0, -1):  # stretches shorter than a check may share a place: take the last free ones
        if len(places) >= len(checks):
            break
        places.add(place)
    rest, spread = iter(trials), iter(checks)
    return [next(spread) if place in places else next(rest) for place in range(total)]


def _endless(items: Sequence[int], rng: random.Random) -> Iterator[int]:
    """Give every item once in a shuffled order, then again in another."""
    while True:
        order = list(items)
        rng.shuffle(order)
        yield from order
