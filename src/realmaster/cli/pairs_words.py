"""How far a set of pairs is, in lines for a terminal.

Separate from the command so that the words are tested without one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from realmaster.pairs.status import Status

_MOST_REASONS = 8


def status_lines(status: Status) -> list[str]:
    """Write counts, rates, time left and reasons."""
    splits = ", ".join(f"{split} {kept} of {planned}" for split, (kept, planned) in status.by_split.items())
    lines = [
        f"{status.root}: {status.num_planned} clips planned; accepted: {splits}",
        f"{status.num_accepted} accepted, {status.num_rejected} rejected, {status.num_failed} failed, "
        f"{status.num_left} left{_under_way(status.under_way)}",
    ]
    if status.clips_per_hour is not None:
        left = f", {tqdm.format_interval(status.seconds_left)} left" if status.seconds_left is not None else ""
        lines.append(f"lately {status.clips_per_hour:,.0f} clips an hour{left}")
    if status.stages:
        lines.append("stage       clips  clips/h of a worker  share of work  within models")
        total = sum(rate.seconds for rate in status.stages.values()) or 1.0
        for name, rate in status.stages.items():
            within = rate.model_seconds / rate.seconds if rate.seconds > 0 else 0.0
            lines.append(
                f"{name:10} {rate.num_clips:6} {rate.clips_per_hour:20,.0f} {rate.seconds / total:14.0%} {within:14.0%}"
            )
    if status.share_without_models is not None:
        lines.append(f"no model at work: {status.share_without_models:.1%} of the time")
    lines += _counted("rejected", status.reasons)
    lines += _counted("failed", status.failures)
    lines += _counted("footage dropped, stretches", status.dropped)
    lines += [f"cannot be read: {reason}" for reason in list(status.unusable.values())[:_MOST_REASONS]]
    lines += [f"no room in the footage: {count} {split} clips" for split, count in status.missing.items()]
    return lines


def _under_way(under_way: Mapping[str, int]) -> str:
    return f" ({', '.join(f'{count} after {stage}' for stage, count in under_way.items())})" if under_way else ""


def _counted(title: str, counts: Mapping[str, int]) -> list[str]:
    lines = [f"{title}: {count} x {reason}" for reason, count in list(counts.items())[:_MOST_REASONS]]
    more = len(counts) - _MOST_REASONS
    return [*lines, f"{title}: {more} further reasons"] if more > 0 else lines
