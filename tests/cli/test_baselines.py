"""`realmaster baselines`: what can be run here, and running it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pair_sets import make_set
from realmaster.evaluation.baselines.baseline import Baseline, BaselineSettings, Cost, RenderedClip
from sample_clips import count_frames, frames_of, write_clip

Call = Callable[..., Any]


class Paid(Baseline[BaselineSettings]):
    """Costs a dollar a clip."""

    def translate(self, clip: RenderedClip) -> Any:
        return clip.frames

    def cost(self, clips: Any) -> Cost:
        return Cost(100 * len(clips), len(clips), f"{len(clips)} clips")

    def report(self) -> dict[str, Any]:
        return {"credits": 90}


@pytest.fixture
def renders(tmp_path: Path) -> str:
    (tmp_path / "renders").mkdir()
    for name in ("a", "b"):
        write_clip(tmp_path / "renders" / f"{name}.mp4", num_frames=5)
    return f"{tmp_path}/renders/{{clip}}.mp4"


@pytest.fixture
def paid(monkeypatch: pytest.MonkeyPatch) -> None:
    from realmaster.evaluation.baselines import registry

    monkeypatch.setattr(registry, "make_baseline", lambda *words, **named: Paid(BaselineSettings()))


def test_a_set_of_the_pair_pipeline_can_be_run_on_and_scored(realmaster: Call, tmp_path: Path) -> None:
    folder = make_set(tmp_path / "set")
    said = realmaster("baselines", "run", "untouched", folder, "-o", tmp_path / "out", "--split", "train", "-q")
    assert (said.code, said.err) == (0, "")
    assert (tmp_path / "out" / "alley-0001.mp4").is_file()
    said = realmaster("evaluate", folder, "--no-model", "--split", "train", "-q")
    assert said.code == 0
    assert "| untouched engine clip" in said.out


def test_the_list_says_what_each_lacks(realmaster: Call) -> None:
    said = realmaster("baselines", "list")
    assert said.code == 0
    for name in (
        "realmaster",
        "pipeline",
        "lucy-edit",
        "cosmos-transfer2.5",
        "ditto-sim2real",
        "runway-aleph",
        "sdedit",
    ):
        assert f"\n{name} " in f"\n{said.out}"
    assert "fetch decart-ai/Lucy-Edit-Dev" in said.out
    listed = json.loads(realmaster("baselines", "list", "--json").out)
    assert next(row for row in listed if row["name"] == "untouched")["lacks"] == ""


def test_the_settings_of_one_are_explained(realmaster: Call) -> None:
    said = realmaster("baselines", "list", "lucy-edit").out
    assert "num_inference_steps = 50\n    denoising steps" in said
    rows = json.loads(realmaster("baselines", "list", "ditto-global", "--json").out)
    assert {row["name"]: row["default"] for row in rows}["shift"] == 5.0


def test_a_pattern_and_a_pair_set_are_run_and_resumed(realmaster: Call, renders: str, tmp_path: Path) -> None:
    said = realmaster("baselines", "run", "untouched", renders, "-o", tmp_path / "out", "--codec", "lossless")
    assert said.code == 0
    assert "2 clips made" in said.out
    assert count_frames(tmp_path / "out" / "a.mkv") == 5
    again = realmaster("baselines", "run", "untouched", renders, "-o", tmp_path / "out", "--codec", "lossless")
    assert "0 clips made" in again.out
    assert "2 kept" in again.out
    refused = realmaster("baselines", "run", "untouched", renders, "-o", tmp_path / "out", "--codec", "lossless",
                         "--caption", "rain")  # fmt: skip
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "one made with other prompt: choose another folder or --overwrite" in refused.err


def test_nano_and_its_base_run_from_the_command_line(realmaster: Call, renders: str, tmp_path: Path) -> None:
    for name, words in {
        "realmaster": (),
        "sdedit": ("--set", "strength=0.5", "--set", "num_inference_steps=2"),
    }.items():
        said = realmaster("baselines", "run", name, renders, "-o", tmp_path / name, "--limit", "1", *words, "-q")
        assert said.code == 0, said.err
        assert frames_of(tmp_path / name / "a.mp4").shape == (5, 48, 64, 3)
        assert not (tmp_path / name / "b.mp4").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nothing", "CLIPS"), "expected the name of a baseline, got 'nothing'"),
        (("untouched", "nowhere"), "expected a pair set or a pattern with {clip}"),
        (("untouched", "nowhere/{clip}.mp4"), "expected clips at nowhere/{clip}.mp4, found none"),
        (("untouched", "CLIPS", "--set", "colour=red"), "unknown setting"),
        (("untouched", "CLIPS", "--set", "colour"), "NAME=VALUE"),
        (("lucy-edit", "CLIPS"), "no weights (model_dir): fetch decart-ai/Lucy-Edit-Dev"),
        (("untouched", "."), "expected a pair set with test.jsonl"),
    ],
)
def test_bad_input_is_one_line(
    realmaster: Call, renders: str, tmp_path: Path, words: tuple[str, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    name, *rest = (renders if word == "CLIPS" else word for word in words)
    refused = realmaster("baselines", "run", name, *rest, "-o", tmp_path / "out")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert said in refused.err
    assert not (tmp_path / "out").exists()


def test_a_clip_that_cannot_be_read_leaves_the_others_and_is_named(
    realmaster: Call, renders: str, tmp_path: Path
) -> None:
    (tmp_path / "renders" / "c.mp4").write_bytes(b"no video")
    said = realmaster("baselines", "run", "untouched", renders, "-o", tmp_path / "out")
    assert said.code == 2
    assert "2 clips made" in said.out
    assert "1 of 3 clips could not be made, the first is c" in said.err


def test_a_paid_method_says_its_cost_and_waits_for_a_yes(
    realmaster: Call, renders: str, tmp_path: Path, paid: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("baselines", "run", "paid", renders, "-o", tmp_path / "out")
    monkeypatch.setattr("click.confirm", lambda text, err: False)
    refused = realmaster(*words)
    assert refused.code == 2
    assert "about 200 credits, 2.00 dollars (2 clips)" in refused.err
    assert "nothing was sent" in refused.err
    assert not (tmp_path / "out").exists()
    said = realmaster(*words, "--limit", "1", "--yes")
    assert said.code == 0
    assert "charged: 90 credits" in said.out
    rest = realmaster(*words, "--yes")
    assert "about 100 credits" in rest.err  # what is there is not paid again
