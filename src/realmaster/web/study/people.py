"""Read a study's answers as plain rows, and apply its rule of exclusion to each person.

Separate from the figures so that who counts is decided in one place, by the rule that was stored before the first
answer, and so that everyone who does not count is listed with the reason.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from realmaster.web.study.plan import Side
from realmaster.web.study.settings import StudySettings
from realmaster.web.study.store import StudyStore


@dataclass(frozen=True)
class Answer:
    """One person's answer to one question about one pair; `expected` is a side in an attention check alone."""

    participant: int
    position: int
    clip: str
    left: str
    right: str
    question: str
    choice: Side
    expected: Side | None
    seconds: float
    plays: int
    at: str

    @property
    def is_check(self) -> bool:
        """Whether this answer has a known right side."""
        return self.expected is not None

    @property
    def winner(self) -> str:
        """The method that was preferred."""
        return self.left if self.choice == "left" else self.right


@dataclass(frozen=True)
class Person:
    """One person who began, and whether their answers count."""

    number: int
    num_answered: int
    num_planned: int
    num_checks: int
    num_failed_checks: int
    reason: str | None

    @property
    def counts(self) -> bool:
        """Whether the rule keeps this person."""
        return self.reason is None


def read_answers(store: StudyStore) -> list[Answer]:
    """Read every answer, by person and in the order in which they came."""
    rows = store.rows(
        "SELECT responses.participant, trials.position, trials.clip, trials.left_method, trials.right_method, "
        "choices.question, choices.choice, trials.expected, responses.seconds, responses.plays, responses.at "
        "FROM choices JOIN responses USING (trial) JOIN trials ON trials.id = responses.trial "
        "ORDER BY responses.participant, trials.position, choices.rowid"
    )
    return [Answer(number, position, store.clips[clip], *rest) for number, position, clip, *rest in rows]


def judge_people(store: StudyStore, answers: list[Answer]) -> list[Person]:
    """Apply the rule to everyone who gave their consent, in the order of their numbers."""
    planned = store.rows(
        "SELECT number, SUM(trials.expected IS NULL) FROM participants JOIN trials USING (plan) GROUP BY number"
    )
    by_person: dict[int, list[Answer]] = {number: [] for number, _ in planned}
    for answer in answers:
        by_person[answer.participant].append(answer)
    return [_judge(number, by_person[number], count, store.settings) for number, count in planned]


def _judge(number: int, answers: list[Answer], num_planned: int, settings: StudySettings) -> Person:
    seen: dict[tuple[int, Literal["check", "trial"]], bool] = {}
    for answer in answers:
        kind: Literal["check", "trial"] = "check" if answer.is_check else "trial"
        right = answer.expected in (None, answer.choice)
        seen[answer.position, kind] = seen.get((answer.position, kind), True) and right
    checks = [right for (_, kind), right in seen.items() if kind == "check"]
    num_answered = len(seen) - len(checks)
    num_failed = checks.count(False)
    reasons = []
    if num_failed > settings.max_failed_checks:
        reasons.append(f"failed {num_failed} of {len(checks)} attention checks")
    if num_answered < settings.min_share_answered * num_planned:
        reasons.append(f"answered {num_answered} of {num_planned} comparisons")
    return Person(number, num_answered, num_planned, len(checks), num_failed, " and ".join(reasons) or None)
