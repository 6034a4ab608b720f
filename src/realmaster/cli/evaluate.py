"""`realmaster evaluate`: score a profile on exact pairs, or compare methods as a configuration says."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from click.core import ParameterSource

from realmaster.cli.early import refuse_missing, refuse_profile
from realmaster.cli.progress import progress_bar
from realmaster.cli.values import Device, Number
from realmaster.errors import ConfigError

if TYPE_CHECKING:
    from realmaster.evaluation.comparison_settings import ComparisonSettings
    from realmaster.evaluation.run import Absent, Spread

CONFIG_OPTIONS = ("against", "output", "pairs", "workers", "words", "executor", "ray_address")
PAIRS_OPTIONS = (
    *("profile", "adapter", "reference", "split", "limit", "num_inference_steps", "guidance_scale", "seed"),
    *("baselines", "model", "json_path", "overwrite"),
)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("source", metavar="PAIRS|CONFIG.yaml")
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
@click.option("--against", metavar="FILE", help="CONFIG: exit 1 where ours is worse than this summary.json.")
@click.option("--output", type=click.Path(path_type=Path), metavar="FOLDER", help="CONFIG: instead of its output.")
@click.option("--pairs", metavar="FOLDER", help="CONFIG: instead of the folder `pairs`, wherever it is named.")
@click.option("--workers", type=click.IntRange(1, 256), help="CONFIG: processes.  [default: the configuration's]")
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="CONFIG: change a setting; repeatable.")
@click.option("--executor", type=click.Choice(["local", "ray"]), help="CONFIG: where it is measured.  [default: local]")
@click.option("--ray-address", metavar="ADDRESS", help="CONFIG: a Ray cluster.  [default: one on this machine]")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar; table, warnings and errors stay.")
@click.pass_context
def command(
    context: click.Context,
    source: str,
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
    against: str | None,
    output: Path | None,
    pairs: str | None,
    workers: int | None,
    words: tuple[str, ...],
    executor: Literal["local", "ray"] | None,
    ray_address: str | None,
    quiet: bool,
) -> None:
    """Score a profile on the exact pairs in the folder PAIRS, or compare methods as CONFIG.yaml says.

    PAIRS: prints PSNR, SSIM, sharpness and flicker with 95 % intervals for the untouched engine clips, colour
    transforms fitted on the training split, the model, and the truth; then how often the output follows a prompt's
    weather.

    CONFIG.yaml: measures any number of methods by any metrics and writes results.jsonl, tables (Markdown, CSV, LaTeX)
    and a page. Clips of methods that are baselines are made first. What was made and measured before is kept.
    docs/evaluation.md explains each metric, docs/baselines.md each baseline.
    """
    is_config = Path(source).suffix.lower() in (".yaml", ".yml")
    _refuse_options(context, set(CONFIG_OPTIONS) if not is_config else set(PAIRS_OPTIONS), is_config=is_config)
    if is_config:
        if ray_address is not None and executor != "ray":
            raise click.UsageError("expected --executor ray with --ray-address: add it")
        changes = {"output": None if output is None else str(output), "workers": workers}
        _compare(
            read_settings(
                Path(source), words, {name: value for name, value in changes.items() if value is not None}, pairs=pairs
            ),
            against=against, device=device, spread=_spread(executor, ray_address), quiet=quiet,
        )  # fmt: skip
        return
    folder = source
    if not baselines and not model:
        raise click.UsageError("expected something to score, got --no-baselines and --no-model: leave one out")
    from realmaster.data.pair_set import read_rows
    from realmaster.media.output import check_output

    if json_path is not None:
        check_output(json_path, overwrite=overwrite, inputs=[folder])

    read_rows(Path(folder), split)  # a folder that is no pair set is refused before a model is loaded
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
        scores = score_pairs(
            translate, folder, split, limit=limit, name=profile, baselines=baselines, progress=progress
        )
    for warning in scores.warnings:
        click.echo(f"realmaster: warning: {warning}", err=True)
    click.echo(as_markdown(scores))
    agreement = None
    if translate is not None:
        with progress_bar(quiet=quiet, unit="clip") as progress:
            agreement = weather_agreement(translate, folder, split, limit=limit, progress=progress)
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


def _refuse_options(context: click.Context, foreign: set[str], *, is_config: bool) -> None:
    """Refuse options that would have no effect on what is evaluated here."""
    for parameter in context.command.params:
        name = parameter.name or ""
        if name in foreign and context.get_parameter_source(name) is ParameterSource.COMMANDLINE:
            kinds = ("a CONFIG.yaml", "a folder of pairs")
            where, other = kinds if is_config else kinds[::-1]
            raise click.UsageError(f"expected no {parameter.opts[0]} with {where}: it belongs to {other}")


def read_settings(
    config: Path, words: tuple[str, ...], changes: dict[str, Any], *, pairs: str | None = None
) -> ComparisonSettings:
    """Read a comparison's settings, with changes by dotted names, and another folder for `pairs`.

    Raises:
        ConfigError: the file or a change does not fit.
    """
    from realmaster.evaluation.comparison_settings import ComparisonSettings
    from realmaster.models.profiles import read_changes

    values = ComparisonSettings.from_yaml(config).model_dump(mode="json", exclude_unset=True)
    for name, value in {**read_changes(words), **changes}.items():
        *groups, last = name.split(".")
        place: Any = values
        for group in groups:
            place = place.setdefault(group, {}) if isinstance(place, dict) else None
        if not isinstance(place, dict):
            raise ConfigError(f"{config}: {name}: expected a setting of a comparison, found no such group: correct it")
        place[last] = value
    if pairs is not None:
        values = _moved(values, pairs)
    return ComparisonSettings.from_mapping(values, source=str(config))


def _moved(value: Any, folder: str) -> Any:
    """Put another folder in place of the pair set `pairs`, in every value that names it or a file in it."""
    if isinstance(value, dict):
        return {name: _moved(inner, folder) for name, inner in value.items()}
    if isinstance(value, list):
        return [_moved(inner, folder) for inner in value]
    if isinstance(value, str) and (value == "pairs" or value.startswith("pairs/")):
        return folder.rstrip("/") + value.removeprefix("pairs")
    return value


def _spread(executor: str | None, address: str | None) -> Spread | None:
    """Give what measures scenes somewhere else than in this machine's processes."""
    if executor != "ray":
        return None
    from realmaster.cluster.connect import RaySettings
    from realmaster.cluster.scenes import spread_over_ray

    return spread_over_ray(RaySettings(address=address))


