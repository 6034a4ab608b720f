"""A study on disk: one folder, one SQLite file, and what each person may do next.

Every answer is one transaction that is on the disk before the browser hears of it (write-ahead log, synchronous FULL),
so a killed server loses nothing it has confirmed. An answer belongs to one trial of one person and is stored once: a
second click or a retry finds it there. Separate from the server so that the promises hold whoever calls.
"""

from __future__ import annotations

import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from threading import Lock
from typing import Any, Literal, Self

from realmaster.errors import StudyError
from realmaster.web.study.database import (
    APPLICATION,
    DATABASE,
    SCHEMA,
    VERSION,
    check_version,
    connect,
    explain,
    transaction,
)
from realmaster.web.study.plan import PlannedTrial, Side
from realmaster.web.study.settings import StudySettings
from realmaster.web.study.videos import StudyVideo, video_path

Outcome = Literal["counted", "repeated", "answered before", "not next"]


@dataclass(frozen=True)
class Screen:
    """What a browser needs of one trial: names that say nothing."""

    id: str
    left: str
    original: str
    right: str


@dataclass(frozen=True)
class Standing:
    """How far a person is: `screens` holds the trial to answer now and the one after it, as far as there are any."""

    consented: bool
    num_done: int
    num_trials: int
    screens: tuple[Screen, ...]


