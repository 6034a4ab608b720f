"""Walk scripted people through a copy of a study in a real browser, and give the results they leave.

A rehearsal shows, before anybody is invited, that the videos play, that answers arrive, and how wide the intervals will
be with so many people. The people choose by the Bradley-Terry model with strengths that are known, so the results can
be compared with the truth. The study itself is not touched. Needs the extras `study` and `browser`.
"""

from __future__ import annotations

import math
import random
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from realmaster.errors import StudyError
from realmaster.web.study.database import DATABASE
from realmaster.web.study.plan import Side
from realmaster.web.study.results import Results, read_results
from realmaster.web.study.serve import open_port, serving
from realmaster.web.study.store import StudyStore
from realmaster.web.study.videos import VIDEOS
from realmaster.web.study.visitor import Visitor

Progress = Callable[[int, int | None], None]


def rehearse(
    folder: Path,
    browser: Any,
    *,
    num_people: int,
    num_careless: int = 0,
    strengths: Mapping[str, float] | None = None,
    seed: int = 0,
    screenshots: Path | None = None,
    progress: Progress | None = None,
) -> Results:
    """Rehearse a study.

    Args:
        folder: the study; answers that are there take part.
        browser: an open one, as `visitor.open_browser` gives it.
        num_people: how many take part; they use links that nobody has used yet.
        num_careless: how many of them, the last ones, press any button, in attention checks too.
        strengths: log-odds of methods, 0 for those not named; None gives the first method 1.5 and the others 0.
        seed: of their choices.
        screenshots: a folder that exists, for pictures of the pages of the first four people.
        progress: told of (people done, people in all).

    Raises:
        StudyError: too few links are left, or a strength is of no method.
    """
    with tempfile.TemporaryDirectory(prefix="rehearsal-") as name:
        copy = Path(name)
        shutil.copytree(folder / VIDEOS, copy / VIDEOS)
        with StudyStore.open(folder, writing=False) as original:
            original.copy_to(copy / DATABASE)
        with StudyStore.open(copy) as store:
            truth = _truth(store, strengths)
            free = [(number, token) for number, token in store.tokens() if not store.standing(number).consented]
            if num_people > len(free):
                raise StudyError(f"expected at most {len(free)} people, as many links are unused, got {num_people}")
            rng = random.Random(seed)
            with serving(store, open_port("127.0.0.1", 0)) as address:
                for index, (number, token) in enumerate(free[:num_people]):
                    look = "dark" if index % 2 else "light"
                    visitor = Visitor(browser, phone=index % 4 > 1, look=look)  # type: ignore[arg-type]
                    prefers = None if index >= num_people - num_careless else truth
                    visitor.open(f"{address}#{token}")
                    _take_part(visitor, store, number, prefers, rng, screenshots if index < 4 else None)
                    visitor.leave()
                    if progress is not None:
                        progress(index + 1, num_people)
            return read_results(store)


def _take_part(
    visitor: Visitor,
    store: StudyStore,
    number: int,
    prefers: Mapping[str, float] | None,
    rng: random.Random,
    screenshots: Path | None,
) -> None:
    """Be one person from consent to thanks; without preferences, one who presses anything."""

    def take(what: str) -> None:
        if screenshots is not None:
            visitor.picture(screenshots / f"{what}-{'phone' if visitor.is_phone else 'desktop'}-{visitor.look}.png")

    take("consent")
    visitor.agree()
    is_taken = False
    while (standing := store.standing(number)).screens:
        visitor.wait_for_videos()
        (trial,) = store.rows("SELECT * FROM trials WHERE id = ?", standing.screens[0].id)
        choices = _choose(store, trial, prefers, rng)
        first, *rest = choices
        visitor.choose({first: choices[first]})
        if standing.num_done and trial["expected"] is None and not is_taken:
            take("trial")
            is_taken = True
        visitor.choose({question: choices[question] for question in rest})
        visitor.go_on()
    take("thanks")


def _choose(
    store: StudyStore, row: sqlite3.Row, prefers: Mapping[str, float] | None, rng: random.Random
) -> dict[str, Side]:
    choices: dict[str, Side] = {}
    for question in store.settings.questions:
        if prefers is None:
            choices[question.name] = rng.choice(("left", "right"))
        elif row["expected"] is not None:
            choices[question.name] = row["expected"]
        else:
            chance = 1 / (1 + math.exp(prefers[row["right_method"]] - prefers[row["left_method"]]))
            choices[question.name] = "left" if rng.random() < chance else "right"
    return choices


def _truth(store: StudyStore, strengths: Mapping[str, float] | None) -> dict[str, float]:
    methods = list(store.settings.methods)
    if strengths is None:
        strengths = {store.settings.against or methods[0]: 1.5}
    unknown = [method for method in strengths if method not in methods]
    if unknown:
        raise StudyError(f"expected strengths of {', '.join(methods)}, got one of {unknown[0]!r}: correct the name")
    return {method: strengths.get(method, 0.0) for method in methods}
