"""From rows to statements: a mean with its interval for each method and metric; does ours beat the best baseline?

Separate from how it is written down. Clips are the units: intervals draw clips, tests flip the signs of clips.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from realmaster.evaluation.intervals import Score, score
from realmaster.evaluation.metrics.metric import Metric
from realmaster.evaluation.rows import IS_TRUTH, Row

_EXACT_CLIPS = 12  # up to so many, every pattern of signs is tried
_FLIPS = 10_000
_SEED = 20260323
_FASTEST = 1e5  # frames a second: a metric above it only read what another one had computed


@dataclass(frozen=True)
class Cell:
    """A method's figure of a metric over the clips, or why there is none."""

    score: Score | None
    num_clips: int  # with a figure
    reason: str  # the most frequent one of the clips without


@dataclass(frozen=True)
class PairedTest:
    """Ours against the best baseline of a metric, on the clips that both have."""

    metric: str
    baseline: str
    difference: Score  # ours minus the baseline
    p: float  # two-sided, signs of clips flipped
    p_adjusted: float  # Holm over all metrics tested
    is_better: bool  # the direction of the mean difference

    @property
    def verdict(self) -> str:
        """Better, worse, no difference that is more than noise (adjusted p below 0.05), or too few clips to tell."""
        if 2.0 ** (1 - sum(value is not None for value in self.difference.values)) >= 0.05:
            return "too few clips to tell"  # no pattern of signs is rarer
        if self.p_adjusted >= 0.05:
            return "no difference beyond noise"
        return "better" if self.is_better else "worse"


@dataclass(frozen=True)
class Comparison:
    """Everything that tables and page say."""

    title: str
    methods: tuple[str, ...]
    ours: str
    baselines: tuple[str, ...]
    metrics: tuple[Metric, ...]
    clips: tuple[str, ...]
    cells: Mapping[tuple[str, str], Cell]  # (method, metric)
    tests: Mapping[str, PairedTest]  # metric
    speeds: Mapping[str, float]  # metric: frames per second
    rows: tuple[Row, ...]

    @property
    def present(self) -> tuple[Metric, ...]:
        """Metrics that some method has a figure of."""
        return tuple(m for m in self.metrics if any(self.cells[name, m.name].score for name in self.methods))

    @property
    def absent(self) -> dict[str, list[str]]:
        """Why metrics are absent for every method: reason to titles."""
        found: dict[str, list[str]] = {}
        for metric in self.metrics:
            if metric not in self.present:
                found.setdefault(self.cells[self.ours, metric.name].reason, []).append(metric.title)
        return found

    @property
    def gaps(self) -> list[str]:
        """What single methods lack of metrics that others have, in sentences (but not that the truth has no error)."""
        of_cell: dict[tuple[str, str], Counter[str]] = {}
        for row in self.rows:
            if row.value is None and row.reason != IS_TRUTH:
                of_cell.setdefault((row.method, row.metric), Counter())[row.reason] += 1
        lacks: dict[tuple[str, int, str], list[str]] = {}
        for metric in self.present:
            for method in self.methods:
                for reason, count in of_cell.get((method, metric.name), Counter()).items():
                    lacks.setdefault((method, count, reason), []).append(metric.title)
        found: dict[tuple[int, str, str], list[str]] = {}
        for (method, count, reason), titles in lacks.items():
            what = "all metrics" if len(titles) == len(self.present) else "; ".join(titles)
            found.setdefault((count, reason, what), []).append(method)
        return [
            f"{', '.join(methods)}, {count} of {len(self.clips)} clips: {reason} ({what})"
            for (count, reason, what), methods in found.items()
        ]

    def best(self, metric: Metric) -> str | None:
        """Name the best of ours and the baselines; None without a direction or with fewer than two figures."""
        found = {m: s.mean for m in (self.ours, *self.baselines) if (s := self.cells[m, metric.name].score)}
        if metric.direction == "neither" or len(found) < 2:
            return None
        return (max if metric.direction == "higher" else min)(found, key=lambda name: found[name])


