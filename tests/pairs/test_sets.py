"""A finished set is judged again, divided again and counted, from its records alone."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pair_sets import make_set, record_of
from realmaster.data.manifest import read_manifest
from realmaster.errors import DataError
from realmaster.pairs.pair_set import Failure, PairSet
from realmaster.pairs.record import read_record, read_records, write_record
from realmaster.pairs.redecide import redecide
from realmaster.pairs.splits import split_set
from realmaster.pairs.stats import as_text, set_stats
from realmaster.pairs.thresholds import Thresholds


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_other_thresholds_judge_stored_scores(tmp_path: Path) -> None:
    """The pictures are not touched: they may even be gone."""
    folder = make_set(tmp_path / "set")
    for video in (folder / "videos").rglob("*.mp4"):
        if "alley-0002" in str(video):
            video.unlink()
    done = redecide(folder, Thresholds(min_identity=0.2, max_flicker=2), asked=["min_identity"])
    assert (done.num_judged, done.kept_before, done.kept_now) == (3, 2, 2)
    assert (done.came, done.went) == (("alley-0002",), ("bridge-0001",))
    assert read_record(folder, "bridge-0001").reason == "flicker: times the source's 2.5 above 2"
    rows = (folder / "manifest.jsonl").read_text().splitlines()
    assert [json.loads(row)["id"] for row in rows] == ["alley-0001", "alley-0002"]
    assert not (folder / "validation.jsonl").exists()


def test_there_and_back_gives_the_same_bytes(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    before = bytes_of(folder)
    redecide(folder, Thresholds(min_identity=0.9))
    assert bytes_of(folder) != before
    redecide(folder, Thresholds())
    assert bytes_of(folder) == before


def test_a_dry_run_writes_nothing(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    before = bytes_of(folder)
    assert redecide(folder, Thresholds(min_identity=0.9), dry_run=True).kept_now == 0
    assert bytes_of(folder) == before


@pytest.mark.parametrize("written", ["NaN", "-Infinity", "1e999"])
def test_a_record_with_a_score_that_is_no_number_is_refused(tmp_path: Path, written: str) -> None:
    folder = make_set(tmp_path / "set")
    file = folder / "records" / "alley-0001.json"
    file.write_text(file.read_text().replace("0.71", written))
    with pytest.raises(DataError, match=rf"alley-0001\.json: .*\(found {written} where a number belongs\): remove it"):
        read_records(folder)


def test_a_clip_that_a_stage_gave_up_stays_dropped(tmp_path: Path) -> None:
    early = record_of("alley-0003", accepted=False, reason="shifted by 9 px", rejected_at="edit")
    folder = make_set(tmp_path / "set", record_of("alley-0001"), early)
    assert redecide(folder, Thresholds(min_identity=None)).kept_now == 1
    assert read_record(folder, "alley-0003") == early


def test_a_threshold_on_a_score_that_nobody_measured_is_refused(tmp_path: Path) -> None:
    """It would pass every clip, silently."""
    folder = make_set(tmp_path / "set")
    with pytest.raises(DataError, match=r"min_identity, this set was scored by another face model"):
        redecide(folder, Thresholds(), asked=["max_identity_distance"])
    with pytest.raises(DataError, match="anchor_first for min_anchor"):
        redecide(folder, Thresholds(), asked=["min_anchor"])
    redecide(folder, Thresholds(no_faces="drop", min_faces_found=1), asked=["no_faces", "min_faces_found"])


def clips(*names: str) -> list:
    return [record_of(name) for name in names]


def test_a_video_is_never_in_both_splits(tmp_path: Path) -> None:
    names = [f"{video}-{number}" for video in ("alley", "bridge", "castle", "dock") for number in range(3)]
    folder = make_set(tmp_path / "set", *clips(*names))
    counts = split_set(folder, num_validation=4, seed=1)
    assert counts == {"train": 6, "validation": 6}, "whole videos, as many as it takes"
    parts = {split: {name.partition("-")[0] for name in of(folder, split)} for split in counts}
    assert not parts["train"] & parts["validation"]
    assert len(read_manifest(folder / "validation.jsonl")) == 6
    same = bytes_of(folder)
    assert split_set(folder, num_validation=4, seed=1) == counts
    assert bytes_of(folder) == same, "the same seed gives the same split"
    drawn = {tuple(sorted(of_seed(folder, seed))) for seed in range(8)}
    assert len(drawn) > 1, "another seed may give another"


def of(folder: Path, split: str) -> set[str]:
    return {record.id for record in read_records(folder) if record.clip.split == split}


def of_seed(folder: Path, seed: int) -> set[str]:
    split_set(folder, num_validation=3, seed=seed)
    return of(folder, "validation")


def test_a_share_is_rounded_up_and_none_is_none(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", *clips("a-1", "b-1", "c-1", "d-1"))
    assert split_set(folder, share=0.3)["validation"] == 2
    assert split_set(folder, share=0) == {"train": 4, "validation": 0}
    assert not (folder / "validation.jsonl").exists()


def test_a_set_that_cannot_be_divided_says_so(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set", *clips("a-1", "a-2"))
    with pytest.raises(DataError, match="add videos"):
        split_set(folder, num_validation=1)
    with pytest.raises(DataError, match="ask for fewer"):
        split_set(folder, num_validation=2)


def test_a_set_is_counted(tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    write_record(folder, record_of("castle-0001", files={}, accepted=False, reason="shift", rejected_at="edit"))
    stats = set_stats(folder)
    assert (stats.num_clips, stats.num_kept) == (4, 2)
    assert stats.splits == {"train": 1, "validation": 1}
    assert stats.sources == {"town": (4, 2)}
    assert stats.reasons == {"identity": 1, "edit": 1}
    assert stats.scores["identity"].num_clips == 3
    assert stats.scores["identity"].low == 0.21
    assert stats.seconds == pytest.approx(2 * 5 / 16)
    text = as_text(stats)
    assert "4, 2 kept (50%)" in text
    assert "identity, lowest cosine" in text
    PairSet(folder).set_aside(Failure("dock-0001", "edit", "expected a frame, got none: mend it"))
    assert "4, 2 kept (50%); 1 more set aside" in as_text(set_stats(folder))
    json.dumps(stats.as_json(), allow_nan=False)


def test_an_empty_set_is_counted_too(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    assert as_text(set_stats(tmp_path)).startswith("clips     0, 0 kept")
