from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import pytest

from realmaster.web.study.plan import PlannedTrial, make_plans

PAIRS = tuple(combinations("ABC", 2))


def plans(**changes: Any) -> list[list[PlannedTrial]]:
    values: dict[str, Any] = {
        "num_plans": 45,
        "trials_per_person": 15,
        "checks_per_person": 3,
        "check_methods": ["A", "B", "C", "A", "B", "C", "A"],
        "seed": 0,
    }
    return make_plans(PAIRS, 7, **(values | changes))


def comparisons(trials: list[PlannedTrial]) -> list[PlannedTrial]:
    return [trial for trial in trials if trial.expected is None]


@pytest.mark.parametrize("num_people", [1, 2, 7, 23, 45])
def test_whoever_comes_the_pairs_are_balanced_and_no_method_stands_on_one_side(num_people: int) -> None:
    seen: Counter[tuple[frozenset[str], int]] = Counter()
    lefts: Counter[tuple[str, frozenset[str], int]] = Counter()
    for trials in plans()[:num_people]:
        for trial in comparisons(trials):
            pair = frozenset((trial.left, trial.right))
            seen[pair, trial.clip] += 1
            lefts[trial.left, pair, trial.clip] += 1
    counts = [seen[frozenset(pair), clip] for pair in PAIRS for clip in range(7)]
    assert max(counts) - min(counts) <= 1
    for one, other in PAIRS:
        for clip in range(7):
            pair = frozenset((one, other))
            assert abs(lefts[one, pair, clip] - lefts[other, pair, clip]) <= 1


def test_nobody_sees_a_pair_on_a_clip_twice_or_more_than_was_said() -> None:
    for trials in plans():
        cells = [(frozenset((trial.left, trial.right)), trial.clip) for trial in comparisons(trials)]
        assert len(cells) == len(set(cells)) == 15
        assert len(trials) == 18
    few = plans(trials_per_person=100)  # there are 21 pairs on clips
    assert {len(comparisons(trials)) for trials in few} == {21}


def test_a_person_meets_every_pair_and_clip_about_equally() -> None:
    first = comparisons(plans()[0])
    pairs = Counter(frozenset((trial.left, trial.right)) for trial in first)
    assert set(pairs.values()) == {5}
    clips = Counter(trial.clip for trial in first)
    assert max(clips.values()) - min(clips.values()) <= 2


def test_checks_are_spread_never_first_and_damaged_on_either_side() -> None:
    places = set()
    for trials in plans():
        checks = [place for place, trial in enumerate(trials) if trial.expected is not None]
        assert len(checks) == 3
        assert checks[0] >= 1
        assert [6 * index <= place < 6 * index + 6 for index, place in enumerate(checks)] == [True] * 3
        places.update(checks)
        sides = Counter(trials[place].damaged for place in checks)
        assert abs(sides["left"] - sides["right"]) == 1  # who presses one side only fails at least one
        for place in checks:
            assert trials[place].left == trials[place].right
            assert trials[place].expected != trials[place].damaged
    assert len(places) == 17


@pytest.mark.parametrize(("num_trials", "num_checks"), [(1, 0), (1, 3), (2, 5), (3, 3), (21, 20)])
def test_any_number_of_checks_fits_in(num_trials: int, num_checks: int) -> None:
    for trials in plans(trials_per_person=num_trials, checks_per_person=num_checks):
        assert len(trials) == num_trials + num_checks
        assert len(comparisons(trials)) == num_trials
        assert trials[0].expected is None


def test_order_and_sides_are_shuffled_and_a_seed_repeats_them() -> None:
    assert plans() == plans()
    assert plans() != plans(seed=1)
    orders = {tuple((trial.left, trial.right, trial.clip) for trial in trials) for trials in plans()}
    assert len(orders) == 45
