"""What a study's database promises: durable, once, in order, and only its own files."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from realmaster.errors import StudyError
from realmaster.web.study.plan import Side
from realmaster.web.study.store import StudyStore
from study_people import QUESTIONS

LEFT: dict[str, Side] = dict.fromkeys(QUESTIONS, "left")
RIGHT: dict[str, Side] = dict.fromkeys(QUESTIONS, "right")


def answer(store: StudyStore, trial: str, key: str = "key-0001", choices: dict[str, Side] = LEFT) -> str:
    return store.answer(1, trial, key, choices, seconds=2.0, plays=1)


def num_choices(store: StudyStore) -> int:
    return int(store.rows("SELECT COUNT(*) FROM choices")[0][0])


@contextmanager
def edited(folder: Path) -> Iterator[sqlite3.Connection]:
    connection = sqlite3.connect(folder / "study.sqlite")
    with connection:
        yield connection
    connection.close()


def test_every_commit_is_on_the_disk_before_it_is_confirmed(store: StudyStore) -> None:
    assert store.rows("PRAGMA journal_mode")[0][0] == "wal"
    assert store.rows("PRAGMA synchronous")[0][0] == 2  # FULL


def test_a_person_goes_through_their_plan_in_order(store: StudyStore) -> None:
    assert store.standing(1).screens == ()
    store.consent(1)
    store.consent(1)  # a second click
    seen = []
    while screens := store.standing(1).screens:
        assert answer(store, screens[0].id, f"key-{len(seen):04d}") == "counted"
        seen.append(screens[0].id)
    planned = store.rows("SELECT id FROM trials WHERE plan = 0 ORDER BY position")
    assert seen == [row["id"] for row in planned]
    assert store.standing(1).num_done == store.standing(1).num_trials == 8


def test_plans_go_to_whoever_comes_in_the_order_of_coming(store: StudyStore) -> None:
    for number in (3, 1):
        store.consent(number)
    plans = {row["number"]: row["plan"] for row in store.rows("SELECT number, plan FROM participants")}
    assert plans == {1: 1, 2: None, 3: 0, 4: None}


def test_an_answer_is_counted_once_and_the_first_one_stands(store: StudyStore) -> None:
    store.consent(1)
    trial, after = (screen.id for screen in store.standing(1).screens)
    assert answer(store, trial) == "counted"
    assert answer(store, trial) == "repeated"
    assert answer(store, trial, "key-0002", RIGHT) == "answered before"
    assert answer(store, after, "key-0002") == "counted"
    assert num_choices(store) == 6
    assert {row["choice"] for row in store.rows("SELECT choice FROM choices")} == {"left"}


def test_only_the_current_trial_of_ones_own_plan_takes_an_answer(store: StudyStore) -> None:
    store.consent(1)
    store.consent(2)
    _, later = store.standing(1).screens
    (other, *_) = store.standing(2).screens
    for trial in (later.id, other.id, "no-such-trial"):
        assert answer(store, trial) == "not next"
    assert num_choices(store) == 0


@pytest.mark.parametrize("choices", [{}, {"realism": "left"}, LEFT | {"beauty": "left"}])
def test_an_answer_that_does_not_fit_the_questions_is_refused(store: StudyStore, choices: dict[str, Side]) -> None:
    store.consent(1)
    with pytest.raises(StudyError, match="expected an answer to each of realism, faithfulness, quality"):
        answer(store, store.standing(1).screens[0].id, choices=choices)
    assert num_choices(store) == 0


def test_an_answer_that_fails_half_way_leaves_nothing(store: StudyStore) -> None:
    store.consent(1)
    trial = store.standing(1).screens[0].id
    wrong = LEFT | {"quality": "middle"}  # the database itself refuses it, after two good ones
    with pytest.raises(sqlite3.IntegrityError):
        answer(store, trial, choices=wrong)  # type: ignore[arg-type]
    assert num_choices(store) == 0
    assert answer(store, trial) == "counted"


def test_a_person_gets_the_videos_of_two_sets_and_no_others(store: StudyStore) -> None:
    store.consent(1)
    shown = {name for screen in store.standing(1).screens for name in (screen.left, screen.original, screen.right)}
    for (name,) in store.rows("SELECT id FROM videos"):
        assert (store.video(1, name) is not None) == (name in shown)
    for name in ("../study.sqlite", "..%2fstudy.sqlite", "/etc/passwd", "", "."):
        assert store.video(1, name) is None


@pytest.mark.parametrize("name", ["../study.sqlite", "/etc/hostname", "sub/../../study.sqlite", "..", ""])
def test_a_database_that_names_files_outside_its_folder_is_refused(folder: Path, name: str) -> None:
    with edited(folder) as connection:
        connection.execute("UPDATE videos SET file = ? WHERE id = (SELECT id FROM videos LIMIT 1)", (name,))
    with pytest.raises(StudyError, match=r"expected videos inside the study's folder, .* leads out of it"):
        StudyStore.open(folder)


def test_a_link_that_leads_out_of_the_folder_is_refused_even_when_it_comes_later(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "secret.mp4"
    outside.write_bytes(b"secret")
    with StudyStore.open(folder) as store:
        store.consent(1)
        name = store.standing(1).screens[0].left
        path = store.video(1, name)
        assert path is not None
        path.unlink()
        path.symlink_to(outside)
        with pytest.raises(StudyError, match="leads out of it"):
            store.video(1, name)
    with pytest.raises(StudyError, match="leads out of it"):
        StudyStore.open(folder)


def test_a_video_that_is_gone_is_named(folder: Path) -> None:
    next((folder / "videos").iterdir()).unlink()
    with pytest.raises(StudyError, match=r"expected the video .*\.mp4, it is gone"):
        StudyStore.open(folder)


def test_a_locked_database_is_one_clear_line(folder: Path) -> None:
    other = sqlite3.connect(folder / "study.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StudyError, match="another program has locked it: close that program"):
        StudyStore.open(folder, wait_seconds=0.05)
    StudyStore.open(folder, writing=False, wait_seconds=0.05).close()  # results can be read all the same
    other.close()


@pytest.mark.parametrize(
    ("pragma", "said"),
    [
        ("user_version = 7", "expected a study of version 1, found version 7: use the RealMaster that made it"),
        ("application_id = 7", "expected a study's database, found one of another program"),
    ],
)
def test_a_database_of_another_version_or_program_is_refused(folder: Path, pragma: str, said: str) -> None:
    with edited(folder) as connection:
        connection.execute(f"PRAGMA {pragma}")
    with pytest.raises(StudyError, match=said):
        StudyStore.open(folder)


def test_what_is_no_database_or_no_study_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(StudyError, match=r"found no study\.sqlite: make one with `realmaster study create`"):
        StudyStore.open(tmp_path)
    (folder / "study.sqlite").write_bytes(b"not a database at all" * 1000)
    with pytest.raises(StudyError, match="found a damaged or foreign file"):
        StudyStore.open(folder)


def test_a_copy_holds_what_the_log_still_holds(store: StudyStore, tmp_path: Path) -> None:
    store.consent(1)
    answer(store, store.standing(1).screens[0].id)
    shutil.copytree(store.folder / "videos", tmp_path / "copy" / "videos")
    store.copy_to(tmp_path / "copy" / "study.sqlite")
    with StudyStore.open(tmp_path / "copy") as copy:
        assert num_choices(copy) == 3
