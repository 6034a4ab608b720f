"""Manifests of three dialects are read; what is broken is named, counted, and skipped only when asked."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest

from realmaster.data.content import ContentHashes, data_digest
from realmaster.data.manifest import read_manifest, scan_manifest
from realmaster.errors import DataError

GOOD = {"video": "a.mp4", "reference_video": "b.mp4", "caption": "a street"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / f"{name}.mp4").write_bytes(name.encode())
    return tmp_path


def write(folder: Path, *rows: object, name: str = "manifest.jsonl") -> Path:
    path = folder / name
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows), encoding="utf-8")
    return path


def test_paths_are_relative_to_the_manifest(folder: Path) -> None:
    (row,) = read_manifest(write(folder, GOOD))
    assert (row.video, row.reference_video, row.caption) == (folder / "a.mp4", folder / "b.mp4", "a street")
    assert row.where == f"{folder / 'manifest.jsonl'}:1"


def test_a_folder_stands_for_its_manifest(folder: Path) -> None:
    write(folder, GOOD)
    assert len(read_manifest(folder)) == 1


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.csv", 'video,prompt,vace_video\na.mp4,"a street, wet",b.mp4\n'),
        ("a.csv", '\ufeffvideo,prompt,vace_video\r\na.mp4,"a street, wet",b.mp4\r\n'),
        ("a.jsonl", '{"video_path": "a.mp4", "control_path": "b.mp4", "caption": "a street, wet"}\n'),
        ("a.jsonl", '\n{"video": "a.mp4", "reference_video": "b.mp4", "caption": "a street, wet", "fps": 16}\n\n'),
    ],
    ids=["DiffSynth", "DiffSynth from a spreadsheet", "musubi", "ours with more columns and blank lines"],
)
def test_the_columns_of_other_tools_are_understood(folder: Path, name: str, text: str) -> None:
    (folder / name).write_text(text, encoding="utf-8", newline="")
    (row,) = read_manifest(folder / name)
    assert (row.video, row.reference_video, row.caption) == (folder / "a.mp4", folder / "b.mp4", "a street, wet")


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("{not json", "expected one JSON object"),
        ("[1, 2]", "expected a JSON object, got list"),
        ({"video": "a.mp4", "caption": "x"}, "'reference_video'"),
        ({**GOOD, "video": 3}, "expected text in the column 'video', got int"),
        ({**GOOD, "video": "  "}, "expected a path in the column 'video'"),
        ({**GOOD, "video": "gone.mp4"}, "found nothing there"),
        ({**GOOD, "reference_video": "a.mp4"}, "expected two clips"),
        ({**GOOD, "control_path": "c.mp4"}, "found several that differ"),
        ({"video": "a.mp4", "reference_video": "b.mp4"}, "'caption'"),
    ],
)
def test_a_broken_row_is_named_with_its_line_and_reason(folder: Path, row: object, reason: str) -> None:
    path = write(folder, GOOD, row)
    with pytest.raises(DataError) as caught:
        read_manifest(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert reason in str(caught.value)
    assert "1 of 2 rows are broken" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_csv_row_with_too_many_cells_is_broken(folder: Path) -> None:
    (folder / "a.csv").write_text("video,prompt,vace_video\na.mp4,a street, wet,b.mp4\na.mp4,dry,b.mp4\n")
    rows, (broken,) = scan_manifest(folder / "a.csv")
    assert [row.line for row in rows] == [3]
    assert broken.where.endswith(":2")
    assert "quote cells" in broken.reason


def test_broken_rows_are_skipped_when_asked_and_all_of_them_are_logged(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write(folder, "{", GOOD, {**GOOD, "video": "gone.mp4"})
    with caplog.at_level(logging.WARNING):
        assert [row.line for row in read_manifest(path, skip_broken=True)] == [2]
    assert f"{path}:1: " in caplog.text
    assert f"{path}:3: " in caplog.text
    assert "2 of 3 rows are broken and skipped" in caplog.text


def test_skipping_does_not_make_an_empty_set_of_broken_rows(folder: Path) -> None:
    with pytest.raises(DataError, match="nothing is left"):
        read_manifest(write(folder, "{", "["), skip_broken=True)


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_an_empty_manifest_is_refused(folder: Path, text: str) -> None:
    with pytest.raises(DataError, match="found none"):
        read_manifest(write(folder, text))


def test_a_manifest_that_is_missing_or_no_text_is_refused(folder: Path) -> None:
    with pytest.raises(DataError, match="could not read it"):
        read_manifest(folder / "gone.jsonl")
    (folder / "binary.jsonl").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="not UTF-8"):
        read_manifest(folder / "binary.jsonl")


def test_an_empty_caption_is_a_caption(folder: Path) -> None:
    assert read_manifest(write(folder, {**GOOD, "caption": ""}))[0].caption == ""


def test_the_digest_tells_content_and_captions_but_not_places(folder: Path, tmp_path: Path) -> None:
    def digest(row: dict[str, str]) -> str:
        return data_digest(read_manifest(write(folder, row)), ContentHashes())

    first = digest(GOOD)
    (folder / "elsewhere.mp4").write_bytes(b"a")
    assert digest({**GOOD, "video": "elsewhere.mp4"}) == first
    assert digest({**GOOD, "caption": "a road"}) != first
    assert digest({**GOOD, "video": "b.mp4", "reference_video": "a.mp4"}) != first
    (folder / "a.mp4").write_bytes(b"A")
    assert digest(GOOD) != first


def test_an_unchanged_file_is_not_read_again_and_a_changed_one_is(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = folder / "hashes.json"
    hashes = ContentHashes(memory)
    before = hashes.of(folder / "a.mp4")
    hashes.save()
    reads = []
    real_open = Path.open
    monkeypatch.setattr(Path, "open", lambda path, *a, **k: (reads.append(path.name), real_open(path, *a, **k))[1])
    again = ContentHashes(memory)
    assert again.of(folder / "a.mp4") == before
    assert "a.mp4" not in reads
    (folder / "a.mp4").write_bytes(b"longer")
    assert again.of(folder / "a.mp4") != before
    assert "a.mp4" in reads


def test_a_folder_of_images_is_named_by_its_images(folder: Path) -> None:
    images = folder / "images"
    images.mkdir()
    (images / "0.png").write_bytes(b"0")
    (images / "1.png").write_bytes(b"1")
    both = ContentHashes().of(images)
    assert ContentHashes().of(images / "*.png") == both
    (images / "1.png").write_bytes(b"2")
    assert ContentHashes().of(images) != both
