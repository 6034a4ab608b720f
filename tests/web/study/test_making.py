"""From a YAML file and folders of clips to a study's folder: what is made of them, and what is refused in one line."""

from __future__ import annotations

import re
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from realmaster.errors import ConfigError, OutputError, StudyError
from realmaster.media.probe import probe
from realmaster.web.study.clips import find_clips, match_clips
from realmaster.web.study.holding import being_served
from realmaster.web.study.make import make_study
from realmaster.web.study.settings import StudySettings
from realmaster.web.study.store import StudyStore
from sample_clips import count_frames, frames_of, scene, write_clip, write_images
from study_people import CLIPS, METHODS, settings


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": {"Alpha": "a"}}, "methods: dictionary should have at least 2 items"),
        ({"against": "Delta"}, "against: expected one of the methods alpha, beta, gamma, got 'delta'"),
        ({"max_failed_checks": 2}, "max_failed_checks: expected less than checks_per_person (2)"),
        ({"title": "Is beta better?"}, "expected texts without the names of methods, found 'beta'"),
        ({"questions": [{"name": "a", "text": "x"}, {"name": "a", "text": "y"}]}, "a different name for each question"),
        ({"clips": ["room", "room"]}, "expected each clip once"),
        ({"trials": 3}, "trials"),
        ({"participants": 0}, "participants"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as raised:
        settings(**changes)
    assert said in str(raised.value).lower().replace("\n", " ")


def test_the_rule_of_exclusion_is_one_sentence() -> None:
    assert settings().rule == (
        "Left out: whoever failed more than 1 of 2 attention checks or answered less than 50% of their comparisons."
    )
    assert settings(checks_per_person=0).rule == "Left out: whoever answered less than 50% of their comparisons."


def test_one_method_is_compared_with_each_other_or_all_among_themselves() -> None:
    assert settings(against="Beta").pairs == (("Beta", "Alpha"), ("Beta", "Gamma"))
    assert settings().pairs == (("Alpha", "Beta"), ("Alpha", "Gamma"), ("Beta", "Gamma"))


def test_clips_are_found_in_folders_and_by_patterns(sources: Path, tmp_path: Path) -> None:
    assert list(find_clips(sources, "originals")) == sorted(CLIPS)
    for clip in CLIPS:
        (tmp_path / "pairs" / clip).mkdir(parents=True)
        (tmp_path / "pairs" / clip / "engine.mp4").touch()
        (tmp_path / f"{clip}_out.mp4").touch()
    (tmp_path / "pairs" / "unfinished").mkdir()
    assert list(find_clips(tmp_path, "pairs/{clip}/engine.mp4")) == sorted(CLIPS)
    assert find_clips(tmp_path, "{clip}_out.mp4")["room"] == tmp_path / "room_out.mp4"
    assert list(find_clips(tmp_path, str(tmp_path / "{clip}_out.mp4"))) == sorted(CLIPS)


def _nothing(root: Path) -> dict[str, Any]:
    (root / "empty").mkdir()
    return {"originals": "empty"}


def _lacking(root: Path) -> dict[str, Any]:
    (root / "Beta" / "street.mp4").unlink()
    return {}


def _twice(root: Path) -> dict[str, Any]:
    (root / "Beta" / "street.mkv").touch()
    return {}


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda root: {"originals": "absent"}, "expected a folder of clips at"),
        (_nothing, "expected clips, found none"),
        (_lacking, "method Beta: expected an output for each of 3 clips in Beta, 1 lack one (street)"),
        (_twice, "found two called 'street'"),
        (lambda root: {"clips": ["attic"]}, "'attic' is not there: it holds courtyard, room, street"),
        (lambda root: {"originals": "{clip}/{clip}"}, "expected {clip} once"),
    ],
)
def test_clips_that_do_not_match_are_refused_with_names(
    sources: Path, tmp_path: Path, spoil: Callable[[Path], dict[str, Any]], said: str
) -> None:
    root = Path(shutil.copytree(sources, tmp_path / "sources"))
    changes = spoil(root)
    with pytest.raises(StudyError) as raised:
        match_clips(settings(**changes), root)
    assert said in str(raised.value)


def test_a_clip_that_a_method_lacks_can_be_left_out(sources: Path, tmp_path: Path) -> None:
    root = Path(shutil.copytree(sources, tmp_path / "sources"))
    (root / "Beta" / "street.mp4").unlink()
    assert [clip.name for clip in match_clips(settings(clips=["room", "courtyard"]), root)] == ["room", "courtyard"]


def test_a_study_is_a_closed_folder_of_videos_with_names_that_say_nothing(made: Path) -> None:
    with StudyStore.open(made) as store:
        videos = store.rows("SELECT * FROM videos")
    assert len(videos) == 3 * (1 + 3 + 1)  # original, methods, the damaged copy of one
    assert {path.name for path in (made / "videos").iterdir()} == {row["file"] for row in videos}
    assert stat.S_IMODE(made.stat().st_mode) == 0o700
    for path in (made / "videos").iterdir():
        content = path.read_bytes().lower()
        assert not [
            name for name in (*METHODS, *CLIPS) if name.lower().encode() in content + path.name.lower().encode()
        ]


