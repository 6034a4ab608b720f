"""Win rates, strengths and agreement on cases whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from realmaster.web.study.agreement import agreement
from realmaster.web.study.rates import share_of
from realmaster.web.study.strengths import fit, strengths


def test_independent_answers_get_wilsons_interval() -> None:
    wins = [True] * 30 + [False] * 10
    share = share_of(wins, range(40), range(40))
    assert share is not None
    assert share.share == 0.75
    # each answer its own cluster: only the small-sample factor n / (n - 1) is left
    assert share.num_effective == pytest.approx(40 * 39 / 40, rel=1e-9)
    plain = share_of(wins, [0] * 40, [0] * 40)  # nothing is known of clusters where there is one
    assert plain is not None
    assert (plain.low, plain.high) == pytest.approx((0.5981, 0.8581), abs=5e-4)  # Wilson 1927 for 30 of 40


def test_unanimity_keeps_an_interval_with_a_width() -> None:
    share = share_of([True] * 10, range(10), [0] * 10)
    assert share is not None
    assert (share.share, share.high) == pytest.approx((1.0, 1.0))
    assert share.low == pytest.approx(1 / (1 + 1.959964**2 / 10), abs=1e-6)
    assert share.is_decided
    assert share_of([], [], []) is None


def test_ten_copies_of_ten_peoples_opinions_are_worth_ten_answers() -> None:
    wins = [person % 2 == 0 for person in range(10) for _ in range(10)]
    people = [person for person in range(10) for _ in range(10)]
    share = share_of(wins, people, [0] * 100)
    assert share is not None
    assert share.num_effective == pytest.approx(9.0)
    by_clip = share_of(wins, [0] * 100, people)  # clips are clusters as people are
    assert by_clip == share


def test_the_interval_holds_the_truth_nineteen_times_in_twenty_when_people_and_clips_differ() -> None:
    rng = np.random.default_rng(0)
    held = plain = 0
    for _ in range(400):
        tastes, scenes = rng.normal(0, 0.8, 30), rng.normal(0, 0.6, 20)
        people = np.repeat(np.arange(30), 10)
        clips = np.concatenate([rng.permutation(20)[:10] for _ in range(30)])
        wins = rng.random(300) < 1 / (1 + np.exp(-(tastes[people] + scenes[clips])))  # the true share is one half
        share = share_of(wins.tolist(), people.tolist(), clips.tolist())
        assert share is not None
        held += share.low <= 0.5 <= share.high
        plain += abs(share.share - 0.5) <= 1.96 * math.sqrt(0.25 / 300)
    assert 0.925 <= held / 400 <= 0.985
    assert plain / 400 < 0.9  # which the plain interval does not reach


def test_two_methods_have_the_corrected_log_odds() -> None:
    contests = [(person, "A", "B") for person in range(9)] + [(9, "B", "A")] * 3
    found = strengths(["A", "B"], contests)
    assert found is not None
    assert found[0].value - found[1].value == pytest.approx(math.log(9.5 / 3.5))
    assert found[0].value == pytest.approx(-found[1].value)


def test_strengths_of_four_methods_are_found_again() -> None:
    truth = np.array([1.0, 0.3, -0.2, -1.1])
    chance = 1 / (1 + np.exp(truth[None] - truth[:, None]))
    wins = 1e6 * chance * (1 - np.eye(4))
    assert fit(wins) == pytest.approx(truth, abs=1e-6)


def test_a_method_that_always_wins_is_finite_and_its_interval_wide() -> None:
    found = strengths(["A", "B", "C"], [(person, "A", other) for person in range(6) for other in "BC"])
    assert found is not None
    assert found[0].value > 1
    assert all(math.isfinite(one.low) and one.high - one.low > 1 for one in found)


def test_methods_that_nothing_links_have_no_common_scale() -> None:
    assert strengths(["A", "B", "C", "D"], [(1, "A", "B"), (2, "C", "D")]) is None
    assert strengths(["A", "B"], []) is None


def test_strength_intervals_know_that_a_persons_answers_belong_together() -> None:
    apart = strengths(
        ["A", "B"], [(index, "A" if index % 4 else "B", "B" if index % 4 else "A") for index in range(80)]
    )
    blocks = [(index // 10, *(("A", "B") if index // 10 % 4 else ("B", "A"))) for index in range(80)]
    together = strengths(["A", "B"], blocks)
    assert apart is not None
    assert together is not None
    assert together[0].value == pytest.approx(apart[0].value)
    assert together[0].high - together[0].low > 2 * (apart[0].high - apart[0].low)


def test_alpha_of_krippendorffs_own_example() -> None:
    # Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: nominal data, four observers with
    # missing values, twelve units; alpha is 0.743
    rows = ("123321412***", "1233224125*3", "*3332342251*", "12332441251*")
    answers = [(unit, value) for row in rows for unit, value in enumerate(row) if value != "*"]
    found = agreement(answers)
    assert found is not None
    assert found.alpha == pytest.approx(0.743, abs=5e-4)
    assert found.num_units == 11


def test_agreement_of_all_of_none_and_of_nobody() -> None:
    full = agreement([(unit, unit % 2) for unit in range(6) for _ in range(3)])
    assert full is not None
    assert (full.alpha, full.observed, full.num_answers) == (1.0, 1.0, 18)
    same = agreement([(unit, "A") for unit in range(3) for _ in range(2)])
    assert same is not None
    assert same.alpha is None  # nobody ever differed: chance cannot be told from agreement
    assert agreement([(1, "A"), (2, "B")]) is None
