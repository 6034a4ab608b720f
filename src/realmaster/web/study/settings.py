"""What an experimenter writes down before a study begins, the rule of exclusion included.

Separate because it is stored in the study whole and never changed: what was asked, of how many, and whose answers
would count is decided here, before the first answer.
"""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import Field, model_validator

from realmaster.config import Settings

Text = Annotated[str, Field(min_length=1, max_length=2000)]
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]+$")]


class Question(Settings):
    """One question about a pair, answered with the left or the right video."""

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$", description="Its column in the results.")
    text: Annotated[str, Field(min_length=1, max_length=200)] = Field(description="What people read.")


PAPER_QUESTIONS = (
    Question(name="realism", text="Which looks more real?"),
    Question(name="faithfulness", text="Which is closer to the original?"),
    Question(name="quality", text="Which is better overall?"),
)
CONSENT = (
    "You will see short videos, three at a time: an original in the middle and two versions of it, A and B. For each "
    "set we ask which version you prefer. There is no right answer: your impression is what we need.",
    "We store your choices, how long each took, how often the videos played, and the time of your consent. We store no "
    "name, no address and no cookie. The answers are published as summaries and as a table without names.",
    "Taking part is voluntary. You may stop at any moment by closing the page, and come back with the same link.",
)


class StudySettings(Settings):
    """A study, as its YAML file says it. Paths are relative to that file."""

    title: Annotated[str, Field(min_length=1, max_length=120)] = Field(
        "Which video is better?", description="Heading of the site; holds no method's name."
    )
    originals: Annotated[str, Field(min_length=1)] = Field(
        description="Folder of the inputs, one file or image folder a clip, or a pattern with {clip}."
    )
    methods: dict[Name, Annotated[str, Field(min_length=1)]] = Field(
        min_length=2, max_length=26, description="Each method's name and its outputs, found as the originals are."
    )
    against: str | None = Field(
        None, description="Compare this method with each other one, as the paper does; absent: every pair of methods."
    )
    clips: tuple[str, ...] = Field((), description="Names of the clips to show; empty: every original.")
    questions: tuple[Question, ...] = Field(
        PAPER_QUESTIONS, min_length=1, max_length=6, description="Asked of every pair, in this order."
    )
    participants: int = Field(45, ge=1, le=10_000, description="How many links are made.")
    trials_per_person: int = Field(15, ge=1, le=500, description="Most comparisons a person is shown, without checks.")
    checks_per_person: int = Field(
        4, ge=0, le=20, description="Attention checks besides: a video beside a badly damaged copy of itself."
    )
    max_failed_checks: int = Field(
        1, ge=0, description="Who failed more is left out. A check fails when any of its questions is answered wrong."
    )
    min_share_answered: float = Field(
        0.5, ge=0, le=1, description="Who answered a smaller share of their comparisons is left out."
    )
    watch_fully: bool = Field(True, description="Answers open when the videos have played to their end once.")
    max_height: int = Field(720, ge=16, le=4320, description="Videos larger than this are shown smaller, in pixels.")
    consent: tuple[Text, ...] = Field(CONSENT, min_length=1, max_length=20, description="Paragraphs to agree to.")
    contact: str = Field("", max_length=200, description="Whom to ask; shown under the consent.")
    thanks: Text = Field(
        "Thank you. Your answers are stored; you can close this page.", description="The last page, codes included."
    )
    seed: int = Field(0, ge=0, description="Of the plan: who sees which pairs, in which order, on which side.")

    @model_validator(mode="after")
    def _agree(self) -> Self:
        names = [question.name for question in self.questions]
        if len(set(names)) != len(names):
            raise ValueError(f"expected a different name for each question, got {', '.join(names)}")
        if self.against is not None and self.against not in self.methods:
            raise ValueError(f"against: expected one of the methods {', '.join(self.methods)}, got {self.against!r}")
        if len(set(self.clips)) != len(self.clips):
            raise ValueError("clips: expected each clip once, found one twice")
        if self.checks_per_person and self.max_failed_checks >= self.checks_per_person:
            raise ValueError(
                f"max_failed_checks: expected less than checks_per_person ({self.checks_per_person}), got "
                f"{self.max_failed_checks}: nobody could be left out"
            )
        shown = "\n".join((self.title, self.contact, self.thanks, *self.consent, *(q.text for q in self.questions)))
        for name in self.methods:
            if re.search(rf"(?<!\w){re.escape(name)}(?!\w)", shown, re.IGNORECASE):
                raise ValueError(
                    f"expected texts without the names of methods, found {name!r} in one that people read: change the "
                    "text, or call the method something else"
                )
        return self

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The pairs of methods that are compared, in the order of the file; `against` stands first in its pairs."""
        names = list(self.methods)
        if self.against is not None:
            return tuple((self.against, name) for name in names if name != self.against)
        return tuple((one, other) for index, one in enumerate(names) for other in names[index + 1 :])

    @property
    def rule(self) -> str:
        """The rule of exclusion in one sentence, as it stood before the first answer."""
        parts = [f"answered less than {self.min_share_answered:.0%} of their comparisons"]
        if self.checks_per_person:
            parts.insert(0, f"failed more than {self.max_failed_checks} of {self.checks_per_person} attention checks")
        return f"Left out: whoever {' or '.join(parts)}."
