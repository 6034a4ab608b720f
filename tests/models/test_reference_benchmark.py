"""The benchmark of the reference runs and keeps what it prints; nothing here measures time."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path

import pytest


@pytest.mark.parametrize("scale", [1, 2])
def test_the_benchmark_keeps_a_dated_file_of_what_it_printed(
    checkout: Path, tmp_path: Path, capsys, monkeypatch, scale: int
) -> None:
    path = checkout / "benchmarks" / "reference.py"
    if not path.exists():
        pytest.skip("benchmarks are not part of the source distribution")
    monkeypatch.syspath_prepend(path.parent)
    spec = spec_from_file_location("reference_benchmark", path)
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    size = ["--frames", "5", "--width", "64", "--height", "64", "--repeats", "1", "--spatial-scale", str(scale)]
    module.main([*size, "--storage-dtype", "fp8", "--storage-device", "host", "--output", str(tmp_path)])
    (kept,) = tmp_path.iterdir()
    result = json.loads(kept.read_text("utf-8"))
    assert kept.name.startswith(result["date"])
    assert {"device", "versions", "settings"} <= result.keys()
    (case,) = result["cases"]
    assert case["seconds"].keys() == {"reference pass", "plain", "cached", "joint"}
    printed = capsys.readouterr().out
    for ratio in case["ratios"].values():
        assert f"{ratio:.2f}" in printed
