"""How well an output keeps to its input: edges, motion, flicker, colour, second by second, against stated thresholds.

Separate from the metrics because it works on files of any length: both are read side by side, one frame of each in
memory, and pairs of neighbouring frames are measured at even distances through the clip.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from realmaster.evaluation.metrics import Flicker, colour_change, edge_agreement
from realmaster.evaluation.metrics.flicker import mean_flicker, pair_flicker
from realmaster.evaluation.metrics.flow import pair_flow_difference
from realmaster.evaluation.side_by_side import Frame, evenly, frames_of, resized, side_by_side
from realmaster.media.motion import can_flow
from realmaster.types import ClipInfo

MIN_EDGE_RECALL = 0.80
MAX_FLOW_DIFFERENCE = 0.5  # pixels at the size measured at
MAX_FLICKER_RATIO = 1.3
UNSEEN_FLICKER_LEVELS = 0.5  # of 255: less than this is not seen, whatever the ratio to a still input
_AREA = 832 * 480  # larger frames are measured at this many pixels, so that figures and time compare
_MAX_SEGMENTS = 60


def as_shown(value: float, digits: int = 2) -> float:
    """Round a figure as it is shown, so that what is read and what is judged are one number."""
    return float(f"{value:.{digits}f}")


@dataclass(frozen=True)
class Figures:
    """What was measured over some pairs of frames; None where it could not be."""

    edge_recall: float | None
    flow_difference: float | None  # pixels
    flicker: Flicker | None
    colour_change: float | None  # CIE dE76

    @property
    def flicker_ratio(self) -> float | None:
        """Flicker of the output over that of the input; None where the input does not flicker at all."""
        return self.flicker.ratio if self.flicker else None

    @property
    def keeps_edges(self) -> bool | None:
        """Edges of the input are found again often enough, judged as shown; None where that is unknown."""
        return None if self.edge_recall is None else as_shown(self.edge_recall) >= MIN_EDGE_RECALL

    @property
    def keeps_motion(self) -> bool | None:
        """Output and input move alike, judged as shown; None where that is unknown."""
        return None if self.flow_difference is None else as_shown(self.flow_difference) < MAX_FLOW_DIFFERENCE

    @property
    def is_steady(self) -> bool | None:
        """The output flickers hardly more than the input, or too little to be seen; None where that is unknown."""
        if self.flicker is None:
            return None
        if self.is_still:
            return True
        return None if self.flicker_ratio is None else as_shown(self.flicker_ratio) <= MAX_FLICKER_RATIO

    @property
    def is_still(self) -> bool:
        """The output flickers too little to be seen, whatever the input does."""
        return self.flicker is not None and as_shown(self.flicker.levels, 1) <= UNSEEN_FLICKER_LEVELS


@dataclass(frozen=True)
class Segment:
    """The figures of one stretch of the output, in seconds from its start."""

    start_seconds: float
    end_seconds: float
    figures: Figures


@dataclass(frozen=True)
class Alignment:
    """The figures of a whole output, of its segments, and what they rest on."""

    figures: Figures
    segments: tuple[Segment, ...]
    num_frames: int  # compared
    num_pairs: int  # measured
    width: int  # of the frames as measured
    height: int
    warnings: tuple[str, ...] = ()
    start_seconds: float = 0.0  # where the input was read from
    duration_seconds: float | None = None  # how much of it; None is all

    @property
    def passed(self) -> bool | None:
        """False where any threshold is missed, True where at least one is known and all known ones are kept."""
        known = [
            verdict
            for verdict in (self.figures.keeps_edges, self.figures.keeps_motion, self.figures.is_steady)
            if verdict is not None
        ]
        return all(known) if known else None


def measure_alignment(
    input_path: str | Path,
    output_path: str | Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    image_rate: Fraction | None = None,
    max_pairs: int = 24,
) -> Alignment:
    """Measure an output against the stretch of the input it was made from.

    Frames correspond by their order, the input read at the output's rate. Clips of up to `max_pairs` pairs of
    neighbouring frames are measured whole; of longer ones as many pairs at even distances, the first and the last
    among them. Frames of more than 832 x 480 pixels are measured at that area. Memory does not grow with length.

    Args:
        input_path: the rendered clip.
        output_path: its translation; another size than the input's is brought to it, with a warning.
        start_seconds: where in the input the output begins.
        duration_seconds: how much of the input it covers; None is all.
        image_rate: images a second of an input of images; None is 16.
        max_pairs: how many pairs of frames to measure.

    Raises:
        MediaError: one of the two cannot be read.
    """
    with side_by_side(input_path, output_path, start_seconds, duration_seconds, image_rate) as (
        source,
        output,
        expected,
    ):
        measured = _measured_size(source.info.width, source.info.height)
        chosen = frozenset(evenly(expected - 1, max_pairs))  # the first frames of the pairs
        taken: list[tuple[int, Figures]] = []
        before: tuple[Frame, Frame] | None = None
        wanted_frames, given_frames = frames_of(source), frames_of(output)
        num_frames = 0
        for index, (given, wanted) in enumerate(zip(given_frames, wanted_frames, strict=False)):
            num_frames = index + 1
            if index == 0 or index in chosen or index - 1 in chosen:
                now = resized(wanted, measured), resized(given, measured)
                if before is not None and index - 1 in chosen:
                    taken.append((index - 1, _pair(*before, *now)))
                before = now
        if num_frames == 1 and before is not None:
            taken.append((0, _single(*before)))
        warnings = _differences(source.info, output.info)
        # zip has taken one frame more of the output where the input ended first
        if num_frames < expected - 1 and next(given_frames, None) is not None and source.truncated is None:
            warnings.append(f"the output goes on after the input's {num_frames} frames: the rest has no counterpart")
        if next(wanted_frames, None) is not None and output.truncated is None:
            warnings.append(f"the input goes on after the output's {num_frames} frames: the rest was not compared")
        rate = float(output.info.frame_rate)
    return Alignment(
        figures=_summary([figures for _, figures in taken]),
        segments=_segments(taken, num_frames / rate, rate),
        num_frames=num_frames,
        num_pairs=len(taken) if num_frames > 1 else 0,
        width=measured[0],
        height=measured[1],
        warnings=tuple(warnings),
        start_seconds=start_seconds,
        duration_seconds=duration_seconds,
    )


def _differences(source: ClipInfo, output: ClipInfo) -> list[str]:
    if (source.width, source.height) == (output.width, output.height):
        return []
    sizes = f"{output.width}x{output.height}, the input's {source.width}x{source.height}"
    return [f"the output's frames are {sizes}: compared at one size"]


def _measured_size(width: int, height: int) -> tuple[int, int]:
    shrink = min(1.0, (_AREA / (width * height)) ** 0.5)
    return max(1, round(width * shrink)), max(1, round(height * shrink))


def _single(wanted: Frame, given: Frame) -> Figures:
    first, second = wanted[None], given[None]
    return Figures(edge_agreement(first, second).recall, None, None, colour_change(first, second))


def _pair(wanted: Frame, given: Frame, next_wanted: Frame, next_given: Frame) -> Figures:
    still = _single(next_wanted, next_given)
    if not can_flow(*wanted.shape[:2]):
        return still
    return Figures(
        edge_recall=still.edge_recall,
        flow_difference=pair_flow_difference(wanted, next_wanted, given, next_given),
        flicker=pair_flicker(wanted, next_wanted, given, next_given),
        colour_change=still.colour_change,
    )


def _summary(taken: Sequence[Figures]) -> Figures:
    """Average over pairs: means, the median for the flow, flicker by levels."""
    recalls = [figures.edge_recall for figures in taken if figures.edge_recall is not None]
    flows = [figures.flow_difference for figures in taken if figures.flow_difference is not None]
    changes = [figures.colour_change for figures in taken if figures.colour_change is not None]
    return Figures(
        edge_recall=float(np.mean(recalls)) if recalls else None,
        flow_difference=float(np.median(flows)) if flows else None,
        flicker=mean_flicker([figures.flicker for figures in taken if figures.flicker is not None]),
        colour_change=float(np.mean(changes)) if changes else None,
    )


def _segments(taken: Sequence[tuple[int, Figures]], seconds: float, rate: float) -> tuple[Segment, ...]:
    """Group the measured pairs by second, or by longer stretches where a clip would have more than 60 of them."""
    length = max(1.0, seconds / _MAX_SEGMENTS)
    groups: dict[int, list[Figures]] = {}
    for index, figures in taken:
        groups.setdefault(int(index / rate / length), []).append(figures)
    return tuple(
        Segment(number * length, min((number + 1) * length, seconds), _summary(figures))
        for number, figures in sorted(groups.items())
    )
