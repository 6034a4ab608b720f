"""Train the adapters that a comparison asks for, before it makes clips with them.

Separate because it joins two rooms that do not know each other: evaluation says which adapter, training makes it. A run
that is done is not begun again, one that was broken off goes on.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from realmaster.cli.progress import progress_bar
from realmaster.cli.train import score_frames, show_progress

if TYPE_CHECKING:
    from realmaster.evaluation.comparison_settings import ComparisonSettings, TrainedHere


def train_missing(settings: ComparisonSettings, *, quiet: bool) -> ComparisonSettings:
    """Train what is not trained yet, and give the settings with the adapters in place.

    Raises:
        ConfigError: a config does not fit, or a method that trains is given an adapter too.
        RealMasterError: the training fails; what is trained so far is kept.
    """
    methods: dict[str, Any] = dict(settings.methods)
    for name, method in settings.made.items():
        if method.train is not None:
            adapter = _adapter(name, method.train, quiet=quiet)
            methods[name] = method.model_copy(
                update={"settings": {**method.settings, "adapter": str(adapter)}, "train": None}
            )
    return settings.model_copy(update={"methods": methods})


def _adapter(name: str, train: TrainedHere, *, quiet: bool) -> Path:
    """Train a method's adapter unless that is done; give the folder of its last checkpoint."""
    from realmaster.training.checkpoints import Checkpoints
    from realmaster.training.settings import TrainSettings

    chosen = TrainSettings.read(train.config, train.settings)
    num_steps = sum(expert.num_steps for expert in chosen.experts.values())
    newest = Checkpoints(chosen.output / "checkpoints", figure=chosen.validation.figure).newest()
    if newest is None or newest.step < num_steps:
        from realmaster.training.run import train as run

        click.echo(f"{name}: training {num_steps} steps in {chosen.output}", err=True)
        with progress_bar(quiet=quiet, unit="clip", title=name) as show_cache:
            newest = run(
                chosen, score=score_frames, show=None if quiet else show_progress(), show_cache=show_cache
            ).newest
    return newest.folder
