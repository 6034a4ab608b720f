"""`realmaster adapter`: look into an adapter file, bring it to other programs, bring other programs' LoRAs in."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realmaster.cli.values import Number

if TYPE_CHECKING:
    from realmaster.models.adapter_metadata import AdapterMetadata
    from realmaster.models.adapter_summary import Layer, Summary

EXPERTS = {"high-noise": "transformer", "low-noise": "transformer_2"}
MODEL_DIR_HELP = "Folder of the base, or one with a subfolder per profile.  [default: as `translate` finds it]"


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Inspect adapters and carry them between diffusers, ComfyUI and Kohya's trainers.

    FILE is an adapter file (.safetensors). For a base with two experts it is either of the two files, the name that
    they share without _high_noise and _low_noise, or their folder.
    """


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--profile", help="Say of this profile alone whether it fits; exit with 2 if not.  [default: all]")
@click.option("--model-dir", type=click.Path(path_type=Path), help=MODEL_DIR_HELP)
@click.option("--layers", is_flag=True, help="A line for each layer instead of one for each kind.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object.")
@click.pass_context
def inspect(
    ctx: click.Context, file: Path, profile: str | None, model_dir: Path | None, layers: bool, as_json: bool
) -> None:
    """Say what an adapter is, how much it changes each layer, and which profiles it fits."""
    from realmaster.models.adapter_metadata import find_adapter
    from realmaster.models.adapter_summary import summarise
    from realmaster.models.profiles import list_profiles, load_profile

    names = list_profiles() if profile is None else [profile]
    profiles = [load_profile(name, model_dir=model_dir) for name in names]
    summaries = [summarise(path, profiles) for path in find_adapter(file).values()]
    if as_json:
        click.echo(json.dumps({"files": [_plain(summary) for summary in summaries]}, indent=2))
    else:
        click.echo("\n\n\n".join(page(summary, every_layer=layers) for summary in summaries))
    if profile is not None and not all(fit.fits for summary in summaries for fit in summary.fits):
        ctx.exit(2)


@command.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "form",
    required=True,
    type=click.Choice(["diffusers", "comfyui", "kohya", "merge"]),
    help="Whose names to use; merge adds the adapter to its base.",
)
@click.option("-o", "--output", required=True, type=click.Path(path_type=Path), help="File; with merge, a folder.")
@click.option("--profile", help="merge: the base.  [default: the adapter's]")
@click.option("--model-dir", type=click.Path(path_type=Path), help=f"merge: {MODEL_DIR_HELP}")
@click.option("--strength", type=Number(-10, 10), help="merge: weight of the adapter.  [default: 1]")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def export(
    file: Path,
    form: str,
    output: Path,
    profile: str | None,
    model_dir: Path | None,
    strength: float | None,
    overwrite: bool,
) -> None:
    """Write an adapter for another program, one file an expert, or merge it into its base."""
    from realmaster.models.adapter_convert import export_adapter, export_merged
    from realmaster.models.adapter_metadata import read_metadata
    from realmaster.models.profiles import load_profile

    if form != "merge":
        for option, value in (("--profile", profile), ("--model-dir", model_dir), ("--strength", strength)):
            if value is not None:
                raise click.UsageError(f"{option} has no effect with --format {form}: leave it out")
        written = export_adapter(file, output, form, overwrite=overwrite)  # type: ignore[arg-type]
    else:
        told = None if profile is not None else read_metadata(file)
        name = profile or (told.profile or told.base_model if told is not None else "")
        base = load_profile(name, model_dir=model_dir)
        weight = 1.0 if strength is None else strength
        written = export_merged(file, output, base, strength=weight, overwrite=overwrite)
    for path in written:
        click.echo(f"wrote {path}")


@command.command(name="import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    help="The adapter; for two experts the name both share.",
)
@click.option("--low-noise", type=click.Path(path_type=Path), help="The low-noise expert's LoRA; FILE is the other's.")
@click.option(
    "--expert", type=click.Choice(list(EXPERTS)), help="Which of two experts FILE is for.  [default: its name]"
)
@click.option("--profile", help="The base it was trained over, as a profile.  [default: what the file says]")
@click.option("--model-dir", type=click.Path(path_type=Path), help=MODEL_DIR_HELP)
@click.option("--reference", type=click.Choice(["cached", "joint"]), help="How it was trained to read the reference.")
@click.option("--reference-scale", type=click.IntRange(1, 2), help="How much smaller the reference was.")
@click.option("--frame-rate", type=click.IntRange(1), help="Frames a second of its training clips.")
@click.option("--alpha", type=Number(0, min_open=True), help="Its alpha, where the file holds none.  [default: rank]")
@click.option("--overwrite", is_flag=True, help="Replace an output that exists.")
def import_(
    file: Path,
    output: Path,
    low_noise: Path | None,
    expert: str | None,
    profile: str | None,
    model_dir: Path | None,
    overwrite: bool,
    **facts: Any,
) -> None:
    """Make an adapter of a LoRA in diffusers', ComfyUI's or Kohya's names.

    A file that RealMaster exported says everything itself. For another one, say what it was trained for: --profile and
    --reference at least.
    """
    from realmaster.models.adapter_convert import Facts, import_adapter
    from realmaster.models.adapter_metadata import find_adapter
    from realmaster.models.profiles import load_profile

    if low_noise is not None and expert is not None:
        raise click.UsageError(
            "expected --low-noise or --expert, got both: with two files FILE is the high-noise one's"
        )
    files: Any
    if low_noise is not None:
        files = {"transformer": file, "transformer_2": low_noise}
    else:
        files = {EXPERTS[expert]: file} if expert is not None else find_adapter(file)
    base = None if profile is None else load_profile(profile, model_dir=model_dir)
    for path in import_adapter(files, output, Facts(profile=base, **facts), overwrite=overwrite):
        click.echo(f"wrote {path}")


