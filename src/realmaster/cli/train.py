"""`realmaster train CONFIG`: train the adapter of a profile, or go on with a run that was broken off."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from tqdm import tqdm

from realmaster.cli.progress import progress_bar
from realmaster.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable

    from realmaster.data.pair_set import Frames
    from realmaster.training.run import Progress

SECONDS_BETWEEN_LINES = 30.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="Change a setting of CONFIG; repeatable.")
@click.option(
    "--list", "list_only", is_flag=True, help="List the run's checkpoints with their scores, and train nothing."
)
@click.option("-q", "--quiet", is_flag=True, help="No progress line; warnings and errors stay.")
def command(config: Path, words: tuple[str, ...], list_only: bool, quiet: bool) -> None:
    """Train an adapter as CONFIG (YAML) says; the same command goes on with a run that was broken off.

    On several devices: `torchrun --nproc-per-node 8 --no-python realmaster train CONFIG`. Each setting: docs/train.md.
    """
    from realmaster.models.profiles import read_changes
    from realmaster.training.checkpoints import Checkpoints, as_table
    from realmaster.training.settings import TrainSettings

    settings = TrainSettings.read(config, read_changes(words))
    checkpoints = Checkpoints(settings.output / "checkpoints", figure=settings.validation.figure)
    if list_only:
        if not settings.output.is_dir():
            raise ConfigError(f"expected the folder of a run at {settings.output}, found no run there: correct output")
        click.echo(as_table(checkpoints))
        return
    from realmaster.training.run import train

    with progress_bar(quiet=quiet, unit="clip") as show_cache:
        trained = train(settings, score=score_frames, show=None if quiet else show_progress(), show_cache=show_cache)
    if not is_first_process():
        return
    if not quiet and sys.stderr.isatty():
        click.echo("", err=True)
    click.echo(as_table(checkpoints))
    best = trained.best or trained.newest
    click.echo(f"{trained.num_steps} steps; adapter: {best.folder}")


def is_first_process() -> bool:
    """Say whether this process of a run is the one that talks; asked when the group of processes is gone again."""
    from accelerate import PartialState

    return bool(PartialState().is_main_process)


def score_frames(output: Frames, truth: Frames) -> dict[str, float]:
    """Score a validation clip: what `realmaster evaluate` prints first."""
    from realmaster.evaluation.metrics import psnr, ssim

    return {"psnr": psnr(output, truth), "ssim": ssim(output, truth)}


def show_progress() -> Callable[[Progress], None]:
    """Give a function that keeps one line on a terminal, or writes one now and then where stderr is a file."""
    import time

    on_terminal = sys.stderr.isatty()
    last = [0.0]

    def show(progress: Progress) -> None:
        now = time.monotonic()
        ended = progress.step == progress.num_steps
        if on_terminal:
            click.echo(f"\r{progress_line(progress)}\x1b[K", nl=False, err=True)
        elif ended or now - last[0] >= SECONDS_BETWEEN_LINES:
            last[0] = now
            click.echo(progress_line(progress), err=True)

    return show


def progress_line(progress: Progress) -> str:
    """Write step, loss of each expert, samples per second, memory, time left."""
    names = {"transformer": "loss", "transformer_2": "loss"} if len(progress.losses) == 1 else {
        "transformer": "high noise", "transformer_2": "low noise",
    }  # fmt: skip
    losses = ", ".join(f"{names[name]} {loss:.4f}" for name, loss in progress.losses.items())
    left = tqdm.format_interval(progress.seconds_left)
    return (
        f"step {progress.step}/{progress.num_steps}, {losses}, {progress.samples_per_second:.3g} samples/s, "
        f"{progress.memory_gb:.1f} GB, {left} left"
    )
