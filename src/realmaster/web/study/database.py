"""The SQLite file of a study: its tables, how it is opened, and what its refusals mean.

Separate from the store, which knows people and answers and nothing of files. The application's number and the version
of the tables are in the file's header, so that a foreign or newer file is refused before a table is read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from realmaster.errors import StudyError

DATABASE = "study.sqlite"
APPLICATION = 0x524D5354  # "RMST", in the file's header
VERSION = 1
SCHEMA = """
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
CREATE TABLE videos (
  id TEXT PRIMARY KEY, clip INTEGER NOT NULL, method TEXT, damaged INTEGER NOT NULL, file TEXT NOT NULL) STRICT;
CREATE TABLE trials (
  id TEXT PRIMARY KEY, plan INTEGER NOT NULL, position INTEGER NOT NULL, clip INTEGER NOT NULL,
  left_video TEXT NOT NULL REFERENCES videos, original_video TEXT NOT NULL REFERENCES videos,
  right_video TEXT NOT NULL REFERENCES videos, left_method TEXT NOT NULL, right_method TEXT NOT NULL,
  expected TEXT CHECK (expected IN ('left', 'right')), UNIQUE (plan, position)) STRICT;
CREATE TABLE participants (
  number INTEGER PRIMARY KEY, token TEXT NOT NULL UNIQUE, plan INTEGER UNIQUE, consented_at TEXT) STRICT;
CREATE TABLE responses (
  trial TEXT PRIMARY KEY REFERENCES trials, participant INTEGER NOT NULL REFERENCES participants, key TEXT NOT NULL,
  at TEXT NOT NULL, seconds REAL NOT NULL, plays INTEGER NOT NULL) STRICT;
CREATE TABLE choices (
  trial TEXT NOT NULL REFERENCES responses, question TEXT NOT NULL,
  choice TEXT NOT NULL CHECK (choice IN ('left', 'right')), PRIMARY KEY (trial, question)) STRICT;
"""


def explain(error: sqlite3.Error, path: Path) -> StudyError:
    """Turn SQLite's words into one line with a remedy."""
    text = str(error)
    if "locked" in text or "busy" in text:
        return StudyError(
            f"{path}: expected to use the study's database, another program has locked it: close that program"
        )
    if "not a database" in text or "malformed" in text:
        return StudyError(
            f"{path}: expected a study's database, found a damaged or foreign file: restore it from a copy"
        )
    if "readonly" in text or "unable to open" in text:
        return StudyError(f"{path}: expected to write the study's database, could not ({text}): check its permissions")
    return StudyError(f"{path}: expected to use the study's database, could not ({text}): check the disk")


def connect(path: Path, *, create: bool, wait_seconds: float) -> sqlite3.Connection:
    """Open a database whose every commit is on the disk before it returns; wait so long for a lock."""
    uri = f"{path.absolute().as_uri()}?mode={'rwc' if create else 'rw'}"
    connection = sqlite3.connect(uri, uri=True, timeout=wait_seconds, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    try:
        if create:
            connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("PRAGMA foreign_keys = ON")
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def check_version(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse a database of another program or of another version.

    Raises:
        StudyError: with what was found.
    """
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application != APPLICATION:
        raise StudyError(f"{path}: expected a study's database, found one of another program: choose a study's folder")
    if version != VERSION:
        raise StudyError(
            f"{path}: expected a study of version {VERSION}, found version {version}: use the RealMaster that made it"
        )


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """Write whole or not at all."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
