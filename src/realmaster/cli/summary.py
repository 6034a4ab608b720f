"""The closing lines of a translation: how much, how fast, where the time went, how much memory."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from realmaster.pipelines.translate import Translation


def summary(translation: Translation, seconds: dict[str, float], wall_seconds: float, page: Path | None) -> str:
    """Write the lines for stdout; the shares of the stages in `seconds` are of the wall time of the whole command."""
    frames, info = translation.num_frames, translation.info
    speed = frames / wall_seconds
    lines = [
        f"{translation.output}: {frames} frames, {info.width}x{info.height}, {float(info.frame_rate):g} per second",
        f"time: {wall_seconds:.1f} s, {speed:.2f} frames per second, peak memory {peak_memory_gb():.1f} GB",
        "share: " + ", ".join(f"{stage} {share:.0%}" for stage, share in shares(seconds, wall_seconds)),
    ]
    if page is not None:
        lines.append(f"report: {page}")
    return "\n".join(lines)


def shares(seconds: dict[str, float], wall_seconds: float) -> list[tuple[str, float]]:
    """Give each stage's share of the wall time, in the order of the stages; what no stage counts is `other`."""
    other = max(wall_seconds - sum(seconds.values()), 0.0)
    return [(stage, spent / wall_seconds) for stage, spent in {**seconds, "other": other}.items()]


def peak_memory_gb() -> float:
    """Read the largest resident size this process has had, in GB (10^9 bytes); 0 where the system does not say."""
    if sys.platform == "win32":
        return 0.0
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS, KiB elsewhere
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9
