"""Judge what this machine can run: memory and time of each profile, what is missing, and the command that gets it.

Separate from `machine`, which only reads facts. Times are estimates: a profile's arithmetic, counted, over the speed of
a matrix product timed at this moment, corrected by what nano was measured to reach. Memory is what stays resident:
libraries, weights, the reference's keys and values, and the frames of a window.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from realmaster.models.machine import GB, Machine, Package, inspect_machine, inspect_packages, measure_flops
from realmaster.models.profiles import Profile, list_profiles, load_profile
from realmaster.types import VideoShape

if TYPE_CHECKING:
    from realmaster.models.arithmetic import Work

DEMO = VideoShape(num_frames=81, height=480, width=832)
PLANNED = ("wan2.1-1.3b", "wan2.2-a14b")
PARTS = ("vae", "tokenizer", "text_encoder")
REINSTALL = "they are part of the package: install it again, or train them with `make nano PAIRS=folder`"
# Measured with nano on the demo's clip, 2 cores of an AMD EPYC, 2026-11-21 (`make demo` prints times and peak memory):
LIBRARIES_GB = 0.7  # resident before a model is loaded
START_SECONDS = 6.0  # Python, torch and diffusers
REACHED_SHARE = 0.4  # speed of the models over that of a matrix product
FULL_SIZE_SECONDS_PER_FRAME = 0.06  # reading, carrying the change over, writing, at 832x480


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
    planned: tuple[str, ...]
    missing: tuple[Lack, ...]


def diagnose(folder: Path) -> Diagnosis:
    """Inspect this machine, its packages and every profile; `folder` is where outputs would go."""
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
        if absent or not works:
            verdicts.append(ProfileVerdict(name, profile.purpose, device, None, None, ready=False))
            continue
        memory, seconds = estimate(profile, flops, bytes_per_number=4 if dtype == "float32" else 2)
        available = machine.accelerators[0].memory_gb if machine.accelerators else machine.free_memory_gb
        if memory > available:
            lacks.append(
                Lack(f"memory for {name}", f"free {memory - available:.1f} GB on {device}, or take a smaller one")
            )
        verdicts.append(ProfileVerdict(name, profile.purpose, device, memory, seconds, ready=memory <= available))
    return Diagnosis(
        machine=machine,
        gflops=flops / 1e9,
        dtype=dtype,
        clip=f"{DEMO.num_frames} frames of {DEMO.width}x{DEMO.height}",
        packages=packages,
        profiles=tuple(verdicts),
        planned=tuple(name for name in PLANNED if name not in list_profiles()),
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
    parts = [*PARTS, profile.checkpoint.transformer]
    absent = [part for part in parts if not any((profile.folder / part).glob("*.json"))]
    absent += [part for part in parts if part != "tokenizer" and not any((profile.folder / part).glob("*.safetensors"))]
    if profile.checkpoint.adapter is not None and not (profile.folder / profile.checkpoint.adapter).is_file():
        absent.append(profile.checkpoint.adapter)
    if not absent:
        return []
    names = ", ".join(dict.fromkeys(absent))
    return [Lack(f"weights of {profile.name} ({names}) in {profile.folder}", REINSTALL)]


def estimate(profile: Profile, flops: float, *, bytes_per_number: int) -> tuple[float, float]:
    """Estimate memory in GB and seconds for the demo's clip, on a device that does `flops` operations a second."""
    work, cached_numbers = count_profile(profile)
    window = profile.window
    shown = min(window.num_frames, DEMO.num_frames)
    num_windows = 1 + -(-(DEMO.num_frames - shown) // max(window.num_frames - window.overlap, 1))
    num_branches = 1 if profile.sampling.guidance_scale == 1 else 2
    operations = num_windows * work.total(num_steps=profile.sampling.num_inference_steps, num_branches=num_branches)
    at_full_size = DEMO.num_frames * FULL_SIZE_SECONDS_PER_FRAME
    seconds = START_SECONDS + operations / (flops * REACHED_SHARE) + at_full_size
    frames_bytes = window.num_frames * DEMO.height * DEMO.width * 3 * 4
    numbers = (count_parameters(profile) + num_branches * cached_numbers) * bytes_per_number
    return LIBRARIES_GB + (numbers + frames_bytes) / GB, seconds


def count_parameters(profile: Profile) -> int:
    """Count the numbers in a checkpoint's files, reading their headers alone."""
    from safetensors import safe_open

    total = 0
    for part in ("vae", "text_encoder", profile.checkpoint.transformer):
        for path in (profile.folder / part).glob("*.safetensors"):
            with safe_open(path, framework="np") as file:
                total += sum(math.prod(file.get_slice(name).get_shape()) for name in file.keys())  # noqa: SIM118
    return total


def count_profile(profile: Profile) -> tuple[Work, int]:
    """Count a window's work, and the numbers in a reference's keys and values."""
    import torch
    from diffusers import AutoencoderKLWan, WanTransformer3DModel

    from realmaster.models.arithmetic import count_work

    with torch.device("meta"):
        autoencoder = AutoencoderKLWan.from_config(AutoencoderKLWan.load_config(profile.folder / "vae"))
        config = WanTransformer3DModel.load_config(profile.folder / profile.checkpoint.transformer)
        transformer = WanTransformer3DModel.from_config(config)
    size = VideoShape(profile.window.num_frames, profile.size.height, profile.size.width)
    tokenizer = json.loads((profile.folder / "tokenizer" / "tokenizer_config.json").read_text("utf-8"))
    num_text_tokens = min(int(tokenizer.get("model_max_length", 512)), 512)
    work = count_work(autoencoder, transformer, size, num_text_tokens=num_text_tokens, reference=profile.reference.mode)
    strides = autoencoder.config.scale_factor_temporal, autoencoder.config.scale_factor_spatial
    latents = size.latents(time_stride=strides[0], space_stride=strides[1])
    settings = transformer.config
    width = settings.num_attention_heads * settings.attention_head_dim
    cached = 2 * latents.num_tokens(settings.patch_size) * width * settings.num_layers
    return work, cached if profile.reference.mode == "cached" else 0
