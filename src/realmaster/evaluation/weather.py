"""Does the prompt decide the weather? Measured where one engine clip has several camera clips in different weathers.

Separate from the table of scores because its unit is a comparison (an asked weather and another one), not a clip.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from realmaster.data.pair_set import Frames, PairRow, read_rows
from realmaster.evaluation.intervals import Score, score
from realmaster.evaluation.pairs import Progress, Translate


@dataclass(frozen=True)
class Comparison:
    """One question: asked for this weather, is the output nearer to its truth than to the other weather's?"""

    clip: str  # name of the first row with this engine clip
    asked: str
    other: str
    error_to_asked: float  # mean squared error, levels of 255 squared
    error_to_other: float

    @property
    def agrees(self) -> bool:
        """True where the asked weather's truth is strictly nearer."""
        return self.error_to_asked < self.error_to_other


@dataclass(frozen=True)
class WeatherAgreement:
    """All comparisons of a split, and the share that agrees with its interval (None without a comparison)."""

    comparisons: tuple[Comparison, ...]
    share: Score | None
    num_engine_clips: int


def weather_agreement(
    translate: Translate,
    folder: str | Path,
    split: str = "test",
    *,
    limit: int | None = None,
    progress: Progress | None = None,
) -> WeatherAgreement:
    """Ask for each weather of each engine clip that has several, and compare the outputs with all its truths.

    The distance is the mean squared error over RGB, frame by frame. Each ordered pair (asked, other) is one
    comparison. The interval draws engine clips, not comparisons, since those of one clip belong together.

    Args:
        translate: a function of frames and prompt; the prompt is the asked truth's caption.
        folder: a pair set.
        split: its split; "all" reads the manifest.
        limit: use the first engine clips only.
        progress: called with (translations done, translations in all).

    Raises:
        ConfigError: the folder is no pair set.
        MediaError: a clip cannot be read.
    """
    groups = engine_groups(read_rows(Path(folder), split))[:limit]
    comparisons: list[Comparison] = []
    shares: list[float] = []
    done, total = 0, sum(map(len, groups))
    for group in groups:
        truths = [row.camera_frames() for row in group]
        engine = group[0].engine_frames()
        of_group: list[Comparison] = []
        for asked, truth in zip(group, truths, strict=True):
            output = translate(engine, asked.caption)
            error = _error(output, truth)
            of_group += [
                Comparison(group[0].name, asked.camera_weather, other.camera_weather, error, _error(output, far))
                for other, far in zip(group, truths, strict=True)
                if other is not asked
            ]
            done += 1
            if progress is not None:
                progress(done, total)
        comparisons += of_group
        shares.append(float(np.mean([comparison.agrees for comparison in of_group])))
    return WeatherAgreement(tuple(comparisons), score(shares), len(groups))


def engine_groups(rows: list[PairRow]) -> list[list[PairRow]]:
    """Group rows whose engine clip has the same frames, value for value, and whose camera clips differ in weather.

    Rows that do not name the camera's weather are left out.
    """
    groups: dict[str, dict[str, PairRow]] = defaultdict(dict)
    for row in (row for row in rows if row.camera_weather):
        groups[row.engine_digest()].setdefault(row.camera_weather, row)
    return [list(group.values()) for group in groups.values() if len(group) > 1]


def _error(output: Frames, truth: Frames) -> float:
    return float(np.mean((output.astype(np.float32) - truth.astype(np.float32)) ** 2, dtype=np.float64))
