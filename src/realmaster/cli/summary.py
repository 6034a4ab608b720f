"""The closing lines of a translation: how much, how fast, where the time went, how much memory."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realmaster.pipelines.translate import Translation


def summary(translation: Translation, seconds: Mapping[str, float], page: Path | None, page_seconds: float) -> str:
    """Write the lines for stdout: the time and its shares are of `seconds`, from the start until the clip was written.

    The report comes after that, and is told apart with its own time.
    """
    frames, info, wall_seconds = translation.num_frames, translation.info, sum(seconds.values())
    speed = frames / wall_seconds
    lines = [
        f"{translation.output}: {frames} frames, {info.width}x{info.height}, {float(info.frame_rate):g} per second",
        f"time: {wall_seconds:.1f} s, {speed:.2f} frames per second, peak memory {peak_memory_gb():.1f} GB",
        "share: " + ", ".join(f"{stage} {spent / wall_seconds:.0%}" for stage, spent in seconds.items()),
    ]
    if page is not None:
        lines.append(f"report: {page} ({page_seconds:.1f} s more)")
    return "\n".join(lines)


def with_other(seconds: Mapping[str, float], wall_seconds: float) -> dict[str, float]:
    """Add what no stage counts as `other`, so that the stages add up to the wall time."""
    return {**seconds, "other": max(wall_seconds - sum(seconds.values()), 0.0)}


def peak_memory_gb() -> float:
    """Read the largest resident size this process has had, in GB (10^9 bytes); 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
