"""Figures along the clip as bars in an inline SVG.

Separate because it is drawing. Widths are percentages and heights pixels, without a view box, so that a phone gets
narrower bars and not smaller letters.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from html import escape

from realmaster.evaluation.alignment import (
    MAX_FLICKER_RATIO,
    MAX_FLOW_DIFFERENCE,
    MIN_EDGE_RECALL,
    Alignment,
    Figures,
)
from realmaster.evaluation.verdicts import Verdict, verdicts

_HEIGHT = 64.0
_GAP = 0.12  # share of a bar's place that stays empty


@dataclass(frozen=True)
class _Measure:
    """One row of bars: what is shown, where its bound is, and how a value is written."""

    meaning: str
    bound: float
    top: float  # of the drawing, if no bar is higher
    value_of: Callable[[Figures], float | None]
    kept_of: Callable[[Figures], bool | None]
    written: Callable[[float], str]


_SHAPES = _Measure(
    "share of outlines found again",
    MIN_EDGE_RECALL,
    1.0,
    lambda figures: figures.edge_recall,
    lambda figures: figures.keeps_edges,
    lambda value: f"{value:.0%}",
)
_MOTION = _Measure(
    "pixels apart",
    MAX_FLOW_DIFFERENCE,
    1.5 * MAX_FLOW_DIFFERENCE,
    lambda figures: figures.flow_difference,
    lambda figures: figures.keeps_motion,
    lambda value: f"{value:.2f} px",
)
_STEADINESS = _Measure(
    "flicker beside the render's",
    MAX_FLICKER_RATIO,
    1.5 * MAX_FLICKER_RATIO,
    lambda figures: 0.0 if figures.is_still else figures.flicker_ratio,
    lambda figures: figures.is_steady,
    lambda value: f"{value:.2f}×" if value else "too little to be seen",
)


def plots(alignment: Alignment) -> str:
    """Draw shapes, motion and steadiness for each segment: HTML, empty where there is less than two segments.

    The verdict is the card's, on the whole clip; a bar says only whether its stretch lies beyond the bound.
    """
    if len(alignment.segments) < 2:
        return ""
    drawn = zip(verdicts(alignment), (_SHAPES, _MOTION, _STEADINESS), strict=False)
    return "\n".join(_plot(alignment, verdict, measure) for verdict, measure in drawn)


def _plot(alignment: Alignment, verdict: Verdict, measure: _Measure) -> str:
    end = alignment.segments[-1].end_seconds
    values = [measure.value_of(segment.figures) for segment in alignment.segments]
    top = max([measure.top, *(1.05 * value for value in values if value is not None)])
    bars = []
    for segment, value in zip(alignment.segments, values, strict=True):
        place = 100.0 * (segment.end_seconds - segment.start_seconds) / end
        left = 100.0 * segment.start_seconds / end + place * _GAP / 2
        when = f"{segment.start_seconds:.0f} to {segment.end_seconds:.1f} s"
        if value is None:
            bars.append(_bar(left, place, 2.0, "unknown", f"{when}: not measured"))
            continue
        is_beyond = measure.kept_of(segment.figures) is False
        kind = "bar" if not is_beyond else "missed" if verdict.kept is False else "beyond"
        words = f"{when}: {measure.written(value)}{', beyond the bound' if is_beyond else ''}"
        bars.append(_bar(left, place, max(2.0, _HEIGHT * value / top), kind, words))
    line = _HEIGHT * (1.0 - measure.bound / top)
    told = f"{verdict.title} along the clip, {measure.meaning}, asked for {verdict.asked}: {len(values)} stretches"
    told += f", {verdict.beyond}" if verdict.beyond else ", none is beyond that"
    return (
        f'<figure class="plot"><figcaption><b>{escape(verdict.title)}</b> {escape(measure.meaning)}'
        f"<span>{escape(verdict.asked)}</span></figcaption>"
        f'<svg role="img" aria-label="{escape(told, quote=True)}" width="100%" height="{_HEIGHT:g}">'
        f'{"".join(bars)}<line class="bound" x1="0" x2="100%" y1="{line:.1f}" y2="{line:.1f}"/></svg></figure>'
    )


def _bar(left: float, place: float, height: float, kind: str, words: str) -> str:
    return (
        f'<rect class="{kind}" x="{left:.3f}%" y="{_HEIGHT - height:.1f}" width="{place * (1 - _GAP):.3f}%" '
        f'height="{height:.1f}"><title>{escape(words)}</title></rect>'
    )
