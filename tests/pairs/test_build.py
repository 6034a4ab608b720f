from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import pair_making
from pair_making import contents, records, settings_for
from realmaster.data.manifest import read_manifest
from realmaster.errors import ConfigError, DataError, MediaError, MissingWeightsError, OutputError
from realmaster.pairs import disk
from realmaster.pairs.build import build_pairs
from realmaster.pairs.kept_thresholds import write_thresholds
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.planning import read_plan
from realmaster.pairs.status import read_status
from realmaster.pairs.thresholds import Thresholds
from sample_clips import frames_of

# A process of its own that builds a set: what a kill leaves behind is then what the system leaves behind.
BUILD = """
import sys; sys.path.insert(0, sys.argv[2])
from pathlib import Path
from pair_making import settings_for
from realmaster.pairs.build import build_pairs
print(dict(build_pairs(settings_for(Path(sys.argv[1]))).outcomes))
"""


def start(root: Path, **environment: str) -> subprocess.Popen[str]:
    tests = str(Path(pair_making.__file__).parent)
    command = [sys.executable, "-c", BUILD, str(root), tests]
    return subprocess.Popen(
        command, env={**os.environ, "PYTHONPATH": tests, **environment}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_footage_becomes_pairs_that_a_trainer_reads(tmp_path: Path) -> None:
    tally = build_pairs(settings_for(tmp_path))
    assert tally.outcomes["accepted"] == 5
    assert tally.rows == {"manifest.jsonl": 5, "train.jsonl": 4, "validation.jsonl": 1}
    rows = read_manifest(tmp_path / "set")
    assert [row.caption for row in rows] == ["a street"] * 5
    engine, camera = frames_of(rows[0].reference_video), frames_of(rows[0].video)
    assert engine.shape == camera.shape == (5, 48, 64, 3)
    warmer = camera.astype(int).mean(axis=(0, 1, 2)) - engine.mean(axis=(0, 1, 2))
    assert warmer[0] > 15 > 0 > warmer[2]
    record = records(tmp_path / "set")[rows[0].video.parent.name]
    assert record["models"]["editor"] == {"editor": "warm"}
    assert record["anchors"] == [0, 4]
    assert record["scores"]["structure"] > 0.9
    assert not (tmp_path / "set" / ".work" / "clips").exists() or not any((tmp_path / "set/.work/clips").iterdir())


def test_a_second_run_does_nothing_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build_pairs(settings_for(tmp_path))
    before = contents(tmp_path / "set")
    monkeypatch.setenv("PAIR_MAKING_NOTES", str(tmp_path / "notes"))
    tally = build_pairs(settings_for(tmp_path))
    assert tally.num_known == 5
    assert not (tmp_path / "notes").exists()
    assert contents(tmp_path / "set") == before


def test_a_killed_run_goes_on_to_the_same_bytes_with_no_edit_made_twice(tmp_path: Path) -> None:
    whole, killed, notes = tmp_path / "whole", tmp_path / "killed", tmp_path / "notes"
    for root in (whole, killed):
        root.mkdir()
        pair_making.footage(root / "footage")
    build_pairs(settings_for(whole))
    first = start(killed, PAIR_MAKING_KILL=str(tmp_path / "killed_once"), PAIR_MAKING_NOTES=str(notes))
    first.communicate(timeout=120)
    assert first.returncode == -signal.SIGKILL
    assert "control" in read_status(str(killed / "set")).under_way
    again = start(killed, PAIR_MAKING_NOTES=str(notes))
    _, error = again.communicate(timeout=120)
    assert again.returncode == 0, error
    assert contents(killed / "set") == contents(whole / "set")
    said = notes.read_text().split()
    assert said.count("edit") == 5  # the clip that was cut off had its edit already
    assert said.count("propagate") == 6  # and its propagation to be done again


def test_two_processes_on_one_folder_share_the_work(tmp_path: Path) -> None:
    pair_making.footage(tmp_path / "footage")
    notes = tmp_path / "notes"
    both = [start(tmp_path, PAIR_MAKING_NOTES=str(notes), PAIR_MAKING_SECONDS="0.2") for _ in range(2)]
    outputs = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [0, 0], outputs
    assert notes.read_text().split().count("propagate") == 5
    assert len(records(tmp_path / "set")) == 5
    assert len(read_manifest(tmp_path / "set")) == 5


def test_models_held_one_at_a_time_make_the_same_set(tmp_path: Path) -> None:
    build_pairs(settings_for(tmp_path))
    together = contents(tmp_path / "set")
    settings = settings_for(tmp_path, output=str(tmp_path / "other"), compute__hold="one", compute__batch=2)
    build_pairs(settings)
    assert contents(tmp_path / "other") == together


def test_more_clips_extend_a_set_and_keep_what_is_there(tmp_path: Path) -> None:
    build_pairs(settings_for(tmp_path, sample__train=2))
    before = records(tmp_path / "set")
    tally = build_pairs(settings_for(tmp_path))
    assert tally.num_known == 3
    after = records(tmp_path / "set")
    assert len(after) == 5
    assert {name: after[name] for name in before} == before


def test_a_set_is_not_continued_with_settings_that_would_make_other_pictures(tmp_path: Path) -> None:
    build_pairs(settings_for(tmp_path))
    with pytest.raises(DataError, match=r"another control.kind, seed: choose another folder"):
        build_pairs(settings_for(tmp_path, control__kind="soft", seed=6))
    build_pairs(settings_for(tmp_path, thresholds={"min_structure": 0.9}))  # decides no picture
    (tmp_path / "footage").rename(tmp_path / "moved")
    build_pairs(settings_for(tmp_path, sources=[{"kind": "video", "path": str(tmp_path / "moved")}]))


def test_settings_may_change_until_a_first_clip_is_made(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="longest unbroken stretch"):
        build_pairs(settings_for(tmp_path, sample__num_frames=81))
    with pytest.raises(ConfigError, match="got str"):
        build_pairs(settings_for(tmp_path, edit__editor="pair_making:nothing"))
    assert build_pairs(settings_for(tmp_path)).outcomes["accepted"] == 5


def test_a_clip_that_fails_is_set_aside_with_its_reason_and_the_others_go_on(tmp_path: Path) -> None:
    footage = pair_making.footage(tmp_path / "footage")
    (footage / "video_1.txt").write_text("fails")
    (footage / "video_0.txt").write_text("breaks")
    tally = build_pairs(settings_for(tmp_path, sample__validation=0, sample__train=6))
    assert tally.outcomes == {"accepted": 2, "failed": 4}
    assert sum("got NaN: this is a test" in reason for reason in tally.reasons.values()) == 2
    status = read_status(str(tmp_path / "set"))
    assert status.num_failed == 4
    assert status.failures["edit: KeyError: 'a defect'"] == 2
    (footage / "video_1.txt").unlink()
    assert build_pairs(settings_for(tmp_path, sample__validation=0, sample__train=6)).outcomes == {"failed": 4}


def test_failed_clips_are_tried_again_on_request(tmp_path: Path) -> None:
    changes = {"edit__prompt": "fails"}
    assert build_pairs(settings_for(tmp_path, **changes)).outcomes == {"failed": 5}
    tally = build_pairs(settings_for(tmp_path, **changes), retry=True)
    assert tally.outcomes == {"failed": 5}
    PairSet(str(tmp_path / "set")).forgive(next(iter(tally.reasons)))
    assert len(PairSet(str(tmp_path / "set")).failures()) == 4


def test_a_run_in_which_clip_after_clip_fails_is_stopped(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="2 clips failed one after the other, the last: expected finite pixels"):
        build_pairs(settings_for(tmp_path, edit__prompt="fails", compute__stop_after=2))


def test_a_full_disk_ends_the_run_and_fails_no_clip(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No space left"):
        build_pairs(settings_for(tmp_path, propagate__prompt="full"))
    assert read_status(str(tmp_path / "set")).num_failed == 0


def test_room_is_counted_before_anything_is_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disk, "free_bytes", lambda store: 1000)
    with pytest.raises(OutputError, match=r"expected 0\.1 GB of room for 5 clips, found 0\.0 GB free"):
        build_pairs(settings_for(tmp_path))
    assert not records(tmp_path / "set")


def test_the_count_of_room_is_no_less_than_what_is_used(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    build_pairs(settings)
    plan = read_plan(PairSet(settings.output))
    assert plan is not None
    used = sum(map(len, contents(tmp_path / "set").values()))
    assert used < disk.room_for(plan[0].clips, settings, at_once=1)


def test_identity_without_its_model_refuses_to_start(tmp_path: Path) -> None:
    weights = {"model": "arcface", "weights": str(tmp_path / "nowhere")}
    with pytest.raises((MissingWeightsError, ConfigError)):
        build_pairs(settings_for(tmp_path, scoring__identity=weights))
    assert not records(tmp_path / "set")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"edit__editor": "pair_making:nothing"}, "to give a KeyframeEditor, got str"),
        ({"edit__editor": "pair_making:nobody"}, "expected a function nobody in the module pair_making"),
        ({"propagate__propagator": "pair_makin:propagator"}, "expected a function propagator in the module pair_makin"),
        ({"profile": "nan"}, "nano"),
        ({"control__kind": "depth"}, "5 have none|3 have none"),
    ],
)
def test_what_would_hit_every_clip_is_said_at_once(tmp_path: Path, changes: dict[str, object], says: str) -> None:
    if "profile" in changes:
        changes = {**changes, "edit__editor": "profile"}
    with pytest.raises(ConfigError, match=says):
        build_pairs(settings_for(tmp_path, **changes))
    assert not records(tmp_path / "set")


