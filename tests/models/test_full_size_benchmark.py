"""The benchmark of the full size runs at a toy width, keeps what it printed, and goes on after a failure."""

from __future__ import annotations

import json
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SMALL = ["--frames", "5", "--width", "64", "--height", "64", "--layers", "2", "--repeats", "1", "--cases"]


@pytest.fixture
def benchmark(load_benchmark: Callable[[str], Any]) -> Any:
    return load_benchmark("full_size")


def kept(folder: Path) -> dict[str, Any]:
    (path,) = folder.iterdir()
    result: dict[str, Any] = json.loads(path.read_text("utf-8"))
    assert path.name.startswith(result["date"])
    assert {"device", "versions", "settings"} <= result.keys()
    return result


def test_forwards_and_steps_are_kept_with_their_ratios(benchmark: Any, tmp_path: Path, capsys: Any) -> None:
    names = ["forward plain", "forward cached", "forward joint", "forward naive joint"]
    trained = ["train plain", "train naive joint", "train joint", "train cached", "train cached frozen reference"]
    benchmark.main([*SMALL, *names, *trained, "autoencoder", "forward cached fp8*", "--output", str(tmp_path)])
    result = kept(tmp_path)
    failed = {name: case for name, case in result["cases"].items() if "failed" in case}
    assert not failed
    assert {*names, *trained} <= result["cases"].keys()
    assert {"cached_to_plain", "cached_to_naive_joint", "train_joint_to_plain"} <= result["ratios"].keys()
    printed = capsys.readouterr().out
    for ratio in result["ratios"].values():
        assert f"{ratio:.3f}" in printed


def test_a_case_that_runs_out_of_memory_is_recorded_and_the_rest_goes_on(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 8.00 GiB")

    monkeypatch.setattr(benchmark, "naive_joint", too_large)
    benchmark.main([*SMALL, "forward plain", "forward naive joint", "autoencoder", "--output", str(tmp_path)])
    cases = kept(tmp_path)["cases"]
    assert "8.00 GiB" in cases["forward naive joint"]["out_of_memory"]
    assert "forward" in cases["forward plain"]
    assert "decode" in cases["autoencoder"]


def test_no_model_is_left_when_the_next_is_built(
    benchmark: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    built: list[Any] = []
    left: list[bool] = []
    build = benchmark.build

    def watched(*arguments: Any) -> Any:
        left.append(any(model() is not None for model in built))
        model = build(*arguments)
        built.append(weakref.ref(model))
        return model

    def too_large(*_: Any) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(benchmark, "build", watched)
    monkeypatch.setattr(benchmark, "naive_joint", too_large)
    monkeypatch.setitem(benchmark.PRECISIONS, "float32", torch.bfloat16)  # autocast binds the model to its own forward
    names = ["train joint", "train naive joint", "train plain", "train cached", "forward plain"]
    benchmark.main([*SMALL, *names, "--output", str(tmp_path)])
    cases = kept(tmp_path)["cases"]
    assert "out_of_memory" in cases["train naive joint"]
    assert "step" in cases["train joint"]
    assert left == [False] * 5


def test_cases_of_one_day_come_together(benchmark: Any, tmp_path: Path) -> None:
    for name in ("forward plain", "forward joint"):
        benchmark.main([*SMALL, name, "--output", str(tmp_path)])
    measured = kept(tmp_path)["cases"]["forward plain"]
    assert "forward" in measured
    benchmark.main([*SMALL, "forward plain", "forward cached", "--budget", "-1", "--output", str(tmp_path)])
    cases = kept(tmp_path)["cases"]
    assert cases["forward plain"] == measured
    assert "forward" in cases["forward joint"]
    assert "budget" in cases["forward cached"]["skipped"]
    benchmark.main([*SMALL, "forward joint", "--rank", "8", "--layers", "1", "--output", str(tmp_path)])
    assert list(kept(tmp_path)["cases"]) == ["forward joint"], "other settings are not compared with these"


def test_a_spent_budget_leaves_the_rest_out(benchmark: Any, tmp_path: Path) -> None:
    benchmark.main([*SMALL, "forward plain", "forward cached", "--budget", "-1", "--output", str(tmp_path)])
    assert all("budget" in case["skipped"] for case in kept(tmp_path)["cases"].values())


def test_the_reduced_width_keeps_attention_s_share_of_the_work(benchmark: Any) -> None:
    def share(config: dict[str, Any], video: Any) -> float:
        width = config["num_attention_heads"] * config["attention_head_dim"]
        seen = 2 * video.latents(time_stride=4, space_stride=8).num_tokens((1, 2, 2))
        return float(seen / (seen + 6 * width + 2 * config["ffn_dim"]))

    full, reduced = (
        share(benchmark.WAN_14B, benchmark.FULL_VIDEO),
        share(benchmark.REDUCED, benchmark.REDUCED_VIDEO),
    )
    assert reduced == pytest.approx(full, rel=0.01)
