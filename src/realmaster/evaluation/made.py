"""Make the clips that a comparison asks for: baselines run into its own folder before anything is measured.

Separate from the measuring, which looks at files only: what is made here stays, and a second run makes what is
missing or was made otherwise.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

from realmaster.errors import ConfigError, RealMasterError
from realmaster.evaluation.baselines.registry import make_baseline
from realmaster.evaluation.baselines.run import Made, run_baseline
from realmaster.evaluation.comparison_settings import ComparisonSettings, find_scenes
from realmaster.evaluation.run import Absent, Progress, check_folder

logger = logging.getLogger(__name__)


def make_clips(
    settings: ComparisonSettings,
    *,
    device: str | None = None,
    progress: Callable[[str], AbstractContextManager[Progress]] | None = None,
) -> tuple[dict[str, Made], Absent]:
    """Make the clips of all methods that are baselines; give what was made, and why clips are absent.

    A method that lacks weights, or fails, is absent with the reason; the others are made and measured.

    Args:
        settings: the comparison.
        device: of models; None is the fastest there is.
        progress: gives a context with a function of (clips done, in all), for the name of a method.

    Raises:
        ConfigError: no such baseline or setting, or one that costs money, which is run by hand.
        OutputError: the folder cannot be written.
    """
    scenes = find_scenes(settings)
    baselines = {
        name: make_baseline(method.baseline, method.settings, device=device, source=f"methods.{name}.settings")
        for name, method in settings.made.items()
    }
    for name, baseline in baselines.items():
        if baseline.cost([]) is not None:
            raise ConfigError(
                f"methods.{name}: expected a method that costs nothing, got one that is paid: make its clips with "
                f"`realmaster baselines run {settings.made[name].baseline}`, and give their pattern here"
            )
    check_folder(settings.output)
    done: dict[str, Made] = {}
    absent: dict[str, dict[str, str]] = {}
    for name, baseline in list(baselines.items()):
        method = settings.made[name]
        lacking = baseline.lacking()
        if lacking is not None:
            logger.warning("%s: %s", name, lacking)
            absent[name] = {"": str(lacking)}
            continue
        try:
            with progress(name) if progress is not None else nullcontext() as show:
                done[name] = run_baseline(
                    method.baseline,
                    baseline,
                    scenes,
                    settings.clips_folder(name),
                    caption=settings.clips.caption,
                    seed=method.seed,
                    codec="lossless",
                    replace=True,
                    progress=show,
                )
        except ConfigError:
            raise
        except RealMasterError as error:
            logger.warning("%s: %s", name, error)
            absent[name] = {"": str(error)}
            continue
        absent[name] = dict(done[name].failed)
        del baselines[name], baseline  # its models leave before the next one's come
    if baselines and len(baselines) == len(settings.methods):
        first = next(iter(absent.values()))[""]
        raise ConfigError(f"expected a method that can run here, found none, the first one lacks: {first}")
    return done, absent
