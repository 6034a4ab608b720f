"""`realmaster study`: what it prints, what it makes, and what it refuses in one line."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from socket import socket

import pytest

from realmaster.optional import require
from realmaster.web.study.database import connect
from realmaster.web.study.store import StudyStore
from study_people import write_sources

Call = Callable[..., object]

SETTINGS = """
originals: originals
methods: {Alpha: Alpha, Beta: Beta, Gamma: Gamma}
against: Alpha
participants: 5
trials_per_person: 4
checks_per_person: 2
"""


def at_once(connect: Callable[..., sqlite3.Connection], *words: object, **named: object) -> sqlite3.Connection:
    """Open a database without waiting for a lock."""
    return connect(*words, **named | {"wait_seconds": 0.1})


@pytest.fixture
def settings(tmp_path: Path) -> Path:
    path = write_sources(tmp_path / "clips") / "study.yaml"
    path.write_text(SETTINGS)
    return path


def test_a_study_is_made_and_read(realmaster: Call, settings: Path, tmp_path: Path) -> None:
    made = realmaster("study", "create", settings, "-o", tmp_path / "study")
    assert made.code == 0, made.err
    assert made.out.splitlines()[1:3] == [
        "3 clips x 2 pairs of methods; 5 people with 4 comparisons and 2 attention checks each: 3.3 answers for a pair "
        "on a clip",
        "Left out: whoever failed more than 1 of 2 attention checks or answered less than 50% of their comparisons.",
    ]
    shown = realmaster("study", "results", tmp_path / "study", "-o", tmp_path / "results")
    assert shown.code == 0, shown.err
    assert shown.out.startswith("0 of 5 people began")
    assert (tmp_path / "results" / "results.html").is_file()
    figures = realmaster("study", "results", tmp_path / "study", "--json")
    assert json.loads(figures.out)["against"] == "Alpha"


def test_a_plan_that_leaves_pairs_out_says_so(
    realmaster: Call, settings: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    settings.write_text(SETTINGS.replace("participants: 5", "participants: 1"))
    assert realmaster("study", "create", settings, "-o", tmp_path / "study", "-q").code == 0
    assert "4 comparisons are planned for 6 pairs on clips: 2 will be shown to nobody" in caplog.text


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("originals: originals", "originals: nowhere"), "expected a folder of clips at"),
        (("Beta: Beta", "Beta: originals/room.mp4"), "expected a folder of clips at"),
        (("participants: 5", "participant: 5"), "participant"),
        (("against: Alpha", "against: Delta"), "expected one of the methods"),
        (("methods: {", "methods: {{"), "expected yaml"),
    ],
)
def test_settings_that_do_not_hold_are_refused_in_one_line(
    realmaster: Call, settings: Path, tmp_path: Path, change: tuple[str, str], said: str
) -> None:
    settings.write_text(SETTINGS.replace(*change))
    refused = realmaster("study", "create", settings, "-o", tmp_path / "study")
    assert (refused.code, refused.out) == (2, "")
    assert said in refused.err.lower()
    assert refused.err.count("\n") == 1
    assert not (tmp_path / "study").exists()


@pytest.mark.parametrize("verb", ["serve", "results"])
def test_what_is_no_study_is_refused_in_one_line(realmaster: Call, tmp_path: Path, verb: str) -> None:
    refused = realmaster("study", verb, tmp_path)
    assert refused.code == 2
    assert "found no study.sqlite: make one with `realmaster study create`" in refused.err
    assert refused.err.count("\n") == 1


def test_another_version_and_an_output_that_exists_are_refused(
    realmaster: Call, settings: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "study"
    assert realmaster("study", "create", settings, "-o", folder).code == 0
    refused = realmaster("study", "create", settings, "-o", folder)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    (tmp_path / "results").mkdir()
    refused = realmaster("study", "results", folder, "-o", tmp_path / "results")
    assert "choose another or add --overwrite" in refused.err
    connection = sqlite3.connect(folder / "study.sqlite")
    connection.execute("PRAGMA user_version = 2")
    connection.close()
    refused = realmaster("study", "results", folder)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "found version 2: use the RealMaster that made it" in refused.err


def test_without_the_extra_the_line_says_how_to_get_it(
    realmaster: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realmaster.cli.study.require", lambda module, extra: require(f"no_{module}", extra=extra))
    refused = realmaster("study", "serve", tmp_path)
    assert refused.code == 2
    assert "pip install 'realmaster[study]'" in refused.err


@pytest.mark.parametrize("word", ["Alpha", "Alpha=", "Alpha=much", "Alpha=nan", "Alpha=1e9"])
def test_a_strength_that_is_none_is_refused(realmaster: Call, tmp_path: Path, word: str) -> None:
    refused = realmaster("study", "rehearse", tmp_path, "--strength", word)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert f"expected METHOD=NUMBER, got '{word}'" in refused.err


def test_a_rehearsal_of_settings_makes_its_own_study_and_leaves_nothing(
    realmaster: Call, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: dict[str, Path] = {}

    @contextmanager
    def browser() -> Iterator[None]:
        yield None

    def rehearse(folder: Path, browser: object, **named: object) -> object:
        from realmaster.web.study.results import read_results
        from realmaster.web.study.store import StudyStore

        seen["folder"] = folder
        with StudyStore.open(folder, writing=False) as store:
            return read_results(store)

    monkeypatch.setattr("realmaster.web.study.visitor.open_browser", browser)
    monkeypatch.setattr("realmaster.web.study.rehearsal.rehearse", rehearse)
    said = realmaster("study", "rehearse", settings, "--people", "2", "-o", tmp_path / "results", "-q")
    assert said.code == 0, said.err
    assert "0 of 5 people began" in said.out
    assert (tmp_path / "results" / "results.json").is_file()
    assert not seen["folder"].exists()
    settings.write_text(SETTINGS.replace("Beta: Beta", "Beta: nowhere"))
    refused = realmaster("study", "rehearse", settings)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "expected a folder of clips at" in refused.err


def test_a_database_that_another_program_has_locked_is_one_line(
    realmaster: Call, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    assert realmaster("study", "create", settings, "-o", folder).code == 0
    monkeypatch.setattr("realmaster.web.study.store.connect", partial(at_once, connect))
    other = sqlite3.connect(folder / "study.sqlite", isolation_level=None)
    other.execute("PRAGMA locking_mode = EXCLUSIVE")
    other.execute("BEGIN EXCLUSIVE")
    try:
        refused = realmaster("study", "serve", folder, "--port", "0")
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "another program has locked it" in refused.err
    finally:
        other.close()


def test_a_study_that_is_served_is_not_replaced_and_two_may_serve_it(
    realmaster: Call, settings: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "study"
    replace = ("study", "create", settings, "-o", folder, "--overwrite", "-q")
    assert realmaster("study", "create", settings, "-o", folder, "-q").code == 0
    served = []

    def serve(store: StudyStore, listener: socket) -> None:
        served.append(store)
        if len(served) == 1:
            assert realmaster("study", "serve", folder, "--port", "0").code == 0
        refused = realmaster(*replace)  # the first time with two servers, then with the one that came first
        assert (refused.code, refused.err.count("\n")) == (2, 1)
        assert "expected a study that nobody serves" in refused.err
        assert "stop `realmaster study serve` first" in refused.err

    monkeypatch.setattr("realmaster.web.study.serve.serve", serve)
    assert realmaster("study", "serve", folder, "--port", "0").code == 0
    assert len(served) == 2
    assert realmaster(*replace).code == 0


@pytest.mark.parametrize("clips", ["[../../etc]", "[/etc/passwd]", "['']"])
def test_clips_that_try_to_leave_the_study_are_not_there(
    realmaster: Call, settings: Path, tmp_path: Path, clips: str
) -> None:
    settings.write_text(SETTINGS + f"clips: {clips}\n")
    refused = realmaster("study", "create", settings, "-o", tmp_path / "study")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "is not there" in refused.err
    assert not (tmp_path / "study").exists()
