"""What this machine is: processor, memory, disk, accelerators, installed packages, and how fast it multiplies.

Separate from `doctor`, which judges it: here are only facts, each read where the system keeps it. Importing this file
loads no torch; asking for accelerators or for speed does.
"""

from __future__ import annotations

import os
import platform
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement

from realmaster.errors import ConfigError

GB = 1e9
CGROUPS = (  # files with a container's limit and what it uses now, in bytes: version 2, version 1
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
FILE_CACHE = {"active_file", "inactive_file", "total_active_file", "total_inactive_file"}  # in memory.stat beside them


@dataclass(frozen=True)
class Accelerator:
    """A device beside the CPU, by torch's name for it, with its memory."""

    device: str
    name: str
    memory_gb: float


@dataclass(frozen=True)
class Machine:
    """The facts about a machine; sizes in GB of 10^9 bytes, what is free at this moment."""

    python: str
    system: str
    processor: str
    num_cores: int
    memory_gb: float
    free_memory_gb: float
    free_disk_gb: float
    accelerators: tuple[Accelerator, ...]


@dataclass(frozen=True)
class Package:
    """A package that RealMaster asks for, and what is installed of it; `extra` is absent for those always needed."""

    name: str
    asked: str
    installed: str | None
    extra: str | None
    fits: bool
    possible: bool = True  # false where the package does not exist for this Python


def inspect_machine(folder: Path) -> Machine:
    """Read the facts; the disk is the one that holds `folder`."""
    memory = psutil.virtual_memory()
    limits = [(memory.total, memory.available), *_container_memory()]
    return Machine(
        python=platform.python_version(),
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        processor=_processor_name(),
        num_cores=len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1,
        memory_gb=min(total for total, _ in limits) / GB,
        free_memory_gb=min(free for _, free in limits) / GB,
        free_disk_gb=shutil.disk_usage(folder).free / GB,
        accelerators=tuple(_accelerators()),
    )


def inspect_packages(distribution: str = "realmaster") -> tuple[Package, ...]:
    """List what the installed distribution asks for, in its own words, so that this list cannot go stale.

    Nothing is listed where the code runs from a checkout that was never installed.
    """
    packages = []
    try:
        lines = metadata.requires(distribution) or ()
    except metadata.PackageNotFoundError:
        return ()
    for line in lines:
        requirement = Requirement(line)
        extra = _extra_of(requirement)
        if extra == "dev":
            continue
        installed = _installed_version(requirement.name)
        fits = installed is not None and requirement.specifier.contains(installed, prereleases=True)
        possible = requirement.marker is None or requirement.marker.evaluate({"extra": extra or ""})
        packages.append(Package(requirement.name, str(requirement.specifier), installed, extra, fits, possible))
    return tuple(packages)


def measure_flops(device: str, dtype_name: str, *, seconds: float = 0.2) -> float:
    """Measure floating-point operations per second in products of square matrices: the best, tried for `seconds`.

    The best, because other work on the machine makes any of them slower and none faster. On a CPU in float32 whatever
    the dtype: without units for bfloat16 torch takes a path there that is thousands of times slower.
    """
    import torch

    dtype = torch.float32 if device == "cpu" else getattr(torch, dtype_name)
    size = 512 if device == "cpu" else 4096
    left, right = torch.ones(size, size, device=device, dtype=dtype), torch.ones(size, size, device=device, dtype=dtype)
    _ = (left @ right)[0, 0].item()  # the first product also loads the kernels
    best, num_products, began = float("inf"), 0, time.perf_counter()
    while num_products < 3 or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        _ = (left @ right)[0, 0].item()  # item() waits for the device
        best = min(best, time.perf_counter() - start)
        num_products += 1
    return 2 * size**3 / best


def check_device(device: str) -> None:
    """Refuse a device that torch does not see here.

    Raises:
        ConfigError: with the devices there are.
    """
    names = ["cpu", *(found.device for found in _accelerators())]
    if device not in names and f"{device}:0" not in names:
        raise ConfigError(f"expected a device among {', '.join(names)}, got {device}: choose one that is here")


def _extra_of(requirement: Requirement) -> str | None:
    """Give the extra whose presence a requirement's marker asks for."""
    marker = str(requirement.marker or "")
    _, found, rest = marker.partition('extra == "')
    return rest.split('"')[0] if found else None


def _installed_version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _container_memory() -> Iterator[tuple[int, int]]:
    """Memory that a container grants us, and what is free of it, in bytes."""
    for names in CGROUPS:
        try:
            limit, used = (Path(name).read_text().strip() for name in names)
        except OSError:
            continue
        if limit.isdigit() and used.isdigit():
            yield int(limit), max(int(limit) - int(used) + _file_cache(Path(names[1]).with_name("memory.stat")), 0)


def _file_cache(statistics: Path) -> int:
    """Bytes of files that the system keeps in memory while nobody needs it: counted as used, given up when asked.

    Version 1 lists a group's own and, as total_, those below it too; version 2 has one number for both.
    """
    try:
        lines = (line.split() for line in statistics.read_text().splitlines())
        found = {words[0]: int(words[1]) for words in lines if len(words) == 2 and words[0] in FILE_CACHE}
    except (OSError, ValueError):
        return 0
    totals = [size for name, size in found.items() if name.startswith("total_")]
    return sum(totals or found.values())


def _processor_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _accelerators() -> Iterator[Accelerator]:
    try:
        import torch
    except ImportError:
        return  # the list of packages says that torch is missing
    for index in range(torch.cuda.device_count()):
        properties = torch.cuda.get_device_properties(index)
        yield Accelerator(f"cuda:{index}", properties.name, properties.total_memory / GB)
    if torch.backends.mps.is_available():
        yield Accelerator("mps", "Apple GPU, memory shared with the CPU", psutil.virtual_memory().total / GB)
