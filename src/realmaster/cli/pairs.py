"""`realmaster pairs`: make training pairs from rendered footage, and work on sets of them.

Making sets is here: build, status, filter. What is done with finished sets is in `pairs_files`.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from realmaster.cli.lazy import LazyCommand, LazyGroup
from realmaster.cli.progress import progress_bar

if TYPE_CHECKING:
    from realmaster.pairs.build import Tally
    from realmaster.pairs.settings import PairSettings

CONTEXT = {"help_option_names": ["-h", "--help"]}
COMMANDS = {
    "build": LazyCommand("realmaster.cli.pairs:build", "Make a set from footage, or go on with one."),
    "status": LazyCommand("realmaster.cli.pairs:status", "Say how far a set is: counts, rates, time left, reasons."),
    "filter": LazyCommand(
        "realmaster.cli.pairs_filter:command", "Decide again from stored scores which clips are kept."
    ),
    "inspect": LazyCommand(
        "realmaster.cli.pairs_files:inspect", "Write a page with every clip, its scores and reasons."
    ),
    "export": LazyCommand("realmaster.cli.pairs_files:export", "Write the accepted clips for another trainer."),
    "import": LazyCommand("realmaster.cli.pairs_files:import_", "Bring in pairs that were made elsewhere."),
    "split": LazyCommand("realmaster.cli.pairs_files:split", "Divide a set again into training and validation."),
    "stats": LazyCommand("realmaster.cli.pairs_files:stats", "Say what a set holds."),
}


@click.group(cls=LazyGroup, lazy_commands=COMMANDS, context_settings=CONTEXT)
def command() -> None:
    """Make training pairs from rendered footage: keyframes edited, carried over each clip, kept if they hold."""


@click.command(context_settings=CONTEXT)
@click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--footage", multiple=True, metavar="PATH", help="Videos in place of CONFIG's sources; repeatable.")
@click.option("-o", "--output", metavar="SET", help="Folder or fsspec address of the set, in place of CONFIG's.")
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="Change a setting of CONFIG; repeatable.")
@click.option(
    "--executor", type=click.Choice(["local", "ray"]), default="local", show_default=True, help="Who computes."
)
@click.option("--address", metavar="ADDRESS", help="With ray: auto, or ray://HOST:10001.  [default: a cluster here]")
@click.option("--retry", is_flag=True, help="Try the clips again that failed before.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary; warnings and errors stay.")
def build(
    config: Path,
    footage: tuple[str, ...],
    output: str | None,
    words: tuple[str, ...],
    executor: Literal["local", "ray"],
    address: str | None,
    retry: bool,
    quiet: bool,
) -> None:
    """Make a set of pairs as CONFIG (YAML) says; the same command goes on with a run that was broken off.

    Several of these commands may work on one folder. Each setting: docs/pairs.md.
    """
    if address is not None and executor != "ray":
        raise click.UsageError("expected --address with --executor ray, got it without")
    settings = read_settings(config, footage, output, words)
    from realmaster.pairs.build import build_pairs

    with progress_bar(quiet=quiet, unit="video") as show_scan, progress_bar(quiet=quiet, unit="clip") as show:
        lines: list[str] = []
        more: dict[str, Any] = {"retry": retry, "progress": show, "scan_progress": show_scan}
        if executor == "local":
            tally = build_pairs(settings, **more)
        else:
            tally, lines = _on_ray(settings, address, more)
    for clip, reason in tally.reasons.items():
        click.echo(f"realmaster: warning: {clip}: {reason}", err=True)
    if not quiet:
        for line in [*summary(settings.output, tally), *lines]:
            click.echo(line)
    if tally.outcomes["failed"] or tally.outcomes["waiting"]:
        raise click.exceptions.Exit(1)


@click.command(context_settings=CONTEXT)
@click.argument("folder", metavar="SET")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def status(folder: str, as_json: bool) -> None:
    """Say how far SET is; safe while others work on it."""
    from realmaster.cli.pairs_words import status_lines
    from realmaster.errors import DataError
    from realmaster.pairs.status import read_status
    from realmaster.pairs.store import folder_of

    place = folder_of(folder)
    if place is not None and not place.is_dir():
        raise DataError(f"{folder}: expected the folder of a set, found none: check the path")

    found = read_status(folder)
    if as_json:
        click.echo(json.dumps(found.as_dict(), indent=1))
        return
    for line in status_lines(found):
        click.echo(line)


def read_settings(config: Path, footage: tuple[str, ...], output: str | None, words: tuple[str, ...]) -> PairSettings:
    """Read CONFIG and lay the options over it."""
    from realmaster.config import read_yaml
    from realmaster.errors import ConfigError
    from realmaster.models.profiles import read_changes
    from realmaster.pairs.settings import PairSettings

    values = read_yaml(config) or {}
    if not isinstance(values, dict):
        raise ConfigError(f"{config}: expected settings as NAME: VALUE, got {type(values).__name__}: see docs/pairs.md")
    for name, value in read_changes(words).items():
        *groups, last = name.split(".")
        place = values
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else place
            if not isinstance(place, dict):
                raise ConfigError(f"--set {name}: expected a setting, {group} is no group: see docs/pairs.md")
        place[last] = value
    if footage:
        names = {} if len(footage) == 1 else {index: f"footage-{index + 1}" for index in range(len(footage))}
        values["sources"] = [
            {"kind": "video", "path": path, "name": names.get(index)} for index, path in enumerate(footage)
        ]
    if output is not None:
        values["output"] = output
    return PairSettings.from_mapping(values, source=str(config))


def summary(output: str, tally: Tally) -> list[str]:
    """Say in lines what a run did."""
    counts = tally.outcomes
    done = f"{output}: {counts['accepted']} clips accepted, {counts['rejected']} rejected, {counts['failed']} failed"
    done += f", {tally.num_known} there already" if tally.num_known else ""
    done += f", {counts['waiting']} wait for their edits" if counts["waiting"] else ""
    done += f", {counts['taken']} taken by another process" if counts["taken"] else ""
    rows = ", ".join(f"{count} in {name}" for name, count in tally.rows.items() if count)
    lines = [f"{done}; {rows or 'no rows'}"]
    for split, count in tally.plan.missing.items():
        lines.append(
            f"the footage had no room for {count} of the {split} clips asked for: see `realmaster pairs status`"
        )
    if tally.plan.unusable:
        lines.append(f"{len(tally.plan.unusable)} videos could not be read: see `realmaster pairs status`")
    return lines


def _on_ray(settings: PairSettings, address: str | None, more: dict[str, Any]) -> tuple[Tally, list[str]]:
    """Build on Ray, and say how busy its workers were."""
    from realmaster.cluster.connect import RaySettings, connected
    from realmaster.cluster.pairs import RayExecutor
    from realmaster.pairs.build import build_pairs

    with connected(RaySettings(address=address)) as ray:
        executor = RayExecutor(ray, settings.compute)
        tally = build_pairs(settings, execute=executor, scanner=executor.scan, **more)
        return tally, executor.utilisation_lines()
