"""A set goes out in other trainers' words, packed or not, and comes back."""

from __future__ import annotations

import csv
import io
import json
import tarfile
import tomllib
from base64 import b64decode
from collections.abc import Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from pair_sets import make_set, record_of, write_frames
from realmaster.data.manifest import read_manifest
from realmaster.errors import DataError, OutputError
from realmaster.pairs.export import Format, export_set
from realmaster.pairs.importing import import_pairs
from realmaster.pairs.record import read_records
from realmaster.pairs.scoring import Scorer, ScoringSettings
from realmaster.pairs.sheet_pictures import take_picture
from realmaster.pairs.splits import split_set
from realmaster.pairs.thresholds import Thresholds
from realmaster.pairs.webdataset import read_shard
from sample_clips import scene

NO_FACES = ScoringSettings.from_mapping({"identity": {"model": "none"}}, source="test")
ALL = Thresholds(min_structure=None)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_set(tmp_path / "set")


def names(path: Path) -> set[str]:
    return {str(file.relative_to(path)) for file in path.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    ("form", "index"),
    [("ltx-trainer", "dataset.jsonl"), ("diffsynth", "metadata.csv"), ("musubi", "64x48x5.jsonl")],
)
def test_a_list_of_another_trainer_is_one_that_training_reads_too(folder: Path, form: str, index: str) -> None:
    """Its columns are those of the dialect, and only accepted clips are in it."""
    out = folder.parent / "out"
    done = export_set(folder, out, form)
    assert done.num_clips == 2
    rows = read_manifest(out / index)
    assert [row.caption for row in rows] == ["a street, alley-0001", "a street, bridge-0001"]
    assert {row.video.name for row in rows} == {"camera.mp4"}
    assert {row.reference_video.name for row in rows} == {"engine.mp4"}
    assert done.index.is_file()
    assert not [name for name in names(out) if "alley-0002" in name]


def test_the_columns_are_the_ones_each_trainer_documents(folder: Path) -> None:
    for form in ("ltx-trainer", "diffsynth", "musubi"):
        export_set(folder, folder.parent / form, form)
    (first, _) = (folder.parent / "ltx-trainer" / "dataset.jsonl").read_text().splitlines()
    assert list(json.loads(first)) == ["caption", "video", "reference_video"]
    table = list(csv.DictReader(io.StringIO((folder.parent / "diffsynth" / "metadata.csv").read_text())))
    assert list(table[0]) == ["video", "prompt", "vace_video"]
    config = tomllib.loads((folder.parent / "musubi" / "dataset.toml").read_text())
    (dataset,) = config["datasets"]
    assert dataset["video_jsonl_file"] == "64x48x5.jsonl"
    assert (dataset["resolution"], dataset["target_frames"]) == ([64, 48], [5])
    row = json.loads((folder.parent / "musubi" / "64x48x5.jsonl").read_text().splitlines()[0])
    assert list(row) == ["video_path", "control_path", "caption"]


def test_what_a_trainer_would_cut_is_said(folder: Path) -> None:
    (warning,) = export_set(folder, folder.parent / "ltx", "ltx-trainer").warnings
    assert "8n+1" in warning
    assert "64x48x5" in warning
    assert export_set(folder, folder.parent / "musubi", "musubi").warnings == ()


def test_an_empty_caption_survives_a_reader_of_tables(folder: Path) -> None:
    record = record_of("alley-0001")
    blank = record.model_copy(update={"clip": record.clip.model_copy(update={"caption": ""})})
    folder = make_set(folder.parent / "blank", blank)
    export_set(folder, folder.parent / "out", "diffsynth")
    assert (folder.parent / "out" / "metadata.csv").read_text().splitlines()[1].split(",")[1] == " "


def test_an_export_is_whole_or_not_there(folder: Path) -> None:
    (folder / "videos" / "bridge-0001" / "camera.mp4").unlink()
    with pytest.raises(DataError, match=r"bridge-0001/camera.mp4.*remove records/bridge-0001.json and build again"):
        export_set(folder, folder.parent / "out", "musubi")
    assert not (folder.parent / "out").exists()
    assert not list(folder.parent.glob(".*"))


def test_what_cannot_be_exported_is_refused(folder: Path) -> None:
    out = folder.parent / "out"
    out.mkdir()
    with pytest.raises(OutputError, match="add --overwrite"):
        export_set(folder, out, "musubi")
    with pytest.raises(OutputError, match="other than the input"):
        export_set(folder, folder, "musubi", overwrite=True)
    dropped = make_set(folder.parent / "dropped", record_of("alley-0002", {"identity": 0.1}))
    with pytest.raises(DataError, match="lower a threshold"):
        export_set(dropped, folder.parent / "none", "musubi")
    assert export_set(folder, out, "musubi", overwrite=True, split="validation").num_clips == 1


