from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from realmaster.web.study.make import make_study
from realmaster.web.study.serve import open_port, serving
from realmaster.web.study.store import StudyStore
from study_people import settings, write_sources


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Originals and three methods' outputs."""
    return write_sources(tmp_path_factory.mktemp("sources"))


@pytest.fixture(scope="session")
def made(sources: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study that nobody has begun; copy it before use."""
    folder = tmp_path_factory.mktemp("made") / "study"
    make_study(settings(), folder, root=sources)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path) -> Path:
    """A study of one's own."""
    return Path(shutil.copytree(made, tmp_path / "study"))


@pytest.fixture
def store(folder: Path) -> Iterator[StudyStore]:
    """That study, open."""
    with StudyStore.open(folder) as store:
        yield store


@pytest.fixture
def address(store: StudyStore) -> Iterator[str]:
    """That study, served."""
    with serving(store, open_port("127.0.0.1", 0)) as address:
        yield address