def page(summary: Summary, *, every_layer: bool) -> str:
    """Lay a summary out for a terminal."""
    from realmaster.cli.doctor import table

    told = summary.metadata
    alpha = f"{summary.alpha:g}" if summary.says_alpha else f"{summary.alpha:g} (not in the file: the rank)"
    facts = [
        ("adapter", summary.path),
        (
            "format",
            f"{summary.form} names, {summary.dtype}, {summary.num_parameters / 1e6:.1f} M parameters in "
            f"{len(summary.layers)} layers",
        ),
        ("rank, alpha", f"{summary.rank}, {alpha}"),
        *(
            _facts(told, summary.path)
            if told is not None
            else [("metadata", "none of RealMaster's: add it with `adapter import`")]
        ),
    ]
    fits = [
        (
            fit.profile,
            "fits" if fit.fits else "does not fit",
            (fit.reason or "").removeprefix(f"{summary.path}: ")
            or ("sizes checked" if fit.sizes_checked else "by what it says; the sizes of its base are not known here"),
        )
        for fit in summary.fits
    ]
    rows = _every_layer(summary.layers) if every_layer else _kinds(summary.layers)
    note = "norm: Frobenius norm of the change; effective rank: singular values that hold 90 % of its square"
    return "\n\n".join([table(facts), table(rows), note, table(fits)])


def _facts(told: AdapterMetadata, path: str) -> list[tuple[str, str]]:
    names = {value: name for name, value in EXPERTS.items()}
    alone = told.all_experts == ("transformer",) and "high_noise" not in Path(path).name
    expert = "the only transformer" if alone else f"{names[told.expert]} expert"
    sizes = ", ".join(f"{size.num_frames} frames of {size.width}x{size.height}" for size in told.sizes)
    scale = "" if told.reference_scale == 1 else f" at 1/{told.reference_scale} of the size"
    adapted = "" if told.reference_adapted else ", read without the adapter"
    return [
        ("base", told.base_model + (f" at {told.base_revision}" if told.base_revision else "")),
        ("profile", f"{told.profile or told.base_model}, {expert}"),
        ("reference", f"{told.reference}{scale}{adapted}"),
        ("trained at", f"{told.frame_rate} frames a second" + (f", {sizes}" if sizes else "")),
        ("data", told.data_digest or "not said"),
        ("written by", f"RealMaster {told.realmaster_version}" if told.realmaster_version else "not said"),
    ]


def _kinds(layers: tuple[Layer, ...]) -> list[tuple[str, ...]]:
    """One row for each kind of layer: its mean and largest change over the blocks, and where that is."""
    kinds: dict[str, list[Layer]] = defaultdict(list)
    for layer in layers:
        block, _, kind = layer.module.removeprefix("blocks.").partition(".")
        kinds[kind if block.isdigit() else layer.module].append(layer)
    rows: list[tuple[str, ...]] = [
        ("layer", "number", "size", "mean norm", "largest norm", "in", "mean effective rank")
    ]
    for kind, same in kinds.items():
        most = max(same, key=lambda layer: layer.norm)
        rows.append(
            (
                kind,
                str(len(same)),
                f"{most.out_features} x {most.in_features}",
                f"{sum(layer.norm for layer in same) / len(same):.4g}",
                f"{most.norm:.4g}",
                ".".join(most.module.split(".")[:2]),
                f"{sum(layer.effective_rank for layer in same) / len(same):.1f}",
            )
        )
    return rows


def _every_layer(layers: tuple[Layer, ...]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("layer", "size", "norm", "largest singular value", "effective rank")]
    for layer in layers:
        size = f"{layer.out_features} x {layer.in_features}"
        rows.append((layer.module, size, f"{layer.norm:.4g}", f"{layer.largest:.4g}", str(layer.effective_rank)))
    return rows


def _plain(summary: Summary) -> dict[str, Any]:
    told = summary.metadata
    return asdict(summary) | {"metadata": None if told is None else told.model_dump(mode="json")}
