"""What the benchmarks share: building random transformers, timing a call, saying where it ran, keeping the result."""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from diffusers import WanTransformer3DModel

from realmaster.models.arithmetic import keep_float32

RESULTS = Path(__file__).parents[1] / "results"
PACKAGES = ("realmaster", "torch", "triton", "diffusers", "peft", "accelerate")
PRECISIONS = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def build(config: dict[str, Any], device: torch.device, dtype: torch.dtype) -> WanTransformer3DModel:
    """Make random weights in place and in their precision: 14 billion in float32 first would not fit."""
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            model = WanTransformer3DModel(**config).eval().requires_grad_(False)
    finally:
        torch.set_default_dtype(before)
    return keep_float32(model)


def timed(forward: Callable[[], object], device: str) -> dict[str, float]:
    """Seconds of one call: of the clock, of the processor, and on a GPU the peak of its memory in GB.

    On the virtual device the memory alone.
    """
    if device == "virtual":
        torch.cuda.reset_peak_memory_stats()
        forward()
        return {"peak_gb": torch.cuda.max_memory_allocated() / 1e9}
    if device == "cpu":
        wall, processor = time.perf_counter(), time.process_time()
        forward()
        return {"wall": time.perf_counter() - wall, "processor": time.process_time() - processor}
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    wall = time.perf_counter()
    forward()
    torch.cuda.synchronize()
    return {"wall": time.perf_counter() - wall, "peak_gb": torch.cuda.max_memory_allocated() / 1e9}


def processor_name() -> str:
    """The processor as the system names it."""
    table = Path("/proc/cpuinfo")
    lines = table.read_text("utf-8").splitlines() if table.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def describe_place(device: str) -> dict[str, Any]:
    """Where and with what a result was measured."""
    return {
        "date": date.today().isoformat(),
        "device": torch.cuda.get_device_name() if device == "cuda" else processor_name(),
        **({} if device != "cuda" else {"device_gb": torch.cuda.get_device_properties(0).total_memory / 1e9}),
        "num_cores": os.cpu_count(),
        "num_threads": torch.get_num_threads(),
        "load_average": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "versions": {"python": platform.python_version(), "cuda": torch.version.cuda}
        | {name: installed(name) for name in PACKAGES},
    }


def installed(package: str) -> str | None:
    """A package's version; None where it runs from a checkout."""
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def keep(result: dict[str, Any], folder: Path, name: str) -> Path:
    """Write the result whole: a temporary name, then rename."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{result['date']}-{name}.json"
    temporary = path.with_suffix(".tmp")
    temporary.write_text(json.dumps(result, indent=2) + "\n", "utf-8")
    temporary.replace(path)
    return path