class StudyStore:
    """An open study; safe to call from several threads, and beside other processes that read.

    Attributes:
        folder: where the study lies.
        settings: what was written down before it began.
        clips: names of the clips, by index.
    """

    def __init__(self, folder: Path, connection: sqlite3.Connection) -> None:
        self.folder = folder
        self._connection = connection
        self._lock = Lock()
        self.settings = StudySettings.from_mapping(json.loads(self._fact("settings")), source=str(folder))
        self.clips: tuple[str, ...] = tuple(json.loads(self._fact("clips")))

    @classmethod
    def create(
        cls,
        folder: Path,
        settings: StudySettings,
        clips: Sequence[str],
        videos: Sequence[StudyVideo],
        plans: Sequence[Sequence[PlannedTrial]],
    ) -> Self:
        """Write the database of a new study into a folder that holds its videos."""
        connection = connect(folder / DATABASE, create=True, wait_seconds=10)
        ids = {(video.clip, video.method, video.damaged): video.id for video in videos}
        with transaction(connection):
            connection.execute(f"PRAGMA application_id = {APPLICATION}")
            connection.execute(f"PRAGMA user_version = {VERSION}")
            for statement in SCHEMA.split(";")[:-1]:
                connection.execute(statement)
            facts = {"settings": settings.model_dump_json(), "clips": json.dumps(list(clips)), "created_at": _now()}
            connection.executemany("INSERT INTO facts VALUES (?, ?)", facts.items())
            connection.executemany(
                "INSERT INTO videos VALUES (?, ?, ?, ?, ?)",
                [(video.id, video.clip, video.method, int(video.damaged), video.file) for video in videos],
            )
            for plan, trials in enumerate(plans):
                for position, trial in enumerate(trials):
                    left = ids[trial.clip, trial.left, trial.damaged == "left"]
                    right = ids[trial.clip, trial.right, trial.damaged == "right"]
                    row = (secrets.token_urlsafe(12), plan, position, trial.clip, left, ids[trial.clip, None, False])
                    methods = (right, trial.left, trial.right, trial.expected)
                    connection.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", row + methods)
            connection.executemany(
                "INSERT INTO participants (number, token) VALUES (?, ?)",
                [(number + 1, secrets.token_urlsafe(18)) for number in range(len(plans))],
            )
        return cls(folder, connection)

    @classmethod
    def open(cls, folder: Path, *, writing: bool = True, wait_seconds: float = 5.0) -> Self:
        """Open a study, to serve it (`writing`) or to read its answers.

        Raises:
            StudyError: no study is there, another program made or locks its database, it is of another version, or
                it names a file outside its folder.
        """
        path = folder / DATABASE
        if not path.is_file():
            raise StudyError(
                f"expected a study in {folder}, found no {DATABASE}: make one with `realmaster study create`"
            )
        connection = None
        try:
            connection = connect(path, create=False, wait_seconds=wait_seconds)
            check_version(connection, path)
            if writing:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
            store = cls(folder, connection)
            for (file,) in connection.execute("SELECT file FROM videos"):
                video_path(folder, file)
        except sqlite3.Error as error:
            if connection is not None:
                connection.close()
            raise explain(error, path) from error
        except BaseException:
            if connection is not None:
                connection.close()
            raise
        return store

    def close(self) -> None:
        """Close the database; what was confirmed is on the disk already."""
        with self._lock:
            self._connection.close()

    def __enter__(self) -> Self:
        """Give the store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close, whatever happened."""
        self.close()

    def find(self, token: str) -> int | None:
        """Find the number of the person who holds a token; None for a token that was never given out."""
        found = self.rows("SELECT number FROM participants WHERE token = ?", token)
        return int(found[0]["number"]) if found else None

    def tokens(self) -> list[tuple[int, str]]:
        """List every person's number and token."""
        return [
            (row["number"], row["token"]) for row in self.rows("SELECT number, token FROM participants ORDER BY number")
        ]

    def consent(self, number: int) -> None:
        """Note that a person agrees and give them the next plan; does nothing the second time."""
        with self._lock, transaction(self._connection):
            self._connection.execute(
                "UPDATE participants SET consented_at = ?, plan = "
                "(SELECT COALESCE(MAX(plan) + 1, 0) FROM participants) WHERE number = ? AND plan IS NULL",
                (_now(), number),
            )

    def standing(self, number: int) -> Standing:
        """Tell how far a person is and what comes next."""
        with self._lock:
            return self._standing(number)

    def answer(
        self, number: int, trial: str, key: str, choices: Mapping[str, Side], *, seconds: float, plays: int
    ) -> Outcome:
        """Store a person's choices for the trial they are at.

        Args:
            number: the person.
            trial: the trial's name; answers come in the order of the plan.
            key: made by the browser for this answer and kept over retries; the same key is never counted twice.
            choices: a side for every question of the study.
            seconds: from the videos' readiness to the answer.
            plays: how often the videos played to their end.

        Returns:
            "counted"; "repeated" when this very answer is there already; "answered before" when another one is (from
            a second tab): the first stands; "not next" for a trial that is not this person's current one.

        Raises:
            StudyError: the choices do not fit the questions.
        """
        names = [question.name for question in self.settings.questions]
        if set(choices) != set(names):
            raise StudyError(f"expected an answer to each of {', '.join(names)}, got {', '.join(choices) or 'none'}")
        with self._lock, transaction(self._connection):
            there = self._connection.execute(
                "SELECT key FROM responses WHERE trial = ? AND participant = ?", (trial, number)
            ).fetchone()
            if there is not None:
                return "repeated" if there["key"] == key else "answered before"
            screens = self._standing(number).screens
            if not screens or screens[0].id != trial:
                return "not next"
            row = (trial, number, key, _now(), seconds, plays)
            self._connection.execute("INSERT INTO responses VALUES (?, ?, ?, ?, ?, ?)", row)
            self._connection.executemany(
                "INSERT INTO choices VALUES (?, ?, ?)", [(trial, name, choices[name]) for name in names]
            )
        return "counted"

    def video(self, number: int, video: str) -> Path | None:
        """Find the file of a video of a person's current or next trial; None for any other name.

        Raises:
            StudyError: the file is not in the study's folder.
        """
        shown = {
            name for screen in self.standing(number).screens for name in (screen.left, screen.original, screen.right)
        }
        if video not in shown:
            return None
        (row,) = self.rows("SELECT file FROM videos WHERE id = ?", video)
        return video_path(self.folder, row["file"])

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        """Read rows."""
        with self._lock:
            return self._connection.execute(query, values).fetchall()

    def copy_to(self, path: Path) -> None:
        """Copy the database as it is now to a file that is not there yet."""
        copy = sqlite3.connect(path)
        with self._lock:
            self._connection.backup(copy)
        copy.close()

    def _fact(self, name: str) -> str:
        (value,) = self._connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return str(value)

    def _standing(self, number: int) -> Standing:
        run = self._connection.execute
        person = run("SELECT plan FROM participants WHERE number = ?", (number,)).fetchone()
        if person["plan"] is None:
            return Standing(False, 0, 0, ())
        rows = run(
            "SELECT trials.*, responses.trial IS NOT NULL AS done FROM trials "
            "LEFT JOIN responses ON responses.trial = trials.id WHERE plan = ? ORDER BY position",
            (person["plan"],),
        ).fetchall()
        left = [row for row in rows if not row["done"]]
        screens = (Screen(row["id"], row["left_video"], row["original_video"], row["right_video"]) for row in left[:2])
        return Standing(True, len(rows) - len(left), len(rows), tuple(screens))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