def test_damage_cannot_be_overlooked_and_the_rest_is_visually_lossless(made: Path, sources: Path) -> None:
    with StudyStore.open(made) as store:
        videos = store.rows("SELECT * FROM videos WHERE clip = 0")
    truth = frames_of(sources / "originals" / "courtyard.mp4").astype(float)
    for row in videos:
        frames = frames_of(made / "videos" / row["file"]).astype(float)
        difference = np.abs(frames - truth).mean()
        assert difference > 15 if row["damaged"] else difference < 2


def test_versions_are_brought_to_the_originals_size_rate_and_length(tmp_path: Path) -> None:
    for place in ("originals", *METHODS):
        (tmp_path / place).mkdir()
    write_clip(tmp_path / "originals" / "room.mp4", num_frames=20, width=65, height=49)
    write_clip(tmp_path / "Alpha" / "room.mp4", num_frames=36, width=128, height=96, rate=32)  # 18 frames at 16
    write_clip(tmp_path / "Beta" / "room.mp4", num_frames=25, width=64, height=48)
    write_images(tmp_path / "Gamma" / "room", scene(19, 32, 24))
    folder = tmp_path / "study"
    made = make_study(settings(), folder, root=tmp_path)
    assert (made.num_clips, made.num_pairs, made.num_trials_each) == (1, 3, 3)
    for path in (folder / "videos").iterdir():
        found = probe(path)
        assert (found.decoded.width, found.decoded.height, found.rate) == (64, 48, 16)
        assert found.decoded.format.name == "yuv420p"  # which every browser shows
        assert count_frames(path) == 18


def test_large_videos_are_shown_smaller(sources: Path, tmp_path: Path) -> None:
    make_study(settings(max_height=24, clips=["room"]), tmp_path / "study", root=sources)
    sizes = {frames_of(path).shape[1:3] for path in (tmp_path / "study" / "videos").iterdir()}
    assert sizes == {(24, 32)}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"num_frames": 5}, "clip room: expected outputs about as long as the original (9 frames), Beta has 5"),
        ({"width": 48}, "clip room: expected outputs of the original's shape (64x48), Beta has 48x48"),
    ],
)
def test_outputs_of_another_length_or_shape_are_refused_and_nothing_is_left(
    sources: Path, tmp_path: Path, change: dict[str, int], said: str
) -> None:
    root = Path(shutil.copytree(sources, tmp_path / "sources"))
    write_clip(root / "Beta" / "room.mp4", **change)
    with pytest.raises(StudyError) as raised:
        make_study(settings(), tmp_path / "study", root=root)
    assert said in str(raised.value)
    assert {path.name for path in tmp_path.iterdir()} == {"sources"}


def test_a_study_with_answers_is_never_replaced(sources: Path, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="add --overwrite"):
        make_study(settings(), folder, root=sources)
    make_study(settings(clips=["room"]), folder, root=sources, overwrite=True)
    with StudyStore.open(folder) as store:
        store.consent(1)
        trial = store.standing(1).screens[0].id
        store.answer(
            1, trial, "k" * 8, dict.fromkeys(("realism", "faithfulness", "quality"), "left"), seconds=1, plays=1
        )
    with pytest.raises(StudyError, match="without answers to replace, found 1"):
        make_study(settings(), folder, root=sources, overwrite=True)
    other = tmp_path / "photos"
    other.mkdir()
    with pytest.raises(StudyError, match="expected a study to replace, found something else"):
        make_study(settings(), other, root=sources, overwrite=True)


def test_a_study_is_not_served_while_it_is_replaced(
    sources: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("realmaster.web.study.holding._WAIT_SECONDS", 0.05)
    refused = []

    def serve(done: int, total: int | None) -> None:
        with pytest.raises(StudyError, match="is being replaced: wait") as raised, being_served(folder):
            pass
        refused.append(raised)

    make_study(settings(clips=["room"]), folder, root=sources, overwrite=True, progress=serve)
    assert refused
    with being_served(folder), being_served(folder), StudyStore.open(folder) as store:
        assert store.clips == ("room",)


def test_the_settings_of_the_docs_hold_and_every_setting_is_explained(checkout: Path) -> None:
    page = (checkout / "docs" / "study.md").read_text("utf-8")
    (example,) = re.findall(r"^```yaml\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    found = StudySettings.from_mapping(yaml.safe_load(example), source="docs/study.md")
    assert found.pairs == (("RealMaster", "ColourTransfer"), ("RealMaster", "Untouched"))
    assert [name for name in StudySettings.model_fields if f"`{name}`" not in page] == []


def test_a_yaml_file_says_it_all(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text("originals: a\nmethods: {Alpha: b, Beta: c}\nagainst: Alpha\n")
    assert StudySettings.from_yaml(path).participants == 45
    assert [question.name for question in StudySettings.from_yaml(path).questions] == [
        "realism",
        "faithfulness",
        "quality",
    ]
