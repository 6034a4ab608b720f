"""One metric of all methods as dots with intervals, in an inline SVG.

Separate because it is drawing. Positions are percentages and heights pixels, without a view box, as in `plot.py`: a
phone gets shorter intervals and not smaller letters.
"""

from __future__ import annotations

from html import escape

from realmaster.evaluation.comparison import Comparison
from realmaster.evaluation.comparison_table import cell, heading
from realmaster.evaluation.metrics.metric import Metric

_LINE = 36.0  # pixels of a method
_MARGIN = 3.0  # per cent left free at both ends


def plot(comparison: Comparison, metric: Metric) -> str:
    """Draw a metric: HTML, a line for each method with its mean, its interval and the clips behind it."""
    found = {m: s for m in comparison.methods if (s := comparison.cells[m, metric.name].score) is not None}
    if not found:
        return ""
    values = [
        value for score in found.values() for value in (*score.values, score.low, score.high) if value is not None
    ]
    low, high = min(values), max(values)
    span = (high - low) or 1.0

    def place(value: float) -> str:
        return f"{_MARGIN + (100 - 2 * _MARGIN) * (value - low) / span:.2f}%"

    parts = []
    for index, (method, score) in enumerate(found.items()):
        y = _LINE * index + 23
        kind = "ours" if method == comparison.ours else "other"
        words = escape(f"{method}: {cell(comparison, method, metric)}")
        parts.append(f'<text x="0" y="{y - 10:.0f}">{escape(method)}</text>')
        parts.append(f'<line class="guide" x1="0" x2="100%" y1="{y:.0f}" y2="{y:.0f}"/>')
        parts += [f'<circle class="clip" cx="{place(v)}" cy="{y:.0f}" r="2"/>' for v in score.values if v is not None]
        parts.append(
            f'<g class="{kind}"><title>{words}</title><line x1="{place(score.low)}" x2="{place(score.high)}" '
            f'y1="{y:.0f}" y2="{y:.0f}"/><circle cx="{place(score.mean)}" cy="{y:.0f}" r="4.5"/></g>'
        )
    ends = f"{low:.{metric.digits}f} to {high:.{metric.digits}f}"
    return (
        f'<figure class="plot dots"><figcaption><b>{heading_in_html(metric)}</b><span>{ends}</span></figcaption>'
        f'<svg role="img" aria-label="{escape(heading(metric), quote=True)} of each method" width="100%" '
        f'height="{_LINE * len(found) + 4:.0f}">{"".join(parts)}</svg></figure>'
    )


def heading_in_html(metric: Metric) -> str:
    """Write a metric's heading so that no line begins with its arrow."""
    return escape(heading(metric)).replace(f" {metric.arrow}", f"\N{NO-BREAK SPACE}{metric.arrow}")