def test_an_edit_that_is_another_picture_is_tried_with_other_seeds(tmp_path: Path) -> None:
    changes = {"sample__train": 1, "sample__validation": 0, "edit__check": {"max_attempts": 3}}
    build_pairs(settings_for(tmp_path, edit__editor="pair_making:bad_twice", **changes))
    (record,) = records(tmp_path / "set").values()
    assert record["scores"]["edit_attempts"] == 3
    assert record["facts"]["edit"]["seed"] == record["clip"]["seed"] + 2
    assert record["rejected_at"] is None


def test_a_clip_whose_edits_never_hold_is_rejected_without_being_carried_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PAIR_MAKING_NOTES", str(tmp_path / "notes"))
    changes = {"sample__train": 1, "sample__validation": 0, "edit__check": {"max_attempts": 2}}
    tally = build_pairs(settings_for(tmp_path, edit__editor="pair_making:always_bad", **changes))
    assert tally.outcomes["rejected"] == 1
    (record,) = records(tmp_path / "set").values()
    assert record["rejected_at"] == "edit"
    assert "keyframe 0" in record["reason"]
    assert {"engine", "anchor_0000"} <= set(record["files"])
    assert "camera" not in record["files"]
    assert not (tmp_path / "notes").exists()


def test_an_edit_that_somebody_has_to_make_is_waited_for(tmp_path: Path) -> None:
    settings = settings_for(
        tmp_path, edit__editor=f"folder:{tmp_path / 'edits'}", sample__train=1, sample__validation=0
    )
    tally = build_pairs(settings)
    assert tally.outcomes == {"waiting": 1, "failed": 0}
    to_edit = sorted((tmp_path / "edits" / "to_edit").glob("*.png"))
    assert len(to_edit) == 2
    for picture in to_edit:
        (tmp_path / "edits" / "edited" / picture.name).write_bytes(picture.read_bytes())
    assert build_pairs(settings).rows["manifest.jsonl"] + len(records(tmp_path / "set")) >= 1
    assert not build_pairs(settings).outcomes["waiting"]


