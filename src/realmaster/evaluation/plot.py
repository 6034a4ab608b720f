"""Figures along the clip as bars in an inline SVG.

Separate because it is drawing. Widths are percentages and heights pixels, without a view box, so that a phone gets
narrower bars and not smaller letters.
"""

from __future__ import annotations

from collections.abc import Callable
from html import escape

from realmaster.evaluation.alignment import (
    MAX_FLICKER_RATIO,
    MAX_FLOW_DIFFERENCE,
    MIN_EDGE_RECALL,
    Alignment,
    Figures,
)

_HEIGHT = 64.0
_GAP = 0.12  # share of a bar's place that stays empty


def plots(alignment: Alignment) -> str:
    """Draw shapes, motion and steadiness for each segment: HTML, empty where there is less than two segments."""
    if len(alignment.segments) < 2:
        return ""
    return "\n".join(
        (
            _plot(
                alignment,
                "Shapes",
                "share of outlines found again",
                MIN_EDGE_RECALL,
                lambda figures: figures.edge_recall,
                lambda figures: figures.keeps_edges,
                top=1.0,
                at_least=True,
                unit="",
            ),
            _plot(
                alignment,
                "Motion",
                "pixels apart",
                MAX_FLOW_DIFFERENCE,
                lambda figures: figures.flow_difference,
                lambda figures: figures.keeps_motion,
                top=1.5 * MAX_FLOW_DIFFERENCE,
                at_least=False,
                unit=" px",
            ),
            _plot(
                alignment,
                "Steadiness",
                "flicker beside the render's",
                MAX_FLICKER_RATIO,
                lambda figures: figures.flicker_ratio,
                lambda figures: figures.is_steady,
                top=1.5 * MAX_FLICKER_RATIO,
                at_least=False,
                unit="×",
            ),
        )
    )


def _plot(
    alignment: Alignment,
    title: str,
    meaning: str,
    threshold: float,
    value_of: Callable[[Figures], float | None],
    kept_of: Callable[[Figures], bool | None],
    *,
    top: float,
    at_least: bool,
    unit: str,
) -> str:
    end = alignment.segments[-1].end_seconds
    values = [value_of(segment.figures) for segment in alignment.segments]
    top = max([top, *(1.05 * value for value in values if value is not None)])
    bars = []
    for segment, value in zip(alignment.segments, values, strict=True):
        place = 100.0 * (segment.end_seconds - segment.start_seconds) / end
        left = 100.0 * segment.start_seconds / end + place * _GAP / 2
        when = f"{segment.start_seconds:.0f} to {segment.end_seconds:.1f} s"
        kept = kept_of(segment.figures)
        if value is None:
            bars.append(_bar(left, place, 2.0, "unknown", f"{when}: not measured"))
            continue
        word = {True: "kept", False: "missed", None: "not judged"}[kept]
        height = max(2.0, _HEIGHT * value / top)
        bars.append(
            _bar(left, place, height, "missed" if kept is False else "bar", f"{when}: {value:.2f}{unit}, {word}")
        )
    line = _HEIGHT * (1.0 - threshold / top)
    bound = f"{'at least' if at_least else 'at most'} {threshold:g}{unit}"
    missed = sum(kept_of(segment.figures) is False for segment in alignment.segments)
    told = f"{title} along the clip, {meaning}: {len(values)} stretches, {missed} missed ({bound})"
    return (
        f'<figure class="plot"><figcaption><b>{escape(title)}</b> {escape(meaning)}<span>{escape(bound)}</span>'
        f'</figcaption><svg role="img" aria-label="{escape(told, quote=True)}" width="100%" height="{_HEIGHT:g}">'
        f'{"".join(bars)}<line class="bound" x1="0" x2="100%" y1="{line:.1f}" y2="{line:.1f}"/></svg></figure>'
    )


def _bar(left: float, place: float, height: float, kind: str, words: str) -> str:
    return (
        f'<rect class="{kind}" x="{left:.3f}%" y="{_HEIGHT - height:.1f}" width="{place * (1 - _GAP):.3f}%" '
        f'height="{height:.1f}"><title>{escape(words)}</title></rect>'
    )
