"""`realmaster evaluate`: score a profile on a folder of exact pairs and print the table."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from realmaster.cli.early import refuse_missing, refuse_profile
from realmaster.cli.progress import progress_bar
from realmaster.cli.values import Device, Number


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("pairs", metavar="PAIRS")
@click.option("--profile", default="nano", show_default=True, help="Which models; `realmaster doctor` lists them.")
@click.option("--adapter", metavar="FILE", help="In-context adapter (.safetensors) instead of the profile's own.")
@click.option("--reference", type=click.Choice(["cached", "joint"]), help="How the render is read.  [default: profile]")
@click.option("--split", default="test", show_default=True, help="Rows of <split>.jsonl; `all` reads manifest.jsonl.")
@click.option("--limit", type=click.IntRange(1), help="Score the first clips only.  [default: all]")
@click.option("--num-inference-steps", type=click.IntRange(1, 1000), help="Denoising steps.  [default: profile]")
@click.option("--guidance-scale", type=Number(0, 100), help="Weight of the caption; 1 is off.  [default: profile]")
@click.option("--seed", type=click.IntRange(0, 2**63 - 1), default=0, show_default=True, help="Seed of every clip.")
@click.option("--baselines/--no-baselines", default=True, show_default=True, help="Score what needs no model too.")
@click.option("--model/--no-model", default=True, show_default=True, help="Score the profile, or baselines alone.")
@click.option("--json", "json_path", type=click.Path(path_type=Path), metavar="FILE", help="Write each clip's figures.")
@click.option("--overwrite", is_flag=True, help="Replace a file of figures that exists.")
@click.option("--device", type=Device(), help="cpu, cuda, cuda:1 or mps.  [default: the fastest there is]")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar; table, warnings and errors stay.")
def command(
    pairs: str,
    profile: str,
    adapter: str | None,
    reference: Literal["cached", "joint"] | None,
    split: str,
    limit: int | None,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    seed: int,
    baselines: bool,
    model: bool,
    json_path: Path | None,
    overwrite: bool,
    device: str | None,
    quiet: bool,
) -> None:
    """Score a profile on the exact pairs in the folder PAIRS.

    Prints PSNR, SSIM, sharpness and flicker with 95 % intervals for the untouched engine clips, colour transforms
    fitted on the training split, the model, and the truth; then how often the output follows a prompt's weather.
    """
    if not baselines and not model:
        raise click.UsageError("expected something to score, got --no-baselines and --no-model: leave one out")
    from realmaster.data.pair_set import read_rows
    from realmaster.media.output import check_output

    if json_path is not None:
        check_output(json_path, overwrite=overwrite, inputs=[pairs])

    read_rows(Path(pairs), split)  # a folder that is no pair set is refused before a model is loaded
    translate = None
    if model:
        refuse_missing(adapter, None)
        refuse_profile(profile)
        from realmaster.evaluation.pairs import with_settings
        from realmaster.pipelines.translate import Translator

        translate = with_settings(
            Translator.from_profile(profile, adapter=adapter, reference=reference, device=device),
            seed=seed,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
        )
    from realmaster.evaluation.pairs import score_pairs
    from realmaster.evaluation.table import as_markdown, as_sentence, write_json
    from realmaster.evaluation.weather import weather_agreement

    with progress_bar(quiet=quiet, unit="clip") as progress:
        scores = score_pairs(translate, pairs, split, limit=limit, name=profile, baselines=baselines, progress=progress)
    for warning in scores.warnings:
        click.echo(f"realmaster: warning: {warning}", err=True)
    click.echo(as_markdown(scores))
    agreement = None
    if translate is not None:
        with progress_bar(quiet=quiet, unit="clip") as progress:
            agreement = weather_agreement(translate, pairs, split, limit=limit, progress=progress)
        click.echo(as_sentence(agreement))
    if json_path is not None:
        settings = {
            "profile": profile if model else None,
            "adapter": adapter,
            "reference": reference,
            "num_inference_steps": num_inference_steps,
            "guidance_scale": guidance_scale,
            "seed": seed,
        }
        write_json(json_path, scores, agreement, settings)
        click.echo(f"figures: {json_path}")