def test_shared_files_are_the_sets_own(folder: Path) -> None:
    export_set(folder, folder.parent / "out", "ltx-trainer", hardlinks=True)
    shared = folder.parent / "out" / "videos" / "alley-0001" / "camera.mp4"
    assert shared.samefile(folder / "videos" / "alley-0001" / "camera.mp4")


def test_archives_hold_each_clip_together_and_are_always_the_same_bytes(folder: Path) -> None:
    out = folder.parent / "out"
    done = export_set(folder, out, "webdataset")
    with tarfile.open(out / "pairs-000000.tar") as archive:
        members = archive.getnames()
    endings = ["camera.mp4", "control.mp4", "engine.mp4", "txt", "json"]
    assert members == [f"{clip}.{ending}" for clip in ("alley-0001", "bridge-0001") for ending in endings]
    export_set(folder, folder.parent / "again", "webdataset")
    assert (out / "pairs-000000.tar").read_bytes() == (folder.parent / "again" / "pairs-000000.tar").read_bytes()
    assert done.index.name == "pairs-000000.tar"
    small = export_set(folder, folder.parent / "small", "webdataset", shard_bytes=1)
    assert names(folder.parent / "small") == {"pairs-000000.tar", "pairs-000001.tar"}
    assert small.index.name == "pairs-{000000..000001}.tar"


@pytest.mark.parametrize("form", ["webdataset", "diffsynth"])
def test_what_went_out_comes_back_scored_and_judged(folder: Path, form: str) -> None:
    out, back = folder.parent / "out", folder.parent / "back"
    index = export_set(folder, out, form).index
    source = out if form == "webdataset" else index
    done = import_pairs(source, back, Scorer(NO_FACES), ALL)
    assert (done.num_added, done.num_known, done.broken) == (2, 0, ())
    records = read_records(back)
    assert sorted(record.clip.caption for record in records) == ["a street, alley-0001", "a street, bridge-0001"]
    for record in records:
        assert record.scores["black"] == 0
        engine = (back / record.files["engine"]).read_bytes()
        assert engine in [
            (folder / "videos" / name / "engine.mp4").read_bytes() for name in ("alley-0001", "bridge-0001")
        ]
    assert len(read_manifest(back)) == done.num_accepted
    again = import_pairs(source, back, Scorer(NO_FACES), ALL)
    assert (again.num_added, again.num_known) == (0, 2)


