"""`realmaster baselines`: list the methods to compare with, and run one over clips."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from realmaster.cli.progress import progress_bar
from realmaster.cli.values import Device
from realmaster.errors import ConfigError

if TYPE_CHECKING:
    from realmaster.evaluation.comparison_settings import Scene


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """List the methods to compare with, and run one over clips."""


@command.command("list", short_help="Name them, and say what each lacks here.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array.")
def list_(name: str | None, as_json: bool) -> None:
    """Name all baselines and say what each lacks on this machine, or explain the settings of NAME."""
    if name is not None:
        _explain(name, as_json=as_json)
        return
    from realmaster.evaluation.baselines.run import describe_all

    found = list(describe_all())
    if as_json:
        keys = ("name", "help", "lacks")
        click.echo(
            json.dumps([dict(zip(keys, (n, h, w or (str(e) if e else "")), strict=True)) for n, h, w, e in found])
        )
        return
    width = max(len(name) for name, *_ in found)
    for method, text, lacking, error in found:
        state = f"cannot be loaded: {error}" if error else (lacking or "can run here")
        click.echo(f"{method:<{width}}  {text}\n{'':<{width}}  {state}")


@command.command(short_help="Make a method's clips.")
@click.argument("name")
@click.argument("clips")
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="Folder for <clip>.mp4 files.")
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="A setting of the method; repeatable.")
@click.option("--split", default="test", show_default=True, help="Rows of <split>.jsonl; `all` reads manifest.jsonl.")
@click.option("--caption", default="", help="What is seen, for clips without a caption of their own.")
@click.option("--limit", type=click.IntRange(1), help="The first clips only.  [default: all]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of every clip.")
@click.option(
    "--codec", type=click.Choice(["h264", "lossless"]), default="h264", show_default=True, help="lossless writes .mkv."
)
@click.option("--device", type=Device(), help="cpu, cuda, cuda:1 or mps.  [default: the fastest there is]")
@click.option("--yes", is_flag=True, help="Agree to the cost of a paid method without being asked.")
@click.option("--overwrite", is_flag=True, help="Replace clips that were made with other settings.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar; warnings and errors stay.")
def run(
    name: str,
    clips: str,
    output: Path,
    words: tuple[str, ...],
    split: str,
    caption: str,
    limit: int | None,
    seed: int,
    codec: Literal["h264", "lossless"],
    device: str | None,
    yes: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Make the method NAME's version of CLIPS, on the renders' own size, rate and length.

    CLIPS is a pair set (its <split>.jsonl), or a pattern of renders such as 'renders/{clip}.mp4'. A second run goes on
    where the first one was broken off. `realmaster baselines list NAME` explains the settings.
    """
    from realmaster.evaluation.baselines.registry import make_baseline
    from realmaster.models.profiles import read_changes

    baseline = make_baseline(name, read_changes(words), device=device, source=f"baseline {name}")
    scenes = find_clips(clips, split)[:limit]
    from realmaster.evaluation.baselines.run import run_baseline

    if baseline.lacking() is None:  # which is refused below
        _agree(name, baseline, scenes, output, yes=yes, caption=caption, seed=seed, codec=codec)
    with progress_bar(quiet=quiet, unit="clip") as progress:
        made = run_baseline(
            name, baseline, scenes, output,
            caption=caption, seed=seed, codec=codec, replace=overwrite, progress=progress,
        )  # fmt: skip
    click.echo(
        f"{output}: {len(made.made)} clips made in {made.seconds:.1f} s, {len(made.kept)} kept, "
        f"{len(made.failed)} failed"
    )
    credits = [report["credits"] for report in made.reports if "credits" in report]
    if credits:
        click.echo(f"charged: {sum(credits):,.0f} credits")
    if made.failed:
        first, reason = next(iter(made.failed.items()))
        raise ConfigError(
            f"{len(made.failed)} of {len(scenes)} clips could not be made, the first is {first}: {reason}"
        )


def find_clips(clips: str, split: str) -> list[Scene]:
    """Find clips in a pair set or by a pattern.

    Raises:
        ConfigError: it is neither, or there are none.
    """
    from realmaster.evaluation.comparison_settings import ClipSettings, list_scenes

    if "{clip}" in clips:
        return list_scenes(ClipSettings.from_mapping({"render": clips}, source="CLIPS"))
    if not Path(clips).is_dir():
        raise ConfigError(
            f"expected a pair set or a pattern with {{clip}}, found no folder {clips!r}: write one of them"
        )
    return list_scenes(ClipSettings.from_mapping({"pairs": clips, "split": split}, source="CLIPS"))


def _agree(
    name: str, baseline: Any, scenes: list[Scene], output: Path, *, yes: bool, caption: str, seed: int, codec: Any
) -> None:
    """Show what a paid method will cost, and ask."""
    if baseline.cost([]) is None:
        return
    from realmaster.evaluation.baselines.run import read_infos, todo

    left = todo(name, baseline, scenes, output, caption=caption, seed=seed, codec=codec)
    if not left:
        return
    click.echo(f"{name}: {baseline.cost(read_infos(left))}", err=True)
    if yes:
        return
    try:
        agreed = click.confirm("Send these clips and pay for them?", err=True)
    except click.Abort:
        raise ConfigError("expected an answer whether to pay, got none: answer, or add --yes") from None
    if not agreed:
        raise ConfigError("not agreed to the cost: nothing was sent")


def _explain(name: str, *, as_json: bool) -> None:
    """Print a baseline's settings with their defaults and descriptions."""
    from realmaster.evaluation.baselines.registry import make_baseline

    fields = type(make_baseline(name).settings).model_fields
    rows = [
        {"name": key, "default": field.get_default(call_default_factory=True), "description": field.description or ""}
        for key, field in fields.items()
    ]
    if as_json:
        click.echo(json.dumps(rows, default=str))
        return
    for row in rows:
        default = "null" if row["default"] is None else row["default"]
        click.echo(f"{row['name']} = {default}\n    {row['description']}")
