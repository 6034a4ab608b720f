"""The pair pipeline on a Ray cluster of this machine. One cluster for the file: it takes seconds to start."""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import pair_making
from pair_making import contents, records, settings_for
from realmaster.cli.main import main
from realmaster.cluster.connect import RaySettings, connected
from realmaster.cluster.pairs import RayExecutor
from realmaster.errors import ClusterError, ConfigError
from realmaster.pairs.build import Tally, build_pairs
from realmaster.pairs.settings import ComputeSettings, PairSettings
from realmaster.pairs.status import read_status

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore::ResourceWarning"),  # Ray's own processes
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def ray(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder = tmp_path_factory.mktemp("ray")
    environment = {
        "PYTHONPATH": str(Path(pair_making.__file__).parent),
        "PAIR_MAKING_KILL": str(folder / "killed"),
        "PAIR_MAKING_NOTES": str(folder / "notes"),
        "OMP_NUM_THREADS": "1",
    }
    (folder / "killed").touch()  # until a test removes it, nothing is killed
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with connected(RaySettings(num_cpus=2, environment=environment)) as module:
            module.test_folder = folder
            yield module


def on_ray(ray: Any, settings: PairSettings) -> tuple[Tally, RayExecutor]:
    executor = RayExecutor(ray, settings.compute)
    tally = build_pairs(settings, execute=executor, scanner=executor.scan)
    return tally, executor


def test_ray_makes_the_set_that_one_process_makes_and_a_dead_worker_costs_one_try(ray: Any, tmp_path: Path) -> None:
    build_pairs(settings_for(tmp_path))
    (ray.test_folder / "killed").unlink()
    stages = {"propagate": {"workers": 2, "cpus": 0.2}}
    settings = settings_for(tmp_path, output=str(tmp_path / "ray"), compute__stages=stages)
    tally, executor = on_ray(ray, settings)
    assert (ray.test_folder / "killed").exists()
    assert tally.outcomes["accepted"] == 5
    assert contents(tmp_path / "ray") == contents(tmp_path / "set")
    assert executor.num_lost == 1
    said = (ray.test_folder / "notes").read_text().split()
    assert (said.count("edit"), said.count("propagate")) == (5, 6)
    lines = "\n".join(executor.utilisation_lines())
    assert "propagate    2 workers busy" in lines
    assert "1 workers died and were replaced" in lines
    assert read_status(settings.output).stages["propagate"].num_clips == 5


def test_with_nano_too_a_worker_killed_in_the_middle_costs_one_try_and_no_byte(ray: Any, tmp_path: Path) -> None:
    nano: dict[str, Any] = {
        "edit__editor": "profile",
        "propagate__propagator": "pair_making:nano_propagator",
        "sample__train": 2,
        "sample__validation": 0,
        "sample__buckets": ["128x72"],
        "compute__threads": 1,
    }
    (ray.test_folder / "killed").touch()
    build_pairs(settings_for(tmp_path, **nano))
    (ray.test_folder / "killed").unlink()
    tally, executor = on_ray(ray, settings_for(tmp_path, output=str(tmp_path / "ray"), **nano))
    assert sum(tally.outcomes.values()) == 2
    assert executor.num_lost == 1
    assert contents(tmp_path / "ray") == contents(tmp_path / "set")


def test_what_fails_on_a_worker_is_set_aside_here(ray: Any, tmp_path: Path) -> None:
    footage = pair_making.footage(tmp_path / "footage")
    (footage / "video_1.txt").write_text("fails")
    tally, _ = on_ray(ray, settings_for(tmp_path, sample__train=3, sample__validation=0))
    assert tally.outcomes == {"accepted": 2, "failed": 1}
    assert "got NaN: this is a test" in next(iter(tally.reasons.values()))


def test_a_worker_that_cannot_be_set_up_ends_the_run_with_its_own_words(ray: Any, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="to give a KeyframeEditor, got str"):
        on_ray(ray, settings_for(tmp_path, edit__editor="pair_making:nothing"))
    assert not records(tmp_path / "set")


def test_a_cluster_that_is_too_small_is_refused_instead_of_waited_for(ray: Any) -> None:
    compute = ComputeSettings.from_mapping(
        {"stages": {"edit": {"gpus": 1}, "score": {"workers": 50, "cpus": 1}}}, source=""
    )
    with pytest.raises(ClusterError, match=r"expected a cluster with 50\.5 CPUs, it has 2 and 1 GPUs, it has 0"):
        RayExecutor(ray, compute)([], [], None, "", report=print, finish=print)  # type: ignore[arg-type]


def test_the_command_says_how_busy_the_workers_were(
    ray: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = settings_for(tmp_path, sample__train=1, sample__validation=0)
    (tmp_path / "pairs.yaml").write_text(json.dumps(settings.model_dump(mode="json")))
    assert main(["pairs", "build", str(tmp_path / "pairs.yaml"), "--executor", "ray"]) == 0
    said = capsys.readouterr().out
    assert "1 clips accepted" in said
    assert re.search(r"^edit         1 worker  busy +\d+%, 1 clips$", said, re.MULTILINE)


def test_relative_paths_begin_in_the_folder_of_the_command(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cluster runs elsewhere: its processes began in another folder than this command."""
    pair_making.footage(tmp_path / "footage")
    settings_here = settings_for(tmp_path)
    monkeypatch.chdir(tmp_path)
    settings = settings_for(tmp_path, output="set", sources=[{"kind": "video", "path": "footage"}])
    tally, _ = on_ray(ray, settings)
    assert tally.outcomes["accepted"] == 5
    assert len(records(Path(settings_here.output))) == 5
