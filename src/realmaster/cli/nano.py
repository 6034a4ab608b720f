"""`realmaster nano`: what concerns the embedded models themselves."""

from __future__ import annotations

from pathlib import Path

import click

PARTS = ("autoencoder", "base", "reference", "refiner", "lora", "editor", "vace")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Make the embedded models, nano, again."""


@command.command()
@click.option("--pairs", multiple=True, required=True, type=click.Path(path_type=Path), help="Pair set; repeatable.")
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Run folder; run again to go on.")
@click.option("--recipe", type=click.Path(path_type=Path), help="YAML of settings.  [default: the shipped recipe]")
@click.option("--only", multiple=True, type=click.Choice(PARTS), help="Train this part alone; repeatable.")
def train(pairs: tuple[Path, ...], output: Path, recipe: Path | None, only: tuple[str, ...]) -> None:
    """Train the parts of nano in order; finished parts are kept, a broken-off part goes on."""
    import logging

    from realmaster.training.nano import NanoRecipe, train_nano

    logging.getLogger("realmaster").setLevel(logging.INFO)
    settings = NanoRecipe() if recipe is None else NanoRecipe.from_yaml(recipe)
    click.echo(train_nano(pairs, output, settings, only=only))
