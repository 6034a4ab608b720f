"""What people give `realmaster evaluate` by mistake: one clear line each, and what can be measured still is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.cli.main import main
from realmaster.evaluation.comparison_settings import ComparisonSettings
from realmaster.evaluation.run import evaluate
from realmaster.evaluation.tools import Tools

Frames = npt.NDArray[np.uint8]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture
def folder(tmp_path: Path, save: Callable[..., Path], make_scene: Callable[..., Frames]) -> Path:
    """Two renders, and a method's clips for both."""
    for index in range(2):
        render = make_scene(num_frames=4, height=64, width=96, speed=1.0 + index)
        save(f"renders/c{index}.mkv", render)
        save(f"mine/c{index}.mkv", np.rint(render * 0.9).astype(np.uint8))
    return tmp_path


@pytest.fixture
def config(folder: Path) -> Path:
    file = folder / "compare.yaml"
    file.write_text(
        f"output: {folder}/out\nclips: {{render: '{folder}/renders/{{clip}}.mkv'}}\nplayers: 0\n"
        f"methods: {{mine: '{folder}/mine/{{clip}}.mkv'}}\nmetrics: [edge_f1, temporal_flickering]\n"
    )
    return file


@pytest.fixture
def say(config: Path, capsys: pytest.CaptureFixture[str]) -> Say:
    """Run `evaluate` on the configuration with more words: code, stdout, stderr."""

    def call(*words: str) -> tuple[int, str, str]:
        code = main(["evaluate", str(config), "--quiet", *words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            ("--set", "clips.render=nowhere/{clip}.mp4"),
            "expected clips at nowhere/{clip}.mp4, found none: correct clips",
        ),
        (("--set", "clips.names=[c0, c9]"), "expected a clip named 'c9', found none: correct clips.names"),
        (("--set", "methods.other=nowhere/{clip}.mp4"), "method 'other': expected clips at nowhere/{clip}.mp4"),
        (("--set", "metrics=[edge_f2]"), "did you mean edge_f1?"),
        (("--set", "grid.area=5"), "grid.area: unknown setting: did you mean max_area?"),
        (("--set", "players.of=5"), "players.of: expected a setting of a comparison, found no such group"),
        (("--set", "workers"), "NAME=VALUE"),
        (("--set", "methods.other={baseline: nothing}"), "expected the name of a baseline, got 'nothing'"),
        (("--ray-address", "auto"), "expected --executor ray with --ray-address"),
        (("--executor", "dask"), "dask"),
    ],
)
def test_a_slip_is_refused_in_one_line_before_any_work(
    say: Say, folder: Path, words: tuple[str, ...], said: str
) -> None:
    code, _, error = say(*words)
    assert code == 2
    assert said in error
    assert error.strip().count("\n") == 0
    assert not (folder / "out" / "results.jsonl").exists()


def test_a_misspelt_metric_is_refused_before_clips_are_made(say: Say, folder: Path) -> None:
    code, _, error = say("--set", "metrics=[bogus]", "--set", "methods.same={baseline: untouched}")
    assert code == 2
    assert "bogus" in error
    assert not (folder / "out" / "clips").exists()


def test_figures_that_were_measured_kept_or_absent_are_told_apart(say: Say, folder: Path) -> None:
    (folder / "mine" / "c0.mkv").write_bytes(b"no video at all")
    assert "measured now: 2 of 4 figures; 2 absent (under the table stands why)\n" in say()[1]
    assert "measured now: 0 of 4 figures; 2 kept from before; 2 absent (under the table stands why)\n" in say()[1]


def test_a_setting_is_changed_from_the_command_line(say: Say, folder: Path) -> None:
    code, printed, _ = say("--set", "title=Another", "--set", "clips.limit=1", "--set", "metrics=[edge_f1]")
    assert code == 0
    assert printed.startswith("# Another")
    assert "| 1 clips" in printed
    assert len((folder / "out" / "results.jsonl").read_text().splitlines()) == 1


