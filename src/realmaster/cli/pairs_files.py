"""The part of `realmaster pairs` that works on finished sets: inspect, export, import, split, stats.

Separate from `pairs`, which makes sets and loads these only when they are called.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import click

from realmaster.cli.progress import progress_bar
from realmaster.cli.values import Number, PageName

CONTEXT = {"help_option_names": ["-h", "--help"]}
SET = click.argument("place", metavar="SET")


@click.command(context_settings=CONTEXT)
@SET
@click.option(
    "-o",
    "--output",
    type=PageName(""),
    metavar="PAGE.html",
    help="[default: SET/sheet.html; of an address: sheet.html]",
)
@click.option("--only", type=click.Choice(["all", "kept", "dropped"]), default="all", show_default=True)
@click.option("--limit", type=click.IntRange(1), default=300, show_default=True, help="Show this many clips.")
@click.option("--columns", type=click.IntRange(1, 100), default=6, show_default=True, help="Moments of each clip.")
@click.option("--width", type=click.IntRange(16, 1024), default=160, show_default=True, help="Pixels of a thumbnail.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def inspect(
    place: str,
    output: str | None,
    only: Literal["all", "kept", "dropped"],
    limit: int,
    columns: int,
    width: int,
    quiet: bool,
) -> None:
    """Write a page with every clip of SET: source, anchors, edges, result, scores, and why it was dropped.

    The page needs nothing else and can be sent; filter and sort in it. A page of this name is replaced.
    """
    from realmaster.pairs.sheet import write_sheet
    from realmaster.pairs.store import folder_of

    path = Path(output) if output else (folder_of(place) or Path()) / "sheet.html"
    with progress_bar(quiet=quiet, unit="clip") as progress:
        number = write_sheet(place, path, which=only, limit=limit, num_columns=columns, width=width, progress=progress)
    click.echo(f"{path}: {number} clips, {path.stat().st_size / 1e6:.1f} MB")


@click.command(context_settings=CONTEXT)
@SET
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["ltx-trainer", "diffsynth", "musubi", "webdataset"]),
    help="Whose columns and files.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), metavar="FOLDER", help="A new folder.")
@click.option("--split", type=click.Choice(["train", "validation"]), help="Clips of one split.  [default: all]")
@click.option("--hardlinks", is_flag=True, help="Share the files with SET instead of copying them.")
@click.option(
    "--shard-mb", type=click.IntRange(1), default=1000, show_default=True, help="webdataset: size of an archive."
)
@click.option("--overwrite", is_flag=True, help="Replace a folder that exists.")
def export(
    place: str,
    form: Literal["ltx-trainer", "diffsynth", "musubi", "webdataset"],
    output: Path,
    split: Literal["train", "validation"] | None,
    hardlinks: bool,
    shard_mb: int,
    overwrite: bool,
) -> None:
    """Write the accepted clips of SET for another trainer."""
    if hardlinks and form == "webdataset":
        raise click.UsageError("expected no --hardlinks with webdataset: archives hold copies")
    from realmaster.pairs.export import export_set

    done = export_set(
        place,
        output,
        form,
        split=split,
        hardlinks=hardlinks,
        overwrite=overwrite,
        shard_bytes=shard_mb * 1_000_000,
    )
    for warning in done.warnings:
        click.echo(f"realmaster: warning: {warning}", err=True)
    click.echo(f"{done.num_clips} clips: {done.index}")


@click.command("import", context_settings=CONTEXT)
@click.argument("source", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", "place", required=True, metavar="SET", help="Folder or fsspec address of the set to add to."
)
@click.option(
    "--identity",
    type=click.Choice(["dlib", "arcface", "none"]),
    default="dlib",
    show_default=True,
    help="Who compares faces; none leaves identity out.",
)
@click.option("--faces", type=click.Path(path_type=Path), metavar="FOLDER", help="arcface: insightface's ONNX files.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar.")
def import_(place: str, source: Path, identity: str, faces: Path | None, quiet: bool) -> None:
    """Add pairs made elsewhere to a set, scored, and judged by the thresholds of its last filter or the usual ones.

    SOURCE is a manifest (JSONL or CSV, as RealMaster, LTX-2, DiffSynth or musubi-tuner write it), a folder with
    manifest.jsonl, or WebDataset archives. A second run adds nothing twice. `pairs filter` judges again.
    """
    if (identity == "arcface") != (faces is not None):
        came = f"--identity {identity}" + (" without --faces" if faces is None else f" with --faces {faces}")
        raise click.UsageError(
            f"expected --faces FOLDER with --identity arcface, and with it alone, got {came}: "
            + ("add --faces" if faces is None else "leave --faces out or name arcface")
        )
    from realmaster.pairs.importing import import_pairs
    from realmaster.pairs.kept_thresholds import last_thresholds
    from realmaster.pairs.scoring import Scorer, ScoringSettings

    settings = ScoringSettings.from_mapping({"identity": {"model": identity, "weights": faces}}, source="import")
    with progress_bar(quiet=quiet, unit="clip") as progress:
        done = import_pairs(source, place, Scorer(settings), last_thresholds(place), progress=progress)
    for row in done.broken:
        click.echo(f"realmaster: warning: {row.where}: {row.reason}", err=True)
    broken = f", {len(done.broken)} broken" if done.broken else ""
    click.echo(
        f"{place}: {done.num_added} added, {done.num_accepted} of them kept, {done.num_known} there already{broken}"
    )


@click.command(context_settings=CONTEXT)
@SET
@click.option("--validation", type=click.IntRange(0), metavar="N", help="Accepted clips for validation, at least.")
@click.option("--share", type=Number(0, 1), help="Or their share of the accepted clips.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), default=0, show_default=True, help="Seed of the draw.")
def split(place: str, validation: int | None, share: float | None, seed: int) -> None:
    """Divide SET into training and validation again; a video is never in both."""
    if (validation is None) == (share is None):
        raise click.UsageError("expected --validation or --share, got both or neither: give one")
    from realmaster.pairs.splits import split_set

    counts = split_set(place, num_validation=validation, share=share, seed=seed)
    click.echo(f"{place}: " + ", ".join(f"{name} {count}" for name, count in counts.items()))


@click.command(context_settings=CONTEXT)
@SET
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
def stats(place: str, as_json: bool) -> None:
    """Count SET: clips, sources, why clips were dropped, and how each score is spread."""
    from realmaster.pairs.stats import as_text, set_stats

    found = set_stats(place)
    click.echo(json.dumps(found.as_json(), indent=2) if as_json else as_text(found))
