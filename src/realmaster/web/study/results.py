"""What a study found: who was preferred how often, how strong each method is, and whether people agree.

Separate from how it is written down. Attention checks and the people left out by the rule are in no figure but the
list of people.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median

from realmaster.web.study.agreement import Agreement, agreement
from realmaster.web.study.people import Answer, Person, judge_people, read_answers
from realmaster.web.study.rates import Share, share_of
from realmaster.web.study.settings import StudySettings
from realmaster.web.study.store import StudyStore
from realmaster.web.study.strengths import Strength, strengths


@dataclass(frozen=True)
class PairResult:
    """How often `first` was preferred to `second`; absent as long as nobody compared them."""

    first: str
    second: str
    share: Share | None


@dataclass(frozen=True)
class QuestionResult:
    """One question: every pair, every method, agreement, and how often the left side was chosen (one half is fair)."""

    name: str
    text: str
    pairs: tuple[PairResult, ...]
    strengths: tuple[Strength, ...] | None
    agreement: Agreement | None
    left: Share | None


@dataclass(frozen=True)
class Results:
    """Everything a study says so far."""

    settings: StudySettings
    num_clips: int
    num_invited: int
    people: tuple[Person, ...]
    answers: tuple[Answer, ...]
    questions: tuple[QuestionResult, ...]
    median_seconds: float | None

    @property
    def num_counted(self) -> int:
        """Comparisons behind the figures: each is one screen, with an answer to every question."""
        return sum(person.num_answered for person in self.people if person.counts)


def read_results(store: StudyStore) -> Results:
    """Read a study's answers and compute every figure; safe while the study is served."""
    answers = read_answers(store)
    people = judge_people(store, answers)
    counting = {person.number for person in people if person.counts}
    counted = [answer for answer in answers if not answer.is_check and answer.participant in counting]
    settings = store.settings
    durations = {(answer.participant, answer.position): answer.seconds for answer in counted}
    return Results(
        settings=settings,
        num_clips=len(store.clips),
        num_invited=settings.participants,
        people=tuple(people),
        answers=tuple(answers),
        questions=tuple(
            _question(settings, question.name, question.text, [one for one in counted if one.question == question.name])
            for question in settings.questions
        ),
        median_seconds=median(durations.values()) if durations else None,
    )


def _question(settings: StudySettings, name: str, text: str, answers: list[Answer]) -> QuestionResult:
    pairs = []
    units = []
    for first, second in settings.pairs:
        about = [answer for answer in answers if {answer.left, answer.right} == {first, second}]
        wins = [answer.winner == first for answer in about]
        share = share_of(wins, [answer.participant for answer in about], [answer.clip for answer in about])
        pairs.append(PairResult(first, second, share))
        units += [((first, second, answer.clip), win) for answer, win in zip(about, wins, strict=True)]
    contests = [
        (answer.participant, answer.winner, answer.right if answer.winner == answer.left else answer.left)
        for answer in answers
    ]
    sides = [answer.choice == "left" for answer in answers]
    people, clips = [answer.participant for answer in answers], [answer.clip for answer in answers]
    return QuestionResult(
        name,
        text,
        tuple(pairs),
        strengths(list(settings.methods), contests),
        agreement(units),
        share_of(sides, people, clips),
    )
