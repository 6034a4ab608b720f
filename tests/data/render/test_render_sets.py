"""A set of pairs on disk: resumed, whole or absent, failures written down. A stand-in renders the clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from realmaster.data.pair_set import read_rows
from realmaster.data.render.farm import render_pairs
from realmaster.data.render.pair_folder import PairFolder
from realmaster.data.render.plan import plan_clips
from realmaster.data.render.processes import Processes, RenderFailure, Stopped
from realmaster.data.render.settings import ClipSettings, RenderSettings
from realmaster.errors import OutputError

SETTINGS = RenderSettings(seeds=(3, 4), scene="street", weathers=("clear", "rain"))


class Renderer:
    """Writes small files for videos; fails or shows nothing where told to."""

    def __init__(self, *, fails: tuple[int, ...] = (), dull: tuple[int, ...] = ()) -> None:
        self.fails, self.dull = fails, dull
        self.rendered: list[tuple[int, str]] = []

    def __call__(self, clip: ClipSettings, folder: Path) -> dict[str, Any]:
        if clip.seed in self.fails:
            (folder / "engine.mp4").write_bytes(b"half")
            raise RenderFailure("Blender ran out of memory")
        for look in clip.looks:
            (folder / f"{look}.mp4").write_bytes(f"{clip.seed} {look}".encode())
        if clip.labels:
            (folder / "labels").mkdir()
            (folder / "labels" / "labels.json").write_text("{}")
        self.rendered.append((clip.seed, clip.camera_weather))
        return {"contrast": dict.fromkeys(clip.looks, 1.0 if clip.seed in self.dull else 40.0)}


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_a_set_has_videos_records_and_manifests_by_split(tmp_path: Path) -> None:
    tally = render_pairs(SETTINGS, tmp_path / "set", render=Renderer())
    assert tally.rows == {"manifest.jsonl": 4, "train.jsonl": 2, "test.jsonl": 2}
    assert names(tmp_path / "set") == {"videos", "records", "manifest.jsonl", "train.jsonl", "test.jsonl"}
    (row, _) = read_rows(tmp_path / "set", "test")
    assert row.name == "00003_street_clear"
    assert row.engine.read_bytes() == b"3 engine"
    assert row.camera.read_bytes() == b"3 camera"
    record = json.loads((tmp_path / "set" / "records" / "00003_street_clear.json").read_text())
    assert record["outcome"] == "accepted"
    assert record["settings"]["seed"] == 3


def test_a_second_run_renders_only_what_is_missing(tmp_path: Path) -> None:
    render_pairs(SETTINGS, tmp_path, render=Renderer())
    (tmp_path / "records" / "00004_street_rain.json").unlink()
    again = Renderer()
    tally = render_pairs(SETTINGS, tmp_path, render=again)
    assert again.rendered == [(4, "rain")]
    assert (tally.num_skipped, tally.num_accepted) == (3, 1)
    assert len(read_rows(tmp_path, "all")) == 4


def test_a_failure_is_written_down_and_tried_again_while_the_rest_goes_on(tmp_path: Path) -> None:
    tally = render_pairs(SETTINGS, tmp_path, render=Renderer(fails=(3,)))
    assert (tally.num_accepted, tally.num_failed) == (2, 2)
    assert "out of memory" in tally.reasons["00003_street_clear"]
    record = json.loads((tmp_path / "records" / "00003_street_clear.json").read_text())
    assert (record["outcome"], record["reason"]) == ("failed", "Blender ran out of memory")
    assert not (tmp_path / "videos" / "00003_street_clear").exists()
    assert not (tmp_path / "test.jsonl").exists()
    tally = render_pairs(SETTINGS, tmp_path, render=Renderer())
    assert (tally.num_skipped, tally.num_accepted) == (2, 2)
    assert len(read_rows(tmp_path, "test")) == 2


def test_a_clip_with_nothing_to_see_is_rejected_for_good(tmp_path: Path) -> None:
    tally = render_pairs(SETTINGS, tmp_path, render=Renderer(dull=(4,)))
    assert (tally.num_accepted, tally.num_rejected) == (2, 2)
    assert names(tmp_path / "videos") == {"00003_street_clear", "00003_street_rain"}
    again = Renderer()
    render_pairs(SETTINGS, tmp_path, render=again)
    assert again.rendered == []


def test_the_same_folder_refuses_a_clip_with_other_settings(tmp_path: Path) -> None:
    render_pairs(SETTINGS, tmp_path, render=Renderer())
    with pytest.raises(OutputError, match=r"00003_street_clear.*samples.*another folder"):
        render_pairs(SETTINGS.model_copy(update={"samples": 9}), tmp_path, render=Renderer())


def test_what_a_killed_run_left_behind_is_cleared_and_rendered_again(tmp_path: Path) -> None:
    folder = PairFolder(tmp_path)
    killed = folder.mine.with_name(folder.mine.name.rpartition("-")[0] + "-99999999")
    (killed / "00003_street_clear").mkdir(parents=True)
    (killed / "00003_street_clear" / "engine.mp4").write_bytes(b"half")
    (tmp_path / "videos" / "00003_street_clear").mkdir()
    (tmp_path / "videos" / "00003_street_clear" / "engine.mp4").write_bytes(b"whole, but its record was not written")
    folder.close()
    render_pairs(SETTINGS, tmp_path, render=Renderer())
    assert not (tmp_path / ".partial").exists()
    assert (tmp_path / "videos" / "00003_street_clear" / "engine.mp4").read_bytes() == b"3 engine"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit])
def test_a_run_that_is_stopped_keeps_what_is_finished_and_leaves_nothing_half_made(
    tmp_path: Path, stop: type[BaseException]
) -> None:
    def progress(done: int, total: int | None) -> None:
        if done == 2:
            raise stop

    with pytest.raises(stop):
        render_pairs(SETTINGS, tmp_path, render=Renderer(), progress=progress)
    assert not (tmp_path / ".partial").exists()
    finished = {path.stem for path in (tmp_path / "records").iterdir()}
    assert finished == names(tmp_path / "videos")
    tally = render_pairs(SETTINGS, tmp_path, render=Renderer())
    assert tally.num_skipped == len(finished) >= 2
    assert tally.rows["manifest.jsonl"] == 4


def test_several_workers_make_the_same_set(tmp_path: Path) -> None:
    settings = SETTINGS.model_copy(update={"seeds": tuple(range(30)), "labels": ("depth",)})
    for workers in (1, 5):
        render_pairs(settings, tmp_path / str(workers), workers=workers, render=Renderer())
    assert (tmp_path / "1" / "manifest.jsonl").read_text() == (tmp_path / "5" / "manifest.jsonl").read_text()
    assert names(tmp_path / "1" / "labels") == names(tmp_path / "5" / "labels")


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="expected a folder for the pairs"):
        render_pairs(SETTINGS, tmp_path / "file", render=Renderer())


def test_a_process_that_dies_is_a_failure_with_its_last_words(tmp_path: Path) -> None:
    broken = plan_clips(SETTINGS)[0].model_copy(update={"seed": -1})
    with Processes() as processes, pytest.raises(RenderFailure, match=r"ConfigError.*seed.*exit code 1"):
        processes.render(broken, tmp_path)


def test_processes_that_were_stopped_begin_nothing_more(tmp_path: Path) -> None:
    processes = Processes()
    processes.stop()
    with pytest.raises(Stopped):
        processes.render(plan_clips(SETTINGS)[0], tmp_path)
