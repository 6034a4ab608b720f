"""Comparisons that make their own clips: baselines run first, kept, and absent with a reason where they cannot run."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import ConfigError
from realmaster.evaluation.baselines.baseline import Baseline, BaselineSettings, Cost, RenderedClip
from realmaster.evaluation.baselines.pipeline import Pipeline
from realmaster.evaluation.baselines.registry import make_baseline
from realmaster.evaluation.baselines.run import run_baseline
from realmaster.evaluation.comparison_settings import ClipSettings, ComparisonSettings, list_scenes
from realmaster.evaluation.made import make_clips
from realmaster.evaluation.run import evaluate
from realmaster.pipelines.control import make_control
from realmaster.pipelines.propagate_vace import VacePropagator
from realmaster.pipelines.sizes import resize
from sample_clips import frames_of, scene
from vace_layout import write_vace

Frames = npt.NDArray[np.uint8]
TINY = {
    "size.height": 64, "size.width": 96, "size.buckets": [], "window.num_frames": 9, "window.overlap": 5,
    "propagation.num_frames": 9, "propagation.sampling.num_inference_steps": 2, "propagation.memory.dtype": "float32",
}  # fmt: skip


def settings_of(pairs: Path, output: Path, methods: dict[str, Any], **changes: Any) -> ComparisonSettings:
    values = {
        "output": str(output), "clips": {"pairs": str(pairs)}, "methods": methods, "metrics": ["psnr", "edge_f1"],
        "tools": {"dlib": False}, "players": 1,
    }  # fmt: skip
    return ComparisonSettings.from_mapping(values | changes, source="test.yaml")


METHODS = {
    "colour": {"baseline": "colour", "settings": {"degree": 1}},
    "untouched": {"baseline": "untouched"},
    "truth": "{truth}",
}


def with_pairs(pairs: Path, **more: Any) -> dict[str, Any]:
    methods = json.loads(json.dumps(METHODS))
    methods["colour"]["settings"]["pairs"] = str(pairs)
    return methods | more


def test_clips_are_made_measured_and_kept(pair_folder: Path, tmp_path: Path) -> None:
    settings = settings_of(pair_folder, tmp_path / "out", with_pairs(pair_folder))
    made, absent = make_clips(settings)
    assert {name: len(done.made) for name, done in made.items()} == {"colour": 4, "untouched": 4}
    assert not any(absent.values())
    rows = {(r.method, r.clip, r.metric): r.value for r in evaluate(settings, absent=absent).rows}
    clip = "test_1.0_rain"
    assert rows["colour", clip, "psnr"] > 40 > rows["untouched", clip, "psnr"]
    assert rows["untouched", clip, "edge_f1"] == 1.0
    assert np.array_equal(
        frames_of(tmp_path / "out" / "clips" / "untouched" / f"{clip}.mkv"),
        frames_of(pair_folder / clip / "engine.mkv"),
    )
    again, _ = make_clips(settings)
    assert {name: len(done.kept) for name, done in again.items()} == {"colour": 4, "untouched": 4}
    assert evaluate(settings).num_measured == 0


def test_a_method_with_other_settings_is_made_and_measured_again(pair_folder: Path, tmp_path: Path) -> None:
    methods = with_pairs(pair_folder)
    make_clips(settings_of(pair_folder, tmp_path / "out", methods))
    evaluate(settings_of(pair_folder, tmp_path / "out", methods))
    methods["colour"]["settings"]["degree"] = 2
    settings = settings_of(pair_folder, tmp_path / "out", methods)
    made, _ = make_clips(settings)
    assert (len(made["colour"].made), len(made["untouched"].kept)) == (4, 4)
    assert evaluate(settings).num_measured == 4 * 2


def test_a_method_that_lacks_weights_is_absent_and_the_table_says_why(pair_folder: Path, tmp_path: Path) -> None:
    settings = settings_of(pair_folder, tmp_path / "out", with_pairs(pair_folder, lucy={"baseline": "lucy-edit"}))
    made, absent = make_clips(settings)
    assert "lucy" not in made
    reasons = {row.reason for row in evaluate(settings, absent=absent).rows if row.method == "lucy"}
    assert len(reasons) == 1
    assert "fetch decart-ai/Lucy-Edit-Dev" in reasons.pop()
    alone = settings_of(pair_folder, tmp_path / "alone", {"lucy": {"baseline": "lucy-edit"}})
    with pytest.raises(ConfigError, match=r"expected a method that can run here, found none.*Lucy-Edit-Dev"):
        make_clips(alone)


class Paid(Baseline[BaselineSettings]):
    def translate(self, clip: RenderedClip) -> Frames:
        return clip.frames

    def cost(self, clips: Any) -> Cost:
        return Cost(1, 1, "")


def test_nothing_is_bought_by_a_comparison(pair_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("realmaster.evaluation.made.make_baseline", lambda *words, **named: Paid(BaselineSettings()))
    settings = settings_of(pair_folder, tmp_path / "out", {"aleph": {"baseline": "runway-aleph"}})
    with pytest.raises(ConfigError, match="make its clips with `realmaster baselines run runway-aleph`"):
        make_clips(settings)


@pytest.mark.parametrize(
    ("methods", "said"),
    [
        ({"a": {"baseline": "nothing"}}, "expected the name of a baseline"),
        (
            {"a": {"baseline": "sdedit", "settings": {"strenght": 1}}},
            r"methods\.a\.settings: strenght: unknown setting",
        ),
        ({"A": {"baseline": "untouched"}, "a": {"baseline": "untouched"}}, "upper and lower case"),
        ({"a": {"baselines": "untouched"}}, "methods.a"),
    ],
)
def test_a_method_that_is_told_wrong_things_is_refused_in_one_line(
    pair_folder: Path, tmp_path: Path, methods: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        make_clips(settings_of(pair_folder, tmp_path / "out", methods))
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "out").exists()


class Editor:
    """Inverts what it is given, and remembers how many frames that were."""

    name = "inverting"

    def __init__(self) -> None:
        self.asked: list[tuple[int, str, int]] = []

    def describe(self) -> dict[str, Any]:
        return {}

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        self.asked.append((len(frames), prompt, seed))
        return 255 - frames


class Propagator:
    """Shows the first anchor throughout, or the control; remembers both."""

    name = "still"

    def describe(self) -> dict[str, Any]:
        return {}

    def control_size(self, height: int, width: int) -> tuple[int, int]:
        return height // 2, width // 2

    def propagate(
        self, source: Frames, anchors: Mapping[int, Frames], control: Frames | None, *, prompt: str, seed: int
    ) -> Frames:
        self.anchors, self.control = dict(anchors), control
        return np.stack([next(iter(anchors.values()), source[0])] * len(source))


def pipeline_of(**settings: Any) -> tuple[Pipeline, Editor, Propagator]:
    baseline = make_baseline("pipeline", settings)
    assert isinstance(baseline, Pipeline)
    parts = Editor(), Propagator()
    baseline.__dict__ |= {"_editor": parts[0], "_propagator": parts[1]}
    return baseline, *parts


@pytest.mark.parametrize(
    ("settings", "anchors", "has_control"),
    [
        ({}, [0, 8], True),
        ({"anchors": "first"}, [0], True),
        ({"anchors": "every", "every": 3}, [0, 3, 6, 8], True),
        ({"anchors": "none"}, [], True),
        ({"control": "none"}, [0, 8], False),
    ],
)
def test_the_pipeline_edits_its_anchors_together_and_draws_what_it_is_told(
    settings: dict[str, Any], anchors: list[int], has_control: bool
) -> None:
    frames = scene(9, 64, 48)
    baseline, editor, propagator = pipeline_of(**settings)
    made = baseline.translate(RenderedClip("c", frames, Fraction(16), "a street", 5))
    assert editor.asked == ([(len(anchors), "a street", 5)] if anchors else [])
    assert list(propagator.anchors) == anchors
    for index, anchor in propagator.anchors.items():
        assert np.array_equal(anchor, 255 - frames[index])
    if has_control:
        assert propagator.control is not None
        assert propagator.control.shape == (9, 24, 32, 3)  # of the propagator's own size
        assert propagator.control[0, 0, 0, 0] == 255  # dark lines on white
    else:
        assert propagator.control is None
    assert made.shape == frames.shape


def test_the_pipeline_takes_edits_from_a_folder_and_asks_for_all_that_are_missing(
    tmp_path: Path, save: Callable[..., Path]
) -> None:
    write_vace(tmp_path / "models" / "wan2.1-1.3b" / "vace")
    values = {"profile": "wan2.1-1.3b", "model_dir": tmp_path / "models", "edits": tmp_path / "edits", "changes": TINY}
    for index in range(2):
        save(f"renders/c{index}.mkv", scene(5 + index, 96, 64))
    scenes = list_scenes(ClipSettings(render=f"{tmp_path}/renders/{{clip}}.mkv"))
    baseline = make_baseline("pipeline", values, device="cpu")
    assert baseline.lacking() is None
    asked = run_baseline("pipeline", baseline, scenes, tmp_path / "out", caption="rain", codec="lossless")
    assert set(asked.failed) == {"c0", "c1"}
    assert "more edits in" in asked.failed["c0"]
    written = list((tmp_path / "edits" / "to_edit").glob("*.png"))
    assert len(written) == 3  # both ends of both; the first frames are one picture
    for file in written:
        cv2.imwrite(str(tmp_path / "edits" / "edited" / file.name), 255 - cv2.imread(str(file)))
    made = run_baseline("pipeline", baseline, scenes, tmp_path / "out", caption="rain", codec="lossless")
    assert made.made == ("c0", "c1")

    frames = scene(5, 96, 64)
    propagator = VacePropagator.from_profile("wan2.1-1.3b", device="cpu", model_dir=tmp_path / "models", changes=TINY)
    size = propagator.control_size(64, 96)
    control = make_control(resize(frames, size), "canny")
    anchors = {0: 255 - frames[0], 4: 255 - frames[4]}
    expected = propagator.propagate(frames, anchors, control, prompt="rain", seed=0)
    assert np.array_equal(frames_of(tmp_path / "out" / "c0.mkv"), expected)


def test_a_pipeline_that_would_see_nothing_of_the_render_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected anchors or a control, got neither"):
        make_baseline("pipeline", {"anchors": "none", "control": "none"})
    with pytest.raises(ConfigError, match="expected every with anchors: every, and only then"):
        make_baseline("pipeline", {"anchors": "every"})


def test_an_adapter_is_trained_once_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path) -> None:
    from types import SimpleNamespace

    from realmaster.cli.trained import train_missing
    from realmaster.training import run
    from realmaster.training.checkpoints import Checkpoint, Checkpoints

    trained: list[Any] = []
    there: dict[Path, Checkpoint] = {}

    def train(settings: Any, **named: Any) -> Any:
        trained.append(settings)
        folder = settings.output / "checkpoints"
        there[folder] = Checkpoint(folder / "step-00000003", 3)
        return SimpleNamespace(newest=there[folder])

    monkeypatch.setattr(run, "train", train)
    monkeypatch.setattr(Checkpoints, "newest", lambda self: there.get(self.folder))
    method = {
        "baseline": "realmaster",
        "settings": {"num_inference_steps": 2},
        "train": {
            "config": str(checkout / "configs" / "train" / "nano.yaml"),
            "settings": {
                "output": str(tmp_path / "joint"),
                "reference.mode": "joint",
                "experts.transformer.num_steps": 3,
            },
        },
    }
    settings = settings_of(tmp_path, tmp_path / "out", {"joint": method, "plain": {"baseline": "untouched"}})
    for _ in range(2):
        chosen = train_missing(settings, quiet=True).made
        assert chosen["joint"].settings == {
            "num_inference_steps": 2, "adapter": str(tmp_path / "joint" / "checkpoints" / "step-00000003"),
        }  # fmt: skip
        assert chosen["plain"] == settings.made["plain"]
    assert [run.reference.mode for run in trained] == ["joint"]  # once
    there[tmp_path / "joint" / "checkpoints"] = Checkpoint(tmp_path, 2)  # broken off
    train_missing(settings, quiet=True)
    assert len(trained) == 2
