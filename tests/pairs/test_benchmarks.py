"""The benchmarks of the data engine measure what they say; nothing here measures time."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pair_sets import write_frames
from realmaster.models.faces import Face


class Recorder:
    """An editor and a propagator that write down what they are given."""

    name = "recorder"

    def __init__(self) -> None:
        self.anchors: dict[int, float] = {}
        self.control: float | None = None

    def edit(self, frames: np.ndarray, *, prompt: str, seed: int) -> np.ndarray:
        return frames + 1

    def propagate(self, source, anchors, control, *, prompt: str, seed: int) -> np.ndarray:
        self.anchors = {index: float(frame.mean()) for index, frame in anchors.items()}
        self.control = None if control is None else float(control.mean())
        return source


def test_each_strategy_gives_its_own_anchors_and_control(load_benchmark: Callable[[str], Any]) -> None:
    pairs = load_benchmark("pairs")
    engine = np.full((9, 48, 64, 3), 50, np.uint8)
    clip = pairs.Clip("a", engine, np.full_like(engine, 90), "a wall")
    seen = {}
    for strategy in pairs.STRATEGIES:
        recorder = Recorder()
        pairs.propagation(strategy, recorder, recorder, 0)(clip)
        seen[strategy.name] = (recorder.anchors, recorder.control)
    assert seen["first + last, edges (paper)"] == ({0: 51.0, 8: 51.0}, 255.0), "a bare wall: white, without a line"
    assert seen["first + last, grey"] == ({0: 51.0, 8: 51.0}, 50.0)
    assert seen["first + last, no control"] == ({0: 51.0, 8: 51.0}, None)
    assert set(seen["first, edges"][0]) == {0}
    assert set(seen["every 4th, edges"][0]) == {0, 4, 8}
    assert seen["no anchors, edges"][0] == {}
    assert seen["true first + last, edges"][0] == {0: 90.0, 8: 90.0}


def test_without_pairs_the_benchmarks_say_what_they_want(
    load_benchmark: Callable[[str], Any],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("pairs", "face_threshold"):
        assert load_benchmark(name).main([]) is None
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert all("no exact pairs" in line for line in said)


def test_the_same_person_is_told_from_another_by_scene(
    load_benchmark: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Faces are told by their grey: 10 apart between looks, 60 between scenes."""
    module = load_benchmark("face_threshold")

    class Faces:
        name = "grey"

        def find(self, frame: np.ndarray) -> list[Face]:
            level = float(frame.mean())
            return [] if level > 200 else [Face((0, 0, 9, 9), 0.9, np.array([level / 100], np.float32))]

    monkeypatch.setattr(module, "DlibFaces", Faces)
    rows = []
    for name, level in (("1_a", 40), ("2_a", 100), ("2_b", 100), ("3_a", 220)):
        for look, shift in (("engine", 0), ("camera", 10)):
            write_frames(tmp_path / name / f"{look}.mp4", np.full((1, 32, 32, 3), level + shift, np.uint8))
        row = {"id": name, "reference_video": f"{name}/engine.mp4", "video": f"{name}/camera.mp4", "caption": ""}
        rows.append(json.dumps(row | {"engine_weather": "clear", "camera_weather": "clear"}))
    (tmp_path / "train.jsonl").write_text("\n".join(rows) + "\n")
    result = json.loads(module.main([str(tmp_path), "--output", str(tmp_path / "out")]).read_text())
    assert (result["num_scenes_looked_at"], result["num_scenes_with_faces"]) == (3, 2)
    assert result["same"] == pytest.approx([0.1, 0.1], abs=0.02)
    assert result["num_other"] == 2
    at = result["thresholds"]["0.40"]
    assert (at["scenes_kept"], at["others_let_through"]) == (1.0, 0.0)
