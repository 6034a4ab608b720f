"""`realmaster plan`: what a translation, or a training run, will take, before anything is loaded."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realmaster.cli.doctor import duration, table
from realmaster.cli.values import Device, Number
from realmaster.errors import ConfigError

if TYPE_CHECKING:
    from realmaster.models.plan import Plan
    from realmaster.models.plan_training import TrainingPlan
    from realmaster.types import VideoShape


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("input", required=False)
@click.option("--profile", help="Which models; `realmaster doctor` lists them.  [default: nano, or CONFIG's]")
@click.option(
    "--set", "words", multiple=True, metavar="NAME=VALUE", help="Change a setting of the profile, or of CONFIG."
)
@click.option("--model-dir", type=click.Path(path_type=Path), help="Folder of the weights.  [default: the hub's cache]")
@click.option("--training", type=click.Path(path_type=Path), metavar="CONFIG", help="Plan this training run instead.")
@click.option("--device", type=Device(), help="cpu, cuda, cuda:1 or mps.  [default: the fastest there is]")
@click.option("--memory", type=Number(0, min_open=True), metavar="GB", help="Plan for a device of this memory.")
@click.option("--tflops", type=Number(0, min_open=True), help="Plan for a device that multiplies matrices this fast.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def command(
    input: str | None,
    profile: str | None,
    words: tuple[str, ...],
    model_dir: Path | None,
    training: Path | None,
    device: str | None,
    memory: float | None,
    tflops: float | None,
    as_json: bool,
) -> None:
    """Print tokens, operations, peak memory by part and expected time of translating INPUT; load nothing.

    With --memory and --tflops it plans for a machine other than this one: `--memory 80 --tflops 800` is an H100. Exits
    with 2 when the memory is not enough, and says which settings help.
    """
    if (input is None) == (training is None):
        raise ConfigError("expected INPUT or --training CONFIG, got neither or both: give one of them")
    from realmaster.models.profiles import load_profile, read_changes

    if training is not None:
        given = {"profile": profile, "model_dir": model_dir}
        changes = read_changes(words) | {name: value for name, value in given.items() if value is not None}
        _plan_training(training, changes, device, memory, tflops, as_json=as_json)
        return
    assert input is not None
    chosen = load_profile(profile or "nano", model_dir=model_dir, changes=read_changes(words))
    clip = _measure(input)

    from realmaster.models.plan import plan_translation, require_memory
    from realmaster.pipelines.carry_time import time_carrying

    name, available, flops = _find_device(device, memory, tflops, chosen.memory.dtype)
    plan = plan_translation(
        chosen,
        clip,
        device=name,
        available_gb=available,
        flops_per_second=flops,
        transfer_seconds=time_carrying(chosen, clip),
    )
    values = {**asdict(plan), "seconds_total": plan.seconds_total, "fits": plan.fits}
    click.echo(json.dumps(values, indent=2) if as_json else page(plan))
    require_memory(plan)


def page(plan: Plan) -> str:
    """Lay a plan out for a terminal."""
    window, clip = plan.window, plan.clip
    facts = [
        ("profile", f"{plan.profile} on {plan.device}"),
        ("clip", f"{clip.num_frames} frames of {clip.width}x{clip.height}"),
        ("windows", f"{plan.num_windows} of {window.num_frames} frames at {window.width}x{window.height}"),
        (
            "tokens",
            f"{plan.num_tokens:,} of a window, {plan.num_reference_tokens:,} of the reference, "
            f"{plan.num_text_tokens} of text",
        ),
        ("steps", f"{plan.num_steps}, {plan.num_forwards} forwards a window"),
    ]
    stages = [
        (stage, f"{plan.stages_gb[stage]:.1f} GB" if stage in plan.stages_gb else "", duration(seconds))
        for stage, seconds in plan.seconds.items()
    ]
    parts = [
        *refusal(plan),
        table(facts),
        table([("operations", "PFLOP"), *((name, figure(value)) for name, value in plan.pflops.items()),
               ("the whole clip", figure(plan.pflops_total))]),
        table([("memory", "GB"), *((name, gigabytes(size)) for name, size in plan.memory_gb.items())]),
        table([("stage", "peak", "time*"), *stages]),
        f"peak {plan.peak_gb:.1f} GB of {plan.available_gb:.1f} GB"
        + (f", and {plan.host_gb:.1f} GB of host memory" if plan.host_gb else "")
        + f"; about {duration(plan.seconds_total)}*",
        *(f"Note: {note}." for note in plan.notes),
        "* an estimate from operations and the speed of a matrix product; the transfer was timed on this CPU. Loading, "
        "reading and writing come on top.",
    ]  # fmt: skip
    return "\n\n".join(parts)


def training_page(plan: TrainingPlan) -> str:
    """Lay a training plan out for a terminal."""
    return "\n\n".join(
        [
            *refusal(plan),
            table(
                [
                    ("profile", f"{plan.profile} on {plan.device}"),
                    ("clip", plan.clip),
                    ("tokens", f"{plan.num_tokens:,}"),
                ]
            ),
            table([("memory", "GB"), *((name, f"{size:.1f}") for name, size in plan.memory_gb.items())]),
            f"peak {plan.peak_gb:.1f} GB of {plan.available_gb:.1f} GB; {figure(plan.pflops)} PFLOP and about "
            f"{duration(plan.seconds_per_step)}* an optimizer step, {duration(plan.seconds_total)}* for "
            f"{plan.num_steps} steps",
            "* an estimate from operations and the speed of a matrix product; encoding the pairs comes on top.",
        ]
    )


def refusal(plan: Plan | TrainingPlan) -> list[str]:
    """Say first, in one line, that a plan cannot run on its device."""
    if plan.fits:
        return []
    takes, there = f"{plan.peak_gb:.1f} GB of memory", plan.available_gb
    return [f"{plan.profile} cannot run so on {plan.device}: it takes {takes}, there are {there:.1f} GB."]


def gigabytes(size: float) -> str:
    """Write GB to a tenth, and what is less to a thousandth."""
    return f"{size:.1f}" if size >= 0.1 else f"{size:.3f}"


def figure(value: float) -> str:
    """Write a number with three digits that count: 2.56, 209, 7.4e-06."""
    return f"{value:.3g}"


def _plan_training(
    path: Path,
    changes: dict[str, Any],
    device: str | None,
    memory: float | None,
    tflops: float | None,
    *,
    as_json: bool,
) -> None:
    from realmaster.models.plan_training import require_training_memory
    from realmaster.models.profiles import load_profile
    from realmaster.training.run_plan import plan_run
    from realmaster.training.settings import TrainSettings

    settings = TrainSettings.read(path, changes)
    profile = load_profile(settings.profile, model_dir=settings.model_dir, changes=settings.profile_changes)
    name, available, flops = _find_device(device, memory, tflops, settings.memory.dtype or profile.memory.dtype)
    plan = plan_run(settings, profile, device=name, available_gb=available, flops_per_second=flops)
    values = {**asdict(plan), "seconds_total": plan.seconds_total, "fits": plan.fits}
    click.echo(json.dumps(values, indent=2) if as_json else training_page(plan))
    require_training_memory(plan)


def _measure(source: str) -> VideoShape:
    """Read a clip's size and length; frames are decoded only where the file does not say how many there are."""
    from realmaster.media.reader import open_clip
    from realmaster.types import VideoShape

    with open_clip(source) as clip:
        info = clip.info
        num_frames = info.num_frames or sum(len(frames) for frames in clip.chunks(64))
    return VideoShape(num_frames, info.height, info.width)


def _find_device(
    device: str | None, memory_gb: float | None, tflops: float | None, dtype: str
) -> tuple[str, float, float]:
    """Name the device, its memory in GB and its speed; what is given goes before what is measured."""
    from realmaster.models.machine import check_device, inspect_machine, measure_flops

    machine = inspect_machine(Path.cwd())
    found: dict[str, Any] = {item.device: item.memory_gb for item in machine.accelerators}
    if memory_gb is not None and tflops is not None:
        return (device or "cuda"), memory_gb, tflops * 1e12
    name = device or next(iter(found), "cpu")
    check_device(name)
    available = memory_gb or found.get(name, found.get(f"{name}:0", machine.free_memory_gb))
    return name, available, tflops * 1e12 if tflops else measure_flops(name, dtype)
