"""A set in an object store: fsspec's own in-memory one, which has no rename, no locks and no folder."""

from __future__ import annotations

import json
import pickle
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import fsspec
import pytest
from click.testing import CliRunner

from pair_making import contents, settings_for
from realmaster.cli.pairs import command
from realmaster.data.manifest import read_manifest
from realmaster.errors import DataError, OutputError
from realmaster.pairs import pair_set
from realmaster.pairs.build import build_pairs
from realmaster.pairs.export import export_set
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.redecide import redecide
from realmaster.pairs.splits import split_set
from realmaster.pairs.status import read_status
from realmaster.pairs.store import _copies, open_store, read_text, write_text
from realmaster.pairs.thresholds import Thresholds
from sample_clips import frames_of


@pytest.fixture
def bucket() -> Iterator[str]:
    """An empty bucket."""
    yield "memory://bucket/set"
    files = fsspec.filesystem("memory")
    if files.exists("/bucket"):
        files.rm("/bucket", recursive=True)


def objects(address: str) -> dict[str, bytes]:
    files, base = fsspec.core.url_to_fs(address)
    found = {path.removeprefix(f"{base}/"): files.cat_file(path) for path in files.find(base)}
    return {name: data for name, data in found.items() if not name.startswith(".work")}


def test_a_set_in_an_object_store_is_the_set_of_a_folder(tmp_path: Path, bucket: str) -> None:
    build_pairs(settings_for(tmp_path))
    build_pairs(settings_for(tmp_path, output=bucket))
    assert objects(bucket) == contents(tmp_path / "set")
    assert not list(_copies(bucket).rglob("*.mkv"))  # of clips under way nothing is kept on this machine
    status = read_status(bucket)
    assert (status.num_accepted, status.stages["edit"].num_clips) == (5, 5)


def test_a_second_run_on_a_store_does_nothing_again(
    tmp_path: Path, bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_pairs(settings_for(tmp_path, output=bucket, sample__train=2))
    monkeypatch.setenv("PAIR_MAKING_NOTES", str(tmp_path / "notes"))
    assert build_pairs(settings_for(tmp_path, output=bucket, sample__train=2)).num_known == 3
    assert not (tmp_path / "notes").exists()


def test_a_store_is_leased_to_one_run_until_it_is_not_heard_of(tmp_path: Path, bucket: str) -> None:
    store = open_store(bucket)
    write_text(store, ".work/lease.json", json.dumps({"holder": "elsewhere:7", "at": time.time()}))
    with pytest.raises(DataError, match="expected a set that nobody works on, elsewhere:7 does"):
        build_pairs(settings_for(tmp_path, output=bucket))
    write_text(store, ".work/lease.json", json.dumps({"holder": "elsewhere:7", "at": time.time() - 3600}))
    with PairSet(bucket).lease() as lease:
        assert lease is not None
    assert not store.exists(".work/lease.json")


def test_a_store_travels_to_another_process_by_its_address(bucket: str) -> None:
    write_text(open_store(bucket), "a/text.json", "first")
    other = pickle.loads(pickle.dumps(open_store(bucket)))
    assert read_text(other, "a/text.json") == "first"
    write_text(open_store(bucket), "a/text.json", "second")
    assert read_text(other, "a/text.json") == "second"
    assert other.names("a") == ["text.json"]
    other.remove("a")
    assert not other.exists("a/text.json")


def test_an_address_that_nothing_reaches_is_refused() -> None:
    with pytest.raises(OutputError, match="expected an address that fsspec reaches"):
        open_store("nowhere://bucket/set")


def test_a_folder_that_cannot_be_made_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="could not make it"):
        open_store(tmp_path / "file" / "set")


def test_what_is_not_written_whole_is_not_there(tmp_path: Path, bucket: str) -> None:
    for root in (str(tmp_path / "set"), bucket):
        store = open_store(root)
        with suppress(KeyError), store.writing("videos/a.bin") as part:
            part.write_bytes(b"half")
            raise KeyError
        assert not store.exists("videos/a.bin")
        assert store.names("videos") == []