def _make(settings: ComparisonSettings, *, device: str | None, quiet: bool) -> tuple[ComparisonSettings, Absent]:
    """Train and make what the methods lack, and say what that took."""
    if not settings.made:
        return settings, {}
    from realmaster.cli.trained import train_missing
    from realmaster.evaluation.made import make_clips

    settings = train_missing(settings, quiet=quiet)
    made, absent = make_clips(
        settings, device=device, progress=lambda name: progress_bar(quiet=quiet, unit="clip", title=name)
    )
    for name, done in made.items():
        if done.made:
            click.echo(f"{name}: {len(done.made)} clips made in {done.seconds:.1f} s, {len(done.kept)} kept")
    return settings, absent


def _compare(
    settings: ComparisonSettings, *, against: str | None, device: str | None, spread: Spread | None, quiet: bool
) -> None:
    """Run a comparison: clips, rows, tables, page, guard."""
    from realmaster.evaluation.comparison_settings import list_scenes
    from realmaster.evaluation.guard import guard, read_baseline

    metrics = settings.chosen_metrics()  # a misspelt one is refused before clips are made
    baseline = None
    if against is not None:
        baseline = read_baseline(
            Path(against), settings.our_method, [scene.name for scene in list_scenes(settings.clips)]
        )
    from realmaster.evaluation.comparison import compare
    from realmaster.evaluation.comparison_page import write_page
    from realmaster.evaluation.comparison_table import FILES, as_markdown, write_tables
    from realmaster.evaluation.run import evaluate

    settings, absent = _make(settings, device=device, quiet=quiet)
    with progress_bar(quiet=quiet, unit="clip") as progress:
        results = evaluate(settings, progress=progress, absent=absent, spread=spread)
    comparison = compare(
        results.rows,
        metrics,
        tuple(settings.methods),
        ours=settings.our_method,
        baselines=settings.baseline_methods,
        title=settings.title,
    )
    write_tables(comparison, settings.output)
    page = write_page(settings.output / "report.html", comparison, settings)
    click.echo(as_markdown(comparison))
    speeds = ", ".join(f"{name} {speed:.1f}" for name, speed in comparison.speeds.items())
    click.echo(f"frames per second: {speeds}" if speeds else "frames per second: nothing was measured")
    judged = [row.details for row in results.rows if "input_tokens" in row.details]
    if judged:
        tokens = tuple(sum(details[name] for details in judged) for name in ("input_tokens", "output_tokens"))
        prices = [details["dollars"] for details in judged if details["dollars"] is not None]
        cost = f", {sum(prices):.2f} dollars" if len(prices) == len(judged) else ", cost unknown without prices"
        click.echo(f"judge, kept answers included: {tokens[0]:,} tokens asked, {tokens[1]:,} answered{cost}")
    others = {"kept from before": results.num_kept, "absent (under the table stands why)": results.num_not_measured}
    parts = "".join(f"; {number} {what}" for what, number in others.items() if number)
    click.echo(f"measured now: {results.num_measured} of {len(results.rows)} figures{parts}")
    click.echo(f"tables: {', '.join(str(settings.output / name) for name in ('results.jsonl', *FILES))}; page: {page}")
    if baseline is None:
        return
    guarded = guard(comparison, baseline)
    for line in guarded.not_compared:
        click.echo(f"realmaster: warning: not compared with {against}: {line}", err=True)
    for line in guarded.worse:
        click.echo(f"realmaster: worse than {against}: {line}", err=True)
    if guarded.worse:
        raise click.exceptions.Exit(1)
    click.echo(f"{guarded.num_compared} metrics compared with {against}: none is worse by more than its interval")
