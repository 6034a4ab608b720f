"""Measure methods x clips x metrics: each clip decoded once, all metrics in one pass, nothing measured twice.

Separate from tables and page, which read the rows. A process takes a whole scene, so that what all methods want of a
render (its flow, its features) is computed once.
"""

from __future__ import annotations

import hashlib
import json
import logging
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from realmaster.data.content import ContentHashes
from realmaster.errors import MediaError, OutputError, RealMasterError
from realmaster.evaluation.comparison_settings import TRUTH, ComparisonSettings, Scene, find_scenes
from realmaster.evaluation.grid import OpenScene
from realmaster.evaluation.metrics.metric import Case, Figure, Metric
from realmaster.evaluation.rows import IS_TRUTH, Row, RowFolder, write_results
from realmaster.evaluation.tools import Tools

logger = logging.getLogger(__name__)
Progress = Callable[[int, int | None], None]
Absent = Mapping[str, Mapping[str, str]]  # method, clip ("" is all of them): why it could not be made
Measured = tuple[list[Row], int]  # the rows of a scene, and how many of them were measured now
Spread = Callable[[ComparisonSettings, Sequence[Scene], Absent], Iterator[Measured]]


@dataclass(frozen=True)
class Results:
    """All rows of a comparison, in the order scene, method, metric; how many of them were asked for anew."""

    rows: tuple[Row, ...]
    num_measured: int

    @property
    def num_not_measured(self) -> int:
        """How many could not be measured, now or before: the clip or what the metric needs is not there."""
        return sum(row.num_frames == 0 for row in self.rows)

    @property
    def num_kept(self) -> int:
        """How many an earlier run has measured."""
        return len(self.rows) - self.num_measured - self.num_not_measured


def evaluate(
    settings: ComparisonSettings,
    *,
    progress: Progress | None = None,
    absent: Absent | None = None,
    spread: Spread | None = None,
) -> Results:
    """Measure whatever has not been measured, and write `results.jsonl`.

    Args:
        settings: the comparison.
        progress: called with (clips of methods done, in all).
        absent: clips that could not be made, with the reason.
        spread: measures scenes somewhere else and gives their rows in order; None takes this machine's processes.

    Raises:
        ConfigError: there are no clips, or a method or metric is not known.
        OutputError: the output folder cannot be written.
    """
    settings.chosen_metrics()  # a name that is no metric's is refused here
    scenes = find_scenes(settings)
    check_folder(settings.output)
    total = len(scenes) * len(settings.methods)
    rows: list[Row] = []
    num_measured = 0
    for done, (of_scene, measured) in enumerate((spread or _here)(settings, scenes, absent or {}), start=1):
        rows += of_scene
        num_measured += measured
        if progress is not None:
            progress(done * len(settings.methods), total)
    write_results(settings.output / "results.jsonl", rows)
    return Results(tuple(rows), num_measured)


def check_folder(folder: Path) -> None:
    """Make the output folder and try to write into it.

    Raises:
        OutputError: it cannot be made or written.
    """
    trial = folder / ".trial"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise OutputError(
            f"{folder}: expected a folder for the report that can be written, could not ({error.strerror}): "
            "choose another output"
        ) from error


def _here(settings: ComparisonSettings, scenes: Sequence[Scene], absent: Absent) -> Iterator[Measured]:
    """Measure in this process, or in several of this machine."""
    if settings.workers == 1 or len(scenes) == 1:
        worker = SceneWorker(settings, absent)
        for scene in scenes:
            yield worker.measure(scene)
        return
    context = multiprocessing.get_context("spawn")  # a fork would share torch's and OpenCV's threads
    count = min(settings.workers, len(scenes))
    with ProcessPoolExecutor(count, context, initializer=_start, initargs=(settings, absent)) as pool:
        yield from pool.map(_measure, scenes)


_worker: SceneWorker | None = None


def _start(settings: ComparisonSettings, absent: Absent) -> None:
    global _worker
    import cv2

    cv2.setNumThreads(1)  # the processes share the cores
    os.environ["OMP_NUM_THREADS"] = "1"  # read by torch and onnxruntime, which are loaded later, if at all
    _worker = SceneWorker(settings, absent)