def test_footage_that_cannot_be_read_is_named_and_the_rest_is_used(tmp_path: Path) -> None:
    footage = pair_making.footage(tmp_path / "footage")
    data = (footage / "video_1.mp4").read_bytes()
    (footage / "video_1.mp4").write_bytes(data[: len(data) * 2 // 3])
    tally = build_pairs(settings_for(tmp_path))  # an mp4 that lacks its index is no video at all
    assert "expected a video" in tally.plan.unusable["video/video_1"]
    assert tally.rows["manifest.jsonl"] > 0
    for name in ("video_0.mp4", "video_2.mp4"):
        (footage / name).write_bytes(b"nothing")
    with pytest.raises(MediaError, match=r"none of 3 videos can; the first: .*video_0.mp4: expected a video"):
        build_pairs(settings_for(tmp_path, output=str(tmp_path / "other")))


def test_a_filter_while_a_set_is_built_judges_the_clips_that_come_after_it(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, sample__train=8, compute__hold="one", compute__batch=3)

    def filter_once(done: int, _total: int | None) -> None:
        if done == 3:
            write_thresholds(tmp_path / "set", Thresholds(min_structure=1.0))

    tally = build_pairs(settings, progress=filter_once)
    assert tally.outcomes["accepted"] == 3
    assert tally.outcomes["rejected"] == len(tally.plan.clips) - 3 > 0


@pytest.mark.parametrize("name", ["no_faces", "min_identity", "min_faces_found"])
def test_a_threshold_on_faces_without_a_model_that_measures_it_is_refused(tmp_path: Path, name: str) -> None:
    value = "drop" if name == "no_faces" else 0.5
    with pytest.raises(ConfigError, match=f"can measure, got {name}: choose another scoring.identity.model"):
        settings_for(tmp_path, thresholds={name: value})
    if name != "min_identity":
        settings_for(tmp_path, thresholds={name: value}, scoring__identity={"model": "dlib"})


def test_what_a_set_left_behind_damaged_is_named_or_done_again(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, caption="fails")
    build_pairs(settings)
    work = tmp_path / "set" / ".work"
    (failed, *_) = sorted((work / "failed").iterdir())
    good = failed.read_text()
    failed.write_text("{")
    with pytest.raises(DataError, match=r"failed/.*expected why a clip was set aside"):
        build_pairs(settings)
    failed.write_text(good)
    for place in (*(work / "scans").iterdir(), *(work / "clips").rglob("*.json")):
        place.write_text("[]")
    for journal in (work / "journal").iterdir():
        journal.write_text('{"stage": "edit", "clip": "a", "seconds": "x", "ended_at": 0, "model_spans": []}\n')
    (tmp_path / "set" / "plan.json").unlink()
    assert build_pairs(settings, retry=True).outcomes["failed"] == 5
    assert read_status(str(tmp_path / "set")).num_failed == 5


def test_a_set_within_its_footage_is_no_footage(tmp_path: Path) -> None:
    footage = pair_making.footage(tmp_path / "footage")
    build_pairs(settings_for(tmp_path, output=str(footage / "set"), sample__train=2))
    tally = build_pairs(settings_for(tmp_path, output=str(footage / "set"), sample__train=4))
    assert {clip.cut.video for clip in tally.plan.clips} <= {"video_0", "video_1", "video_2"}
    assert tally.num_known == 3


def test_settings_of_a_profile_may_be_written_in_groups(tmp_path: Path) -> None:
    nested = settings_for(tmp_path, changes={"editor": {"few_step": {"enabled": True}}, "window.overlap": 1})
    dotted = settings_for(tmp_path, changes={"editor.few_step.enabled": True, "window.overlap": 1})
    assert nested.changes == dotted.changes
    assert nested.digest == dotted.digest


def test_a_plan_edited_into_nonsense_is_refused(tmp_path: Path) -> None:
    build_pairs(settings_for(tmp_path))
    plan = tmp_path / "set" / "plan.json"
    values = json.loads(plan.read_text())
    values["clips"][0]["id"] = "../../outside"
    plan.write_text(json.dumps(values))
    with pytest.raises(DataError, match=r"plan.json: expected the plan of a set .*remove it"):
        build_pairs(settings_for(tmp_path))


def test_a_record_edited_into_nonsense_or_pointing_outside_is_refused(tmp_path: Path) -> None:
    build_pairs(settings_for(tmp_path))
    record = next((tmp_path / "set" / "records").iterdir())
    values = json.loads(record.read_text())
    values["files"]["camera"] = "../../../etc/passwd"
    record.write_text(json.dumps(values))
    with pytest.raises(DataError, match=f"{record.name}: expected the record of a clip .*path within the set"):
        build_pairs(settings_for(tmp_path))
    record.write_text("[]")
    with pytest.raises(DataError, match="expected the record of a clip"):
        read_status(str(tmp_path / "set"))


def test_status_counts_rates_and_reasons_while_a_set_grows(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="build it first"):
        read_status(str(tmp_path / "set"))
    build_pairs(settings_for(tmp_path, thresholds={"min_structure": 1.0}))
    status = read_status(str(tmp_path / "set"))
    assert (status.num_planned, status.num_rejected, status.num_left) == (5, 5, 0)
    assert status.reasons == {"structure": 5}
    assert set(status.stages) == {"sample", "edit", "control", "propagate", "score", "finish"}
    assert status.stages["edit"].num_clips == 5
    assert status.clips_per_hour is not None
    assert status.seconds_left is None
    assert status.share_without_models is not None
    assert 0 < status.share_without_models < 1
    assert json.dumps(status.as_dict())


def test_depth_of_the_source_becomes_the_control(tmp_path: Path) -> None:
    import footage as layouts

    layouts.sail_vos(tmp_path / "gta", ("a",), num_frames=8)
    settings = settings_for(
        tmp_path, control__kind="depth", sources=[{"kind": "sail-vos", "path": str(tmp_path / "gta")}],
        sample__train=1, sample__validation=0, sample__buckets=["64x40"], thresholds={"min_structure": None},
    )  # fmt: skip
    build_pairs(settings)
    (control,) = (tmp_path / "set" / "videos").glob("*/control.mp4")
    shown = frames_of(control)
    assert shown[:, :15].mean() < 10  # the sky
    assert shown[:, 25:].mean() > 240


def test_a_clip_that_another_process_has_claimed_is_left_alone(tmp_path: Path) -> None:
    settings = settings_for(tmp_path)
    code = (
        "import sys; from realmaster.pairs.pair_set import PairSet\n"
        "with PairSet(sys.argv[1]).claim('video_0-000007') as mine: print(mine, flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, settings.output]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "True"
        tally = build_pairs(settings)
        other.communicate("")
    assert tally.outcomes == {"accepted": 4, "taken": 1, "failed": 0}
    assert build_pairs(settings).outcomes["accepted"] == 1
