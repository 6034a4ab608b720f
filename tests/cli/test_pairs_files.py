"""`realmaster pairs` on finished sets: what people type, what they read, and one line for what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pair_sets import make_set, record_of
from realmaster.models import faces_dlib

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(realmaster: Callable[..., Any]) -> Run:
    """Call the command line; give the exit code and what it said."""

    def call(*words: object) -> tuple[int, str, str]:
        said = realmaster(*words)
        return said.code, said.out, said.err

    return call


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set")


def test_inspect_writes_a_page_beside_the_set(run: Run, folder: Path) -> None:
    code, out, _ = run("pairs", "inspect", folder, "--only", "dropped", "-q")
    assert code == 0
    assert out.startswith(f"{folder / 'sheet.html'}: 1 clips")
    assert "alley-0002" in (folder / "sheet.html").read_text("utf-8")


def test_a_page_that_would_replace_something_else_is_refused(run: Run, folder: Path) -> None:
    code, _, error = run("pairs", "inspect", folder, "-o", str(folder / "manifest.jsonl"))
    assert code == 2
    assert "PAGE.html" in error


@pytest.mark.parametrize(
    ("form", "index"),
    [
        ("ltx-trainer", "dataset.jsonl"),
        ("diffsynth", "metadata.csv"),
        ("musubi", "dataset.toml"),
        ("webdataset", "pairs-000000.tar"),
    ],
)
def test_export_says_what_to_give_the_trainer(run: Run, folder: Path, form: str, index: str) -> None:
    output = folder.parent / "out"
    code, out, _ = run("pairs", "export", folder, "--format", form, "-o", output)
    assert (code, out.strip()) == (0, f"2 clips: {output / index}")
    assert (output / index).is_file()


def test_what_a_trainer_would_cut_is_a_warning(run: Run, folder: Path) -> None:
    code, _, error = run("pairs", "export", folder, "--format", "ltx-trainer", "-o", folder.parent / "out")
    assert code == 0
    assert "warning: ltx-trainer wants 8n+1 frames" in error


def test_import_reports_what_came_in(run: Run, folder: Path) -> None:
    back = folder.parent / "back"
    code, out, _ = run("pairs", "import", folder / "manifest.jsonl", "-o", back, "--identity", "none", "-q")
    assert code == 0
    assert out.startswith(f"{back}: 2 added, ")
    code, out, _ = run("pairs", "import", folder / "manifest.jsonl", "-o", back, "--identity", "none", "-q")
    assert "0 added, 0 of them kept, 2 there already" in out


def test_import_judges_by_the_last_filter_of_the_set(run: Run, folder: Path) -> None:
    other = make_set(folder.parent / "other", record_of("dock-1"))
    assert run("pairs", "filter", other, "--max-flicker", "0")[0] == 0
    code, out, _ = run("pairs", "import", folder / "manifest.jsonl", "-o", other, "--identity", "none", "-q")
    assert code == 0
    assert "2 added, 0 of them kept" in out


def test_import_does_not_start_without_the_face_model(run: Run, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faces_dlib, "find_spec", lambda name: None)
    code, _, error = run("pairs", "import", folder, "-o", folder.parent / "back")
    assert code == 2
    assert "pip install 'realmaster[faces]'" in error
    assert not (folder.parent / "back").exists()


def test_split_and_stats_count_alike(run: Run, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "many", *[record_of(f"{name}-1") for name in "abcde"])
    code, out, _ = run("pairs", "split", folder, "--validation", "2", "--seed", "3")
    assert (code, out.strip()) == (0, f"{folder}: train 3, validation 2")
    code, out, _ = run("pairs", "stats", folder, "--json")
    assert json.loads(out)["splits"] == {"train": 3, "validation": 2}
    code, out, _ = run("pairs", "stats", folder)
    assert "splits    train 3, validation 2" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stats", "nowhere"], "name the set's folder"),
        (["inspect", "nowhere"], "name the set's folder"),
        (["export", "nowhere", "--format", "musubi", "-o", "out"], "name the set's folder"),
        (["export", "nowhere", "--format", "zip", "-o", "out"], "'zip' is not one of"),
        (["export", "nowhere", "--format", "webdataset", "-o", "out", "--hardlinks"], "archives hold copies"),
        (["split", "nowhere"], "--validation or --share"),
        (["split", "nowhere", "--share", "nan"], "nan"),
        (["import", "nowhere.jsonl", "-o", "set", "--identity", "none"], "could not read it"),
        (["import", "nowhere.jsonl", "-o", "set", "--identity", "arcface"], "without --faces: add --faces"),
        (
            ["import", "nowhere.jsonl", "-o", "set", "--faces", "models"],
            "expected --faces FOLDER with --identity arcface",
        ),
    ],
)
def test_what_is_refused_is_one_line(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = run("pairs", *arguments)
    assert code == 2
    assert words in error
    assert len(error.strip().splitlines()) == 1
    assert "Traceback" not in error


def test_a_record_edited_into_nonsense_is_named(run: Run, folder: Path) -> None:
    record = folder / "records" / "alley-0001.json"
    values = json.loads(record.read_text())
    values["files"]["camera"] = "../../etc/passwd"
    record.write_text(json.dumps(values))
    code, _, error = run("pairs", "stats", folder)
    assert code == 2
    assert "alley-0001.json" in error
    assert "within the set" in error