def compare(
    rows: Sequence[Row],
    metrics: Sequence[Metric],
    methods: Sequence[str],
    *,
    ours: str,
    baselines: Sequence[str],
    title: str = "Evaluation",
) -> Comparison:
    """Summarise rows. Clips without a figure are left out of a mean, and counted."""
    clips = tuple(dict.fromkeys(row.clip for row in rows))
    found = {(row.method, row.metric, row.clip): row for row in rows}
    cells = {
        (method, metric.name): _cell([found.get((method, metric.name, clip)) for clip in clips])
        for method in methods
        for metric in metrics
    }
    tests = {}
    for metric in metrics:
        test = _test(metric, cells, clips, ours, baselines)
        if test is not None:
            tests[metric.name] = test
    return Comparison(
        title,
        tuple(methods),
        ours,
        tuple(baselines),
        tuple(metrics),
        clips,
        cells,
        _adjusted(tests),
        _speeds(rows),
        tuple(rows),
    )


def flip_test(differences: Sequence[float]) -> float:
    """Return the two-sided p of paired differences having mean 0: their signs flipped, clip by clip.

    All patterns for up to 12 clips, else 10,000 drawn with a fixed seed (and the observed one counted).
    """
    values = np.asarray(differences, np.float64)
    observed = abs(float(values.mean()))
    if len(values) <= _EXACT_CLIPS:
        signs = np.array(list(product((-1.0, 1.0), repeat=len(values))))
        extra = 0
    else:
        signs = np.random.default_rng(_SEED).choice((-1.0, 1.0), (_FLIPS, len(values)))
        extra = 1
    as_far = int(np.sum(np.abs(signs @ values / len(values)) >= observed - 1e-12))
    return (as_far + extra) / (len(signs) + extra)


def _cell(rows: list[Row | None]) -> Cell:
    values = [None if row is None else row.value for row in rows]
    reasons = Counter(row.reason for row in rows if row is not None and row.value is None)
    reason = reasons.most_common(1)[0][0] if reasons else ""
    return Cell(score(values), sum(value is not None for value in values), reason)


def _test(
    metric: Metric, cells: Mapping[tuple[str, str], Cell], clips: Sequence[str], ours: str, baselines: Sequence[str]
) -> PairedTest | None:
    """Compare ours with the baseline of the best mean over the clips that ours and it have both."""
    mine = cells[ours, metric.name].score
    best: tuple[float, str, Score] | None = None
    for baseline in baselines:
        theirs = cells[baseline, metric.name].score
        if mine is None or theirs is None or metric.direction == "neither":
            continue
        both = [(a, b) for a, b in zip(mine.values, theirs.values, strict=True) if a is not None and b is not None]
        difference = score([a - b for a, b in both])
        if len(both) < 2 or difference is None:
            continue
        mean = float(np.mean([b for _, b in both]))
        if best is None or metric.is_better(mean, best[0]):
            best = mean, baseline, difference
    if best is None:
        return None
    known = [value for value in best[2].values if value is not None]
    return PairedTest(metric.name, best[1], best[2], p := flip_test(known), p, metric.is_better(best[2].mean, 0.0))


def _adjusted(tests: Mapping[str, PairedTest]) -> dict[str, PairedTest]:
    """Adjust for the number of metrics (Holm, 1979)."""
    done: dict[str, PairedTest] = {}
    largest = 0.0
    for rank, (name, test) in enumerate(sorted(tests.items(), key=lambda item: item[1].p)):
        largest = max(largest, min(1.0, (len(tests) - rank) * test.p))
        done[name] = replace(test, p_adjusted=largest)
    return {name: done[name] for name in tests}


def _speeds(rows: Sequence[Row]) -> dict[str, float]:
    frames: Counter[str] = Counter()
    seconds: Counter[str] = Counter()
    for row in rows:
        if row.value is not None and row.seconds > 0:
            frames[row.metric] += row.num_frames
            seconds[row.metric] += row.seconds  # type: ignore[assignment]
    speeds = {name: frames[name] / seconds[name] for name in frames}
    return {name: speed for name, speed in speeds.items() if speed < _FASTEST}
