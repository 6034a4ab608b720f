"""From answers to figures and files: who counts, who wins, and what is written down."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Literal

import pytest

from realmaster.errors import OutputError
from realmaster.web.study.make import make_study
from realmaster.web.study.plan import Side
from realmaster.web.study.report import as_csv, as_json_text, as_markdown, write_results
from realmaster.web.study.results import Results, read_results
from realmaster.web.study.store import StudyStore
from study_people import METHODS, QUESTIONS, settings

RANK = {"Alpha": 0, "Beta": 1, "Gamma": 2}
Kind = Literal["careful", "left", "wrong"]


def take_part(store: StudyStore, number: int, kind: Kind = "careful", *, sets: int = 99) -> None:
    """Prefer Alpha to Beta to Gamma for realism and quality, the other way round for faithfulness."""
    store.consent(number)
    for index in range(sets):
        screens = store.standing(number).screens
        if not screens:
            return
        (trial,) = store.rows("SELECT * FROM trials WHERE id = ?", screens[0].id)
        best: Side = "left" if RANK[trial["left_method"]] < RANK[trial["right_method"]] else "right"
        worst: Side = "right" if best == "left" else "left"
        choices = {"realism": best, "faithfulness": worst, "quality": best}
        if kind != "careful":
            damaged: Side = "right" if trial["expected"] == "left" else "left"
            choices = dict.fromkeys(QUESTIONS, damaged if kind == "wrong" else "left")
        elif trial["expected"] is not None:
            choices = dict.fromkeys(QUESTIONS, trial["expected"])
        store.answer(number, trial["id"], f"key-{index:05d}", choices, seconds=10 + index, plays=2)


@pytest.fixture
def study(store: StudyStore) -> StudyStore:
    """Two careful people, one who prefers what is damaged, one who has not begun."""
    take_part(store, 1)
    take_part(store, 2)
    take_part(store, 3, "wrong")
    return store


def test_the_preferred_method_wins_and_the_careless_are_left_out_with_the_reason(study: StudyStore) -> None:
    found = read_results(study)
    assert [person.counts for person in found.people] == [True, True, False]
    assert found.people[2].reason == "failed 2 of 2 attention checks"
    assert found.num_counted == 12
    for question, share in zip(found.questions, (1.0, 0.0, 1.0), strict=True):
        assert [pair.share.share for pair in question.pairs if pair.share is not None] == [share] * 3
    order = found.questions[0].strengths
    assert order is not None
    assert [one.method for one in sorted(order, key=lambda one: -one.value)] == list(METHODS)
    assert found.questions[0].agreement is None or found.questions[0].agreement.observed == 1.0


def test_checks_are_in_no_figure(study: StudyStore) -> None:
    found = read_results(study)
    assert sum(pair.share.num_answers for pair in found.questions[0].pairs if pair.share) == 12
    assert found.questions[0].left is not None
    assert found.questions[0].left.num_answers == 12


def test_who_stops_early_is_left_out_and_who_stops_later_is_not(store: StudyStore) -> None:
    take_part(store, 1, sets=2)
    take_part(store, 2, sets=7)
    one, other = read_results(store).people
    assert one.reason is not None
    assert "of 6 comparisons" in one.reason
    assert other.counts


def test_the_rule_is_the_one_that_was_stored(sources: Path, tmp_path: Path) -> None:
    make_study(settings(max_failed_checks=0), tmp_path / "strict", root=sources)
    with StudyStore.open(tmp_path / "strict") as store:
        take_part(store, 1, "left")
        found = read_results(store)
    assert found.people[0].num_failed_checks == 1  # the damaged side alternates
    assert found.people[0].reason == "failed 1 of 2 attention checks"
    assert "failed more than 0 of 2" in found.settings.rule


def test_a_study_without_answers_has_results_too(store: StudyStore, tmp_path: Path) -> None:
    found = read_results(store)
    assert as_markdown(found).startswith("0 of 4 people began, 0 finished, 0 left out; 0 comparisons count")
    assert "No answers count yet" in write_results(found, tmp_path / "out")[0].read_text()
    json.loads(as_json_text(found))


def test_results_are_read_while_the_study_runs(study: StudyStore) -> None:
    with StudyStore.open(study.folder, writing=False) as reader:
        assert read_results(reader) == read_results(study)
        take_part(study, 4)
        assert len(read_results(reader).people) == 4


def test_the_table_says_who_was_preferred_how_often_and_who_was_left_out(study: StudyStore) -> None:
    text = as_markdown(read_results(study))
    assert "Left out: whoever failed more than 1 of 2 attention checks" in text
    (row,) = [line for line in text.splitlines() if line.startswith("| Alpha over Beta")]
    assert row.count("100% [") == 2
    assert row.count("0% [0%") == 1
    assert "| Bradley-Terry strength |" in text
    assert "| Krippendorff's alpha" in text


def test_the_csv_has_every_answer_and_marks_what_does_not_count(study: StudyStore) -> None:
    rows = list(csv.DictReader(as_csv(read_results(study)).splitlines()))
    assert len(rows) == 3 * 8 * len(QUESTIONS)
    checks = [row for row in rows if row["is_check"] == "1"]
    assert len(checks) == 3 * 2 * len(QUESTIONS)
    assert {row["winner"] for row in checks} == {""}
    assert {row["correct"] for row in checks if row["participant"] in "12"} == {"1"}
    assert [{row["counted"] for row in rows if row["participant"] == str(number)} for number in (1, 2, 3)] == [
        {"1"},
        {"1"},
        {"0"},
    ]
    shown = [row for row in rows if row["is_check"] == "0"]
    assert all(row["winner"] == row[row["choice"]] for row in shown)


def test_no_file_holds_a_token_and_no_cell_a_formula(sources: Path, tmp_path: Path) -> None:
    methods = {"=1+1|x": "Alpha", "<b>&": "Beta", "C": "Gamma"}
    make_study(settings(methods=methods, consent=["Text."], questions=[{"name": "q", "text": "Which?"}]),
               tmp_path / "study", root=sources)  # fmt: skip
    with StudyStore.open(tmp_path / "study") as store:
        store.consent(1)
        while screens := store.standing(1).screens:
            store.answer(1, screens[0].id, f"key-{screens[0].id}", {"q": "left"}, seconds=1, plays=1)
        found = read_results(store)
        tokens = [token for _, token in store.tokens()]
    texts = {path.name: path.read_text() for path in write_results(found, tmp_path / "out")}
    assert set(texts) == {"results.html", "results.md", "results.json", "answers.csv"}
    assert not [token for token in tokens for text in texts.values() if token in text]
    assert "'=1+1" in texts["answers.csv"]
    assert "<b>" not in texts["results.html"].replace("<b>=", "").replace("<b>&lt;", "").replace("<b>C<", "")
    assert "=1+1\\|x" in texts["results.md"]


def test_results_are_written_whole_or_not_at_all(study: StudyStore, tmp_path: Path) -> None:
    found: Results = read_results(study)
    write_results(found, tmp_path / "out")
    write_results(found, tmp_path / "out")  # replaced as a whole
    assert len(list((tmp_path / "out").iterdir())) == 4
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_results(found, tmp_path / "file" / "out")