def _measure(scene: Scene) -> Measured:
    assert _worker is not None
    return _worker.measure(scene)


class SceneWorker:
    """Measures scenes, one after another, with the same tools."""

    def __init__(self, settings: ComparisonSettings, absent: Absent | None = None) -> None:
        """Load nothing yet."""
        self._settings, self._absent_clips = settings, absent or {}
        self._metrics = settings.chosen_metrics()
        self._tools = Tools(settings.tools, judge_cache=settings.output / "judge")
        self._folder = RowFolder(settings.output / "rows")
        self._hashes = ContentHashes()

    def measure(self, scene: Scene) -> Measured:
        """Give all rows of a scene, and how many of them were measured now."""
        rows: list[Row] = []
        num_measured = 0
        opened: OpenScene | None = None
        for method, pattern in self._settings.patterns.items():
            output = scene.output(pattern)
            try:
                why = self._absent_clips.get(method, {})
                if reason := why.get(scene.name) or why.get(""):
                    raise MediaError(reason)
                if output is None:
                    raise MediaError("the clip has no ground truth")
                inputs = self._inputs(scene, output)
                known = {
                    name: row
                    for name, row in self._folder.read(method, scene.name, inputs).items()
                    if self._holds(name, row)
                }
                missing = [metric for metric in self._metrics if metric.name not in known]
                lacking = {metric.name: metric.lacking(self._tools) for metric in missing}
                for metric in missing:
                    if lacking[metric.name] is not None:
                        known[metric.name] = self._absent(method, scene, metric, str(lacking[metric.name]))
                missing = [metric for metric in missing if lacking[metric.name] is None]
                if missing:
                    if opened is None:
                        opened = OpenScene.read(scene, self._settings.grid)
                    case = opened.case(output)
                    for metric in missing:
                        known[metric.name] = self._row(method, scene, metric, case, is_truth=pattern == TRUTH)
                        self._folder.write(method, scene.name, inputs, known.values())  # breaking off costs one figure
                    num_measured += len(missing)
                rows += [known[metric.name] for metric in self._metrics]
            except MediaError as error:
                if method not in self._absent_clips:  # said already, when it could not be made
                    logger.warning("%s, %s: %s", method, scene.name, error)
                rows += [self._absent(method, scene, metric, str(error)) for metric in self._metrics]
        return rows, num_measured

    def _row(self, method: str, scene: Scene, metric: Metric, case: Case, *, is_truth: bool) -> Row:
        start = time.perf_counter()
        if is_truth and metric.group == "ground truth":
            figure = Figure.absent(IS_TRUTH)
        else:
            try:
                figure = metric.on(case, self._tools)
            except RealMasterError as error:  # broken labels, for one: the other metrics still run
                figure = Figure.absent(str(error), is_final=False)
        seconds = time.perf_counter() - start
        return Row(
            method,
            scene.name,
            metric.name,
            figure.value,
            figure.reason,
            dict(figure.details),
            seconds if figure.value is not None else 0.0,
            len(case.output),
            metric.version,
            metric.made_with(self._tools),
            figure.is_final,
        )

    def _absent(self, method: str, scene: Scene, metric: Metric, reason: str) -> Row:
        return Row(method, scene.name, metric.name, None, reason, {}, 0.0, 0, metric.version, "", is_final=False)

    def _holds(self, name: str, row: Row) -> bool:
        metric = next((metric for metric in self._metrics if metric.name == name), None)
        if metric is None:
            return True  # not asked for now; kept for a run that asks
        return row.still_holds(metric.version, metric.made_with(self._tools))

    def _inputs(self, scene: Scene, output: Path) -> str:
        """Name what is measured: the contents of the clips and labels, and the grid."""
        clips = [None if path is None else self._hashes.of(path) for path in (output, scene.render, scene.truth)]
        labels = sorted(scene.labels.glob("*.npz")) if scene.labels is not None else []
        sizes = [[file.name, file.stat().st_size, file.stat().st_mtime_ns] for file in labels]
        words = json.dumps([clips, sizes, self._settings.grid.model_dump()])
        return hashlib.sha256(words.encode()).hexdigest()