def test_another_pair_set_takes_the_place_of_the_folder_named_pairs(
    pair_folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "pairs.yaml"
    file.write_text(
        f"output: {tmp_path}/out\nclips: {{pairs: pairs, limit: 1}}\nplayers: 0\nmetrics: [psnr]\n"
        "methods: {colour: {baseline: colour, settings: {pairs: pairs}}, film: 'pairs/{clip}/camera.mkv'}\n"
    )
    assert main(["evaluate", str(file), "--quiet", "--pairs", f"{pair_folder}/"]) == 0
    assert "colour: 1 clips made" in capsys.readouterr().out
    rows = [json.loads(line) for line in (tmp_path / "out" / "results.jsonl").read_text().splitlines()]
    assert {row["method"] for row in rows} == {"colour", "film"}


def test_a_report_folder_that_is_a_file_is_one_line(say: Say, folder: Path) -> None:
    (folder / "out").write_text("in the way")
    code, _, error = say()
    assert code == 2
    assert "expected a folder for the report that can be written" in error
    assert error.strip().count("\n") == 0


def test_a_clip_that_is_damaged_or_gone_costs_its_own_figures(
    say: Say, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "mine" / "c0.mkv").write_bytes(b"no video at all")
    code, printed, _ = say()
    assert code == 0
    assert "n = 1" in printed
    assert "mine, 1 of 2 clips:" in printed
    assert "mine, c0: " in caplog.text
    (folder / "mine" / "c0.mkv").unlink()
    assert "expected a file to read, could not (No such file or directory): check the path" in say()[1]


def test_a_render_that_is_damaged_costs_its_clip(say: Say, folder: Path) -> None:
    (folder / "renders" / "c1.mkv").write_bytes(b"no video at all")
    code, printed, _ = say()
    assert code == 0
    assert "mine, 1 of 2 clips:" in printed


def test_no_faces_anywhere_is_said_and_the_others_are_measured(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = SimpleNamespace(find=lambda frame: [], measure="distance", name="nobody")
    monkeypatch.setattr(Tools, "lacking", lambda self, tool: None)
    monkeypatch.setattr(Tools, "dlib", lambda self: nobody)
    monkeypatch.setattr(Tools, "identity", lambda self, tool: "nobody")
    values = {
        "output": str(folder / "out"), "clips": {"render": f"{folder}/renders/{{clip}}.mkv"},
        "methods": {"mine": f"{folder}/mine/{{clip}}.mkv"}, "metrics": ["edge_f1", "identity_dlib"],
    }  # fmt: skip
    rows = evaluate(ComparisonSettings.from_mapping(values, source="test.yaml")).rows
    assert {row.reason for row in rows if row.metric == "identity_dlib"} == {"no faces in the render"}
    assert all(row.value is not None for row in rows if row.metric == "edge_f1")


def test_rows_that_were_damaged_on_the_disk_are_measured_again(say: Say, folder: Path) -> None:
    say()
    file = next((folder / "out" / "rows").rglob("c0*.json"))
    for broken in ("", "{", "[]", '{"inputs": 1}', json.dumps({"inputs": "x", "rows": [{"value": 1}]})):
        file.write_text(broken)
        code, printed, _ = say()
        assert code == 0
        assert "measured now: 2 of 4 figures; 2 kept from before\n" in printed


def test_ray_is_asked_for_by_its_extra(say: Say, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "ray", None)
    code, _, error = say("--executor", "ray")
    assert code == 2
    assert "pip install 'realmaster[ray]'" in error


def test_the_executor_measures_what_this_machine_would(say: Say, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realmaster.cluster import scenes
    from realmaster.cluster.connect import RaySettings

    addresses = []

    class Pool:
        def __init__(self, actors: list[Any]) -> None:
            self.actors = actors

        def map(self, call: Any, values: Any) -> Iterator[Any]:
            return (call(self.actors[0], value) for value in values)

    class Actor:
        def __init__(self, kind: Any, *arguments: Any) -> None:
            worker = kind(*arguments)
            self.measure = SimpleNamespace(remote=worker.measure)

    @contextmanager
    def pretended(settings: RaySettings) -> Iterator[Any]:
        addresses.append(settings.address)
        error = type("NoError", (Exception,), {})
        yield SimpleNamespace(
            remote=lambda **needs: lambda kind: SimpleNamespace(remote=lambda *words: Actor(kind, *words)),
            util=SimpleNamespace(ActorPool=Pool),
            exceptions=SimpleNamespace(RayActorError=error, RayTaskError=error),
        )

    monkeypatch.setattr(scenes, "connected", pretended)
    code, printed, _ = say("--executor", "ray", "--ray-address", "ray://head:10001", "--workers", "2")
    assert code == 0
    assert "measured now: 4 of 4 figures\n" in printed
    assert addresses == ["ray://head:10001"]
    assert "measured now: 0 of 4" in say()[1]


@pytest.mark.parametrize("name", ["nano", "ablations"])
def test_the_recipes_in_miniature_are_valid_and_name_real_baselines(checkout: Path, name: str) -> None:
    from realmaster.evaluation.baselines.registry import make_baseline

    settings = ComparisonSettings.from_yaml(checkout / "configs" / "eval" / f"{name}.yaml")
    settings.chosen_metrics()
    assert settings.made
    for method in settings.made.values():
        make_baseline(method.baseline, method.settings)


def test_every_training_of_the_ablations_is_a_run_of_its_own(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from realmaster.training.settings import TrainSettings

    monkeypatch.chdir(checkout)
    settings = ComparisonSettings.from_yaml(checkout / "configs" / "eval" / "ablations.yaml")
    runs = [
        TrainSettings.read(method.train.config, method.train.settings)
        for method in settings.made.values()
        if method.train is not None
    ]
    assert len({run.output for run in runs}) == len(runs) == 4
    assert {run.reference.mode for run in runs} == {"cached", "joint"}
    assert len({json.dumps(run.model_dump(mode="json", exclude={"output"}), sort_keys=True) for run in runs}) == 4
    steps = {run.experts["transformer"].num_steps for run in runs}
    assert len(steps) == 1  # an equal budget
    for run in runs:
        stride = 8 * run.data.encode.reference_scale  # nano's autoencoder, and a reference at half the size
        assert all(bucket.width % stride == bucket.height % stride == 0 for bucket in run.data.encode.buckets)
