"""A comparison measured on Ray: the rows of this machine, and one line where a worker dies."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from realmaster.cluster import scenes
from realmaster.cluster.connect import RaySettings, connected
from realmaster.errors import ClusterError
from realmaster.evaluation.comparison_settings import ComparisonSettings
from realmaster.evaluation.run import evaluate
from sample_clips import write_clip


@pytest.fixture
def renders(tmp_path: Path) -> Path:
    for name in ("a", "b", "c"):
        (tmp_path / "renders").mkdir(exist_ok=True)
        write_clip(tmp_path / "renders" / f"{name}.mp4", num_frames=5)
    return tmp_path


def settings_of(folder: Path, output: str, **changes: Any) -> ComparisonSettings:
    values = {
        "output": str(folder / output), "clips": {"render": f"{folder}/renders/{{clip}}.mp4"}, "workers": 2,
        "methods": {"input": "{render}", "gone": f"{folder}/gone/{{clip}}.mp4"},
        "metrics": ["edge_f1", "flow_difference"],
    }  # fmt: skip
    (folder / "gone").mkdir(exist_ok=True)
    write_clip(folder / "gone" / "b.mp4", num_frames=5)
    return ComparisonSettings.from_mapping(values | changes, source="test.yaml")


@pytest.fixture(scope="module")
def ray() -> Iterator[Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with connected(RaySettings(num_cpus=2, environment={"OMP_NUM_THREADS": "1"})) as module:
            yield module


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # Ray's own processes
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_rays_workers_give_the_rows_of_this_machine(ray: Any, renders: Path) -> None:
    there = settings_of(renders, "there")
    found = evaluate(there, spread=scenes.spread_over_ray(RaySettings()))
    here = evaluate(settings_of(renders, "here", workers=1))
    values = [[(r.method, r.clip, r.metric, r.value, r.reason) for r in results.rows] for results in (found, here)]
    assert values[0] == values[1]
    assert found.num_measured == here.num_measured > 0
    assert evaluate(there, spread=scenes.spread_over_ray(RaySettings())).num_measured == 0


class BrokenError(Exception):
    cause = ClusterError("a cause")


class DiedError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "said"), [(DiedError("the node went away"), "one died .the node went"), (BrokenError(), "a cause")]
)
def test_a_worker_that_dies_is_one_line(
    renders: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    class Pool:
        def __init__(self, actors: list[Any]) -> None:
            assert len(actors) == 2

        def map(self, call: Any, values: Any) -> Iterator[Any]:
            raise error
            yield

    actor = SimpleNamespace(remote=lambda settings, absent: "actor")
    module = SimpleNamespace(
        remote=lambda **needs: lambda kind: actor,
        util=SimpleNamespace(ActorPool=Pool),
        exceptions=SimpleNamespace(RayActorError=DiedError, RayTaskError=BrokenError),
    )

    @contextmanager
    def pretended(settings: RaySettings) -> Iterator[Any]:
        yield module

    monkeypatch.setattr(scenes, "connected", pretended)
    with pytest.raises(ClusterError, match=said):
        evaluate(settings_of(renders, "out"), spread=scenes.spread_over_ray(RaySettings()))