def test_a_finished_set_in_an_object_store_is_worked_on_like_one_in_a_folder(tmp_path: Path, bucket: str) -> None:
    build_pairs(settings_for(tmp_path, output=bucket))

    def run(*words: str) -> str:
        result = CliRunner().invoke(command, words)
        assert result.exit_code == 0, result.output
        return result.output

    assert "5, 5 kept" in run("stats", bucket)
    page = tmp_path / "sheet.html"
    assert "5 clips" in run("inspect", bucket, "-o", str(page), "--width", "32")
    assert page.read_text("utf-8").count("data:image/webp") == 5
    run("export", bucket, "--format", "musubi", "-o", str(tmp_path / "musubi"))
    run("export", bucket, "--format", "webdataset", "-o", str(tmp_path / "shards"))
    rows = read_manifest(tmp_path / "musubi" / "64x48x5.jsonl")
    assert [frames_of(row.video).shape for row in rows] == [(5, 48, 64, 3)] * 5
    run("split", bucket, "--validation", "2", "--seed", "3")
    assert b"validation" in objects(bucket)["validation.jsonl"]
    assert "keeps 0 of 5" in run("filter", bucket, "--min-structure", "1")
    assert objects(bucket)["manifest.jsonl"] == b""
    assert "train.jsonl" not in objects(bucket)
    other = bucket.replace("set", "imported")
    assert "5 added" in run("import", str(tmp_path / "shards"), "-o", other, "--identity", "none")
    assert len([name for name in objects(other) if name.endswith("camera.mp4")]) == 5
    assert not [path for address in (bucket, other) for path in _copies(address).rglob("*.mp4")]  # nothing stays here


def test_nothing_is_written_to_a_set_that_another_run_is_building(tmp_path: Path, bucket: str) -> None:
    build_pairs(settings_for(tmp_path, output=bucket))
    write_text(open_store(bucket), ".work/lease.json", json.dumps({"holder": "elsewhere:7", "at": time.time()}))
    before = objects(bucket)
    with pytest.raises(DataError, match="elsewhere:7 does"):
        split_set(bucket, num_validation=2)
    with pytest.raises(DataError, match="elsewhere:7 does"):
        redecide(bucket, Thresholds(min_structure=1.0))
    assert objects(bucket) == before
    assert redecide(bucket, Thresholds(min_structure=1.0), dry_run=True).kept_now == 0


def test_an_address_without_a_set_is_said_and_no_files_are_shared_with_it(tmp_path: Path, bucket: str) -> None:
    for call in (lambda: split_set(bucket, num_validation=1), lambda: export_set(bucket, tmp_path / "out", "musubi")):
        with pytest.raises(DataError, match="memory://bucket/set: expected a set of pairs"):
            call()
    build_pairs(settings_for(tmp_path, output=bucket))
    with pytest.raises(OutputError, match="got an address: copy them"):
        export_set(bucket, tmp_path / "out", "musubi", hardlinks=True)


def test_a_lease_is_renewed_while_its_holder_works(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pair_set, "_RENEW_SECONDS", 0.02)
    files = fsspec.filesystem("memory")
    with PairSet(bucket).lease():
        first = json.loads(files.cat_file("/bucket/set/.work/lease.json"))["at"]
        deadline = time.time() + 10
        while json.loads(files.cat_file("/bucket/set/.work/lease.json"))["at"] == first:
            assert time.time() < deadline, "never renewed"
            time.sleep(0.02)
    assert not files.exists("/bucket/set/.work/lease.json")


def test_the_lease_of_a_process_of_this_machine_that_is_gone_is_taken_over(bucket: str) -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True, check=True
    )
    store = open_store(bucket)
    holder = f"{socket.gethostname()}:{said.stdout.strip()}"
    write_text(store, ".work/lease.json", json.dumps({"holder": holder, "at": time.time()}))
    with PairSet(bucket).lease() as lease:
        assert lease is not None
    write_text(store, ".work/lease.json", "{")
    with pytest.raises(DataError, match=r"lease.json: expected who works on the set"), PairSet(bucket).lease():
        pass
