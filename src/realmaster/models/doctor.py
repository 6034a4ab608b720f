"""Judge what this machine can run: memory and time of each profile, what is missing, and the command that gets it.

Separate from `machine`, which only reads facts, and from `plan`, which counts: times are estimates, a profile's
arithmetic over the speed of a matrix product, and the transfer of a frame, both timed at this moment; memory is the
largest stage's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from realmaster.errors import RealMasterError
from realmaster.models.machine import Machine, Package, inspect_machine, inspect_packages, measure_flops
from realmaster.models.profiles import Profile, list_profiles, load_profile
from realmaster.types import VideoShape

DEMO = VideoShape(num_frames=81, height=480, width=832)
REINSTALL = "they are part of the package: install it again, or train them with `make nano PAIRS=folder`"
# Measured with nano on the demo's clip, 2 cores, 2026-11-23 (`make demo` prints times and peak memory):
START_SECONDS = 4.0  # Python, torch and diffusers
FILE_SECONDS_PER_FRAME = 0.03  # reading and writing, at 832x480


@dataclass(frozen=True)
class Lack:
    """Something missing, and the command or step that gets it."""

    what: str
    remedy: str


@dataclass(frozen=True)
class ProfileVerdict:
    """What a profile needs and whether it runs here; `seconds` is absent where nothing can be estimated."""

    name: str
    purpose: str
    device: str
    memory_gb: float | None
    seconds: float | None
    ready: bool


@dataclass(frozen=True)
class Diagnosis:
    """Everything `realmaster doctor` shows."""

    machine: Machine
    gflops: float
    dtype: str
    clip: str
    packages: tuple[Package, ...]
    profiles: tuple[ProfileVerdict, ...]
    missing: tuple[Lack, ...]


def diagnose(folder: Path, time_transfer: Callable[[Profile, VideoShape], float]) -> Diagnosis:
    """Inspect this machine, its packages and every profile.

    `folder` is where outputs would go; `time_transfer` measures the seconds that a frame of a clip takes to be carried
    to full size.
    """
    machine, packages = inspect_machine(folder), inspect_packages()
    lacks = list(missing_packages(packages, machine.python))
    device = machine.accelerators[0].device if machine.accelerators else "cpu"
    dtype = "float32" if device == "cpu" else "bfloat16"
    works = all(package.fits for package in packages if package.extra is None)
    flops = measure_flops(device, dtype) if works else 0.0
    verdicts = []
    for name in list_profiles():
        profile = load_profile(name)
        absent = missing_weights(profile)
        lacks += absent
        if not works:
            verdicts.append(ProfileVerdict(name, profile.purpose, device, None, None, ready=False))
            continue
        available = machine.accelerators[0].memory_gb if machine.accelerators else machine.free_memory_gb
        try:
            memory, seconds = estimate(profile, device, time_transfer, available_gb=available, flops=flops)
        except RealMasterError:  # its parts are not known without its files
            verdicts.append(ProfileVerdict(name, profile.purpose, device, None, None, ready=False))
            continue
        if memory > available:
            lacks.append(
                Lack(
                    f"memory for {name}",
                    f"free {memory - available:.1f} GB on {device}, or see which settings help: "
                    f"realmaster plan CLIP --profile {name}",
                )
            )
        ready = memory <= available and not absent
        verdicts.append(ProfileVerdict(name, profile.purpose, device, memory, seconds, ready=ready))
    return Diagnosis(
        machine=machine,
        gflops=flops / 1e9,
        dtype=dtype,
        clip=f"{DEMO.num_frames} frames of {DEMO.width}x{DEMO.height}",
        packages=packages,
        profiles=tuple(verdicts),
        missing=tuple(lacks),
    )


def missing_packages(packages: Sequence[Package], python: str) -> Iterator[Lack]:
    """Name the packages to install: those always needed one by one, optional ones by their extra."""
    for package in packages:
        if package.extra is None and not package.fits:
            have = f"{package.installed} is installed" if package.installed else "not installed"
            yield Lack(f"{package.name} ({have})", f"pip install '{package.name}{package.asked}'")
    for extra in sorted({package.extra for package in packages if package.extra is not None}):
        absent = [package for package in packages if package.extra == extra and not package.fits]
        impossible = [package.name for package in absent if not package.possible]
        names = ", ".join(package.name for package in absent)
        if impossible:
            yield Lack(f"extra {extra} ({names})", f"{', '.join(impossible)} does not exist for Python {python}")
        elif absent:
            yield Lack(f"extra {extra} ({names})", f"pip install 'realmaster[{extra}]'")


def missing_weights(profile: Profile) -> list[Lack]:
    """Name the parts of a profile's checkpoint that are not on this machine."""
    parts = profile.parts
    absent = [part for part in parts if not any((profile.folder / part).glob("*.json"))]
    absent += [part for part in parts if part != "tokenizer" and not any((profile.folder / part).glob("*.safetensors"))]
    if profile.checkpoint.adapter is not None and not (profile.folder / profile.checkpoint.adapter).is_file():
        absent.append(profile.checkpoint.adapter)
    if not absent:
        return []
    names = ", ".join(dict.fromkeys(absent))
    shipped = profile.checkpoint.hub is None
    remedy = REINSTALL if shipped else f"realmaster models download {profile.name}"
    return [Lack(f"weights of {profile.name} ({names}) in {profile.folder}", remedy)]


def estimate(
    profile: Profile,
    device: str,
    time_transfer: Callable[[Profile, VideoShape], float],
    *,
    available_gb: float,
    flops: float,
) -> tuple[float, float]:
    """Estimate memory in GB and seconds for the demo's clip, on a device that does `flops` operations a second."""
    from realmaster.models.plan import plan_translation

    plan = plan_translation(
        profile,
        DEMO,
        device=device,
        available_gb=available_gb,
        flops_per_second=flops,
        transfer_seconds=time_transfer(profile, DEMO),
    )
    return plan.peak_gb, START_SECONDS + plan.seconds_total + DEMO.num_frames * FILE_SECONDS_PER_FRAME