def test_a_broken_pair_is_named_and_the_others_come_in(folder: Path) -> None:
    rows = [json.loads(line) for line in (folder / "manifest.jsonl").read_text().splitlines()]
    rows[0]["video"] = "videos/missing.mp4"
    (folder / "manifest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "videos" / "noise.mp4").write_bytes(b"no video")
    with (folder / "manifest.jsonl").open("a") as manifest:
        manifest.write(json.dumps(rows[1] | {"video": "videos/noise.mp4"}) + "\n")
    done = import_pairs(folder, folder.parent / "back", Scorer(NO_FACES), ALL)
    assert done.num_added == 1
    assert len(done.broken) == 2
    (folder / "one.jsonl").write_text(json.dumps(rows[0]) + "\n")
    with pytest.raises(DataError, match="none can be used"):
        import_pairs(folder / "one.jsonl", folder.parent / "none", Scorer(NO_FACES), ALL)


def test_an_archive_that_is_cut_or_half_a_pair_is_said(folder: Path, tmp_path: Path) -> None:
    out = folder.parent / "out"
    export_set(folder, out, "webdataset")
    data = (out / "pairs-000000.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(data[: len(data) // 2])
    assert "cut.tar: expected a whole tar archive" in str(list(read_shard(tmp_path / "cut.tar", tmp_path))[-1])
    with tarfile.open(tmp_path / "half.tar", "w") as archive:
        archive.add(folder / "videos" / "alley-0001" / "engine.mp4", "../../etc/x.engine.mp4")
    (half,) = read_shard(tmp_path / "half.tar", tmp_path)
    assert "x.camera.mp4 in it, found none" in str(half)
    with pytest.raises(DataError, match=r"x\.camera\.mp4"):
        import_pairs(tmp_path / "half.tar", tmp_path / "none", Scorer(NO_FACES), ALL)
    assert not (tmp_path.parent.parent / "etc").exists()


def test_the_whole_clips_of_a_cut_archive_come_in(folder: Path) -> None:
    out, back = folder.parent / "out", folder.parent / "back"
    export_set(folder, out, "webdataset")
    shard = out / "pairs-000000.tar"
    with tarfile.open(shard) as archive:
        second = next(member for member in archive if member.name.startswith("bridge"))
    shard.write_bytes(shard.read_bytes()[: second.offset_data + 100])
    done = import_pairs(out, back, Scorer(NO_FACES), ALL)
    assert (done.num_added, len(done.broken)) == (1, 1)
    assert len(read_manifest(back)) == 1


@pytest.mark.parametrize("form", ["ltx-trainer", "diffsynth", "musubi", "webdataset"])
def test_the_folder_of_an_export_is_read_as_it_is(folder: Path, form: Format) -> None:
    out = folder.parent / "out"
    export_set(folder, out, form)
    assert import_pairs(out, folder.parent / "back", Scorer(NO_FACES), ALL).num_added == 2


@pytest.mark.parametrize("form", ["ours", "webdataset"])
def test_a_clip_of_validation_stays_one(folder: Path, form: str) -> None:
    split_set(folder, num_validation=1)
    out, back = folder, folder.parent / "back"
    if form == "webdataset":
        out = folder.parent / "out"
        export_set(folder, out, "webdataset")
    import_pairs(out, back, Scorer(NO_FACES), ALL)
    before, after = ({r.clip.caption: r.clip.split for r in read_records(place)} for place in (folder, back))
    assert set(after.values()) == {"train", "validation"}
    assert after.items() <= before.items()


def two_looks(folder: Path, engine: np.ndarray, camera: np.ndarray, rates: tuple[int, int]) -> Path:
    for look, frames, rate in (("engine", engine, rates[0]), ("camera", camera, rates[1])):
        write_frames(folder / f"{look}.mkv", frames, rate)
    manifest = folder / "manifest.jsonl"
    row = {"video": "camera.mkv", "reference_video": "engine.mkv", "caption": "a street", "id": "a"}
    manifest.write_text(json.dumps(row) + "\n")
    return manifest


@pytest.mark.parametrize(
    ("width", "num_frames", "rate", "said"),
    [
        (128, 12, 12, "expected video and reference of one aspect, got 64x48 and 128x48: crop them alike"),
        (64, 12, 24, "expected video and reference of one length, got 12 and 6 frames at 12 a second: cut them alike"),
    ],
)
def test_looks_that_training_would_refuse_do_not_come_in(
    tmp_path: Path, width: int, num_frames: int, rate: int, said: str
) -> None:
    manifest = two_looks(tmp_path, scene(num_frames, width, 48), scene(12, 64, 48), (rate, 12))
    with pytest.raises(DataError) as raised:
        import_pairs(manifest, tmp_path / "set", Scorer(NO_FACES), ALL)
    assert said in str(raised.value)


@pytest.mark.parametrize("rates", [(24, 12), (12, 24)])
def test_looks_of_two_rates_are_scored_in_time(tmp_path: Path, rates: tuple[int, int]) -> None:
    class Seen(Scorer):
        def score(self, engine: np.ndarray, camera: np.ndarray, anchors: Mapping[int, np.ndarray]) -> dict[str, float]:
            assert np.array_equal(engine, camera)
            assert len(engine) == 12
            return super().score(engine, camera, anchors)

    shown = {24: scene(24, 64, 48), 12: scene(24, 64, 48)[::2]}  # one second of one scene
    manifest = two_looks(tmp_path, shown[rates[0]], shown[rates[1]], rates)
    assert import_pairs(manifest, tmp_path / "set", Seen(NO_FACES), ALL).num_added == 1
    (record,) = read_records(tmp_path / "set")
    cut = record.clip.cut
    assert (cut.num_frames, cut.frame_rate, cut.source_rate) == (12, 12, str(rates[1]))
    picture = take_picture(tmp_path / "set", record)
    assert picture is not None
    page = cv2.imdecode(np.frombuffer(b64decode(picture.uri.partition(",")[2]), np.uint8), cv2.IMREAD_COLOR)
    engine, camera = page[: picture.height // 2 - 1], page[picture.height // 2 + 1 :]
    assert np.abs(engine.astype(int) - camera.astype(int)).mean() < 2  # the same moments in both rows
