"""`realmaster doctor`: show what is installed and which profiles this machine can run."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from realmaster import __version__

if TYPE_CHECKING:
    from realmaster.models.doctor import Diagnosis
    from realmaster.models.profiles import Profile
    from realmaster.types import VideoShape


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.pass_context
def command(ctx: click.Context, as_json: bool) -> None:
    """Say what is installed, which profiles this machine can run, and what is missing with the command that gets it.

    Exits with 2 when no profile can run here.
    """
    from realmaster.models.doctor import diagnose

    diagnosis = diagnose(Path.cwd(), _time_transfer)
    click.echo(json.dumps({"realmaster": __version__, **asdict(diagnosis)}, indent=2) if as_json else page(diagnosis))
    if not any(profile.ready for profile in diagnosis.profiles):
        ctx.exit(2)


def _time_transfer(profile: Profile, clip: VideoShape) -> float:
    from realmaster.pipelines.carry_time import time_carrying  # loads torch: where it is missing, it is not called

    return time_carrying(profile, clip)


def page(diagnosis: Diagnosis) -> str:
    """Lay the diagnosis out for a terminal."""
    machine = diagnosis.machine
    cores = "1 core" if machine.num_cores == 1 else f"{machine.num_cores} cores"
    accelerators = [f"{found.device}: {found.name}, {found.memory_gb:.0f} GB" for found in machine.accelerators]
    facts = [
        ("realmaster", f"{__version__}, Python {machine.python}, {machine.system}"),
        (
            "processor",
            f"{machine.processor}, {cores}, {diagnosis.gflops:.0f} GFLOP/s in {diagnosis.dtype}",
        ),
        ("memory", f"{machine.memory_gb:.1f} GB, {machine.free_memory_gb:.1f} GB free"),
        ("disk", f"{machine.free_disk_gb:.1f} GB free here"),
        ("accelerator", "; ".join(accelerators) or "none: the CPU does the work"),
    ]
    packages = [
        (package.name, package.asked or "any", package.installed or "missing", package.extra or "")
        for package in diagnosis.packages
    ]
    profiles = [
        (
            profile.name,
            profile.purpose,
            "unknown" if profile.memory_gb is None else f"{profile.memory_gb:.1f} GB",
            "unknown" if profile.seconds is None else duration(profile.seconds),
            "ready" if profile.ready else "not here",
        )
        for profile in diagnosis.profiles
    ]
    parts = [
        table(facts),
        table([("package", "asked", "installed", "extra"), *packages]),
        table([("profile", "for", "memory", "demo clip*", "this machine"), *profiles]),
        f"* {diagnosis.clip}; an estimate from the model's arithmetic, a matrix product and a transfer timed just now.",
    ]
    if diagnosis.missing:
        parts.append("Missing:\n" + "\n".join(f"  {lack.what}: {lack.remedy}" for lack in diagnosis.missing))
    return "\n\n".join(parts)


def duration(seconds: float) -> str:
    """Write a time with the precision of an estimate: 42 s, 12 min, 3.5 h, 12 days."""
    if seconds < 90:
        return f"{max(seconds, 1):.0f} s"
    if seconds >= 100 * 3600:
        return f"{seconds / 86400:.0f} days"
    return f"{seconds / 60:.0f} min" if seconds < 90 * 60 else f"{seconds / 3600:.1f} h"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Align rows of words in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    return "\n".join(line.rstrip() for line in lines)
