from __future__ import annotations

from importlib import metadata
from pathlib import Path

import psutil
import pytest
import torch

from realmaster.errors import ConfigError
from realmaster.models import machine


def test_the_facts_are_those_of_the_system(tmp_path: Path) -> None:
    facts = machine.inspect_machine(tmp_path)
    assert 0 < facts.free_memory_gb <= facts.memory_gb <= psutil.virtual_memory().total / 1e9
    assert facts.free_disk_gb > 0
    assert facts.num_cores >= 1
    assert facts.processor


def test_a_container_s_limit_is_the_memory_there_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    limit, used = tmp_path / "max", tmp_path / "current"
    monkeypatch.setattr(machine, "CGROUPS", ((str(limit), str(used)), ("/absent/max", "/absent/current")))
    used.write_text("500000000\n")
    limit.write_text("2000000000\n")
    facts = machine.inspect_machine(tmp_path)
    assert (facts.memory_gb, facts.free_memory_gb) == (2.0, 1.5)
    (tmp_path / "memory.stat").write_text("anon 1\nactive_file 100000000\ninactive_file 200000000\n")
    assert machine.inspect_machine(tmp_path).free_memory_gb == pytest.approx(1.8)  # files that were read are given up
    (tmp_path / "memory.stat").write_text("active_file 1\ninactive_file 2\ntotal_active_file 400000000\n")
    assert machine.inspect_machine(tmp_path).free_memory_gb == pytest.approx(1.9)  # version 1: with the groups below
    limit.write_text("max\n")
    assert machine.inspect_machine(tmp_path).memory_gb == pytest.approx(psutil.virtual_memory().total / 1e9)


def test_a_checkout_that_was_never_installed_lists_no_packages() -> None:
    assert machine.inspect_packages("realmaster-that-is-not-here") == ()


def test_packages_are_listed_as_the_distribution_asks_for_them(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = [
        "av>=14",
        "numpy<1",
        "torch",
        'bpy==4.5.*; python_version == "2.7" and extra == "render"',
        'anny; extra == "render"',
    ]
    versions = {"av": "18.1.0", "numpy": "2.4.6", "torch": "2.13.0+cpu", "anny": "0.1"}

    def version(name: str) -> str:
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(metadata, "requires", lambda _: [*asked, 'pytest; extra == "dev"'])
    monkeypatch.setattr(metadata, "version", version)
    found = {package.name: package for package in machine.inspect_packages()}
    assert list(found) == ["av", "numpy", "torch", "bpy", "anny"]
    assert [package.fits for package in found.values()] == [True, False, True, False, True]
    assert (found["bpy"].installed, found["bpy"].extra, found["bpy"].possible) == (None, "render", False)
    assert (found["anny"].extra, found["anny"].possible) == ("render", True)
    assert found["av"].asked == ">=14"


def test_the_real_distribution_is_readable() -> None:
    found = {package.name: package for package in machine.inspect_packages()}
    assert found["torch"].fits
    assert found["torch"].extra is None


def test_the_speed_of_a_product_is_positive_and_finite() -> None:
    assert 1e6 < machine.measure_flops("cpu", "float32", seconds=0.01) < 1e15


def test_a_cpu_s_speed_is_that_of_float32_and_the_best_of_several_products(monkeypatch: pytest.MonkeyPatch) -> None:
    moments = iter([0.0, 1.0, 6.0, 7.0, 9.0, 10.0, 13.0, 14.0])  # products of 5, 2 and 3 seconds
    monkeypatch.setattr(machine.time, "perf_counter", lambda: next(moments))
    asked = []
    ones = torch.ones
    monkeypatch.setattr(torch, "ones", lambda *size, dtype, **rest: asked.append(dtype) or ones(*size, dtype=dtype))
    found = machine.measure_flops("cpu", "bfloat16", seconds=0.0)
    assert set(asked) == {torch.float32}
    assert found == 2 * 512**3 / 2.0


def test_a_device_is_refused_with_those_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_accelerators", lambda: [machine.Accelerator("cuda:0", "a GPU", 80.0)])
    for name in ("cpu", "cuda", "cuda:0"):
        machine.check_device(name)
    with pytest.raises(ConfigError, match="among cpu, cuda:0, got cuda:1"):
        machine.check_device("cuda:1")
