"""`realmaster cache CONFIG`: check the data of a training run, and encode it ahead of the run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from realmaster.cli.progress import progress_bar

if TYPE_CHECKING:
    from realmaster.training.settings import TrainSettings


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("config", metavar="CONFIG", type=click.Path(path_type=Path))
@click.option("--check", is_flag=True, help="Count clips by bucket and name broken rows; encode nothing.")
@click.option("--set", "words", multiple=True, metavar="NAME=VALUE", help="Change a setting of CONFIG; repeatable.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar; warnings and errors stay.")
def command(config: Path, check: bool, words: tuple[str, ...], quiet: bool) -> None:
    """Encode the clips and captions that `realmaster train CONFIG` will read; what is there is kept.

    The transformers are not loaded. Several of these commands, one a GPU, may fill one cache together.
    docs/training-data.md explains manifest and cache.
    """
    from realmaster.models.profiles import read_changes
    from realmaster.training.settings import TrainSettings

    settings = TrainSettings.read(config, read_changes(words))
    if check:
        report_survey(settings)
        return
    from realmaster.training.cache_models import build_run_cache

    with progress_bar(quiet=quiet, unit="clip") as show:
        dataset = build_run_cache(settings, progress=show)
    for bucket, count in count_buckets(dataset.buckets).items():
        click.echo(f"{bucket}: {count} clips")
    click.echo(f"{settings.cache_folder}: {len(dataset)} clips, {dataset.num_variants} variants each")


def report_survey(settings: TrainSettings) -> None:
    """Print the clips of each bucket; refuse broken rows as the run would."""
    from realmaster.data.manifest import refuse_broken, scan_manifest
    from realmaster.training.cache_plan import survey_pairs

    rows, broken = scan_manifest(settings.data.manifest)
    survey = survey_pairs(rows, settings.data.encode, workers=settings.data.workers)
    for bucket, count in survey.num_clips.items():
        click.echo(f"{bucket}: {count} clips")
    broken += survey.broken
    refuse_broken(broken, num_rows=len(rows) + len(broken) - len(survey.broken), skip_broken=settings.data.skip_broken)


def count_buckets(buckets: list[str]) -> dict[str, int]:
    """Count the clips of each bucket, the fullest first."""
    from collections import Counter

    return dict(Counter(buckets).most_common())
