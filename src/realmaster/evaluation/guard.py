"""The regression guard: did ours get worse than a stored summary by more than its interval?

Separate because a script asks it, and wants one answer and the lines that explain it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realmaster.errors import ConfigError
from realmaster.evaluation.comparison import Comparison

HOW = "give the summary.json of an earlier run"


@dataclass(frozen=True)
class Guarded:
    """What became worse, and what could not be compared, in sentences."""

    worse: tuple[str, ...]
    not_compared: tuple[str, ...]
    num_compared: int


def read_baseline(path: Path, ours: str, clips: Sequence[str]) -> dict[str, Any]:
    """Read the summary of an earlier run over the same clips.

    Raises:
        ConfigError: the file is no summary, knows no method of this name, or is of other clips.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        metrics, known_clips = content["metrics"], set(content["clips"])
        known = {method for values in metrics.values() for method in values["methods"]}
        for values in metrics.values():
            for found in values["methods"].values():
                float(found["low"]), float(found["high"]), float(found["mean"])
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: expected a summary, could not read it ({error}): {HOW}") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{path}: expected a summary of means and intervals, got another file: {HOW}") from error
    if ours not in known:
        raise ConfigError(
            f"{path}: expected figures of the method {ours!r}, found {', '.join(sorted(known)) or 'none'}: {HOW}"
        )
    if known_clips != set(clips):
        raise ConfigError(
            f"{path}: expected figures of the same {len(clips)} clips, found {len(known_clips)} clips, "
            f"{len(known_clips & set(clips))} of them the same: {HOW} over these clips"
        )
    return dict(metrics)


def guard(comparison: Comparison, baseline: dict[str, Any]) -> Guarded:
    """Compare ours with its figures in a baseline (`read_baseline`).

    Worse is a mean beyond the bad end of the baseline's 95 % interval, and a figure that has gone. Figures made with
    other weights, models or definitions are not compared, which is said.
    """
    now = {metric.name: metric for metric in comparison.metrics}
    made_with = {row.metric: row.made_with for row in comparison.rows if row.made_with}
    worse, not_compared, num_compared = [], [], 0
    for name, values in baseline.items():
        before = values["methods"].get(comparison.ours)
        if before is None or values.get("direction") == "neither":
            continue
        if name not in now:
            not_compared.append(f"{name}: not among this run's metrics")
            continue
        metric, found = now[name], comparison.cells[comparison.ours, name]
        if found.score is None:
            worse.append(f"{metric.title}: absent now ({found.reason}), was {before['mean']:.{metric.digits}f}")
            continue
        if (metric.version, made_with.get(name, "")) != (values.get("version"), values.get("made_with")):
            not_compared.append(f"{metric.title}: measured with other weights, models or definitions than the baseline")
            continue
        num_compared += 1
        end = before["low"] if metric.direction == "higher" else before["high"]
        if metric.is_better(end, found.score.mean):
            worse.append(
                f"{metric.title}: {found.score.mean:.{metric.digits}f} now, was {before['mean']:.{metric.digits}f} "
                f"[{before['low']:.{metric.digits}f}, {before['high']:.{metric.digits}f}]"
            )
    return Guarded(tuple(worse), tuple(not_compared), num_compared)
