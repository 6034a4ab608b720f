"""A comparison as tables: Markdown to read, CSV to compute with, LaTeX for the paper; and the summary that guards.

Separate so that figures have one place where they are rounded. Metrics are rows and methods columns: there are more of
the former. An absent figure is a dash, and under the table stands why.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from realmaster import __version__
from realmaster.evaluation.comparison import Comparison, PairedTest
from realmaster.evaluation.metrics.metric import Metric
from realmaster.media.output import temporary

FILES = ("table.md", "table.csv", "table.tex", "summary.json")


def write_tables(comparison: Comparison, folder: Path) -> None:
    """Write `table.md`, `table.csv`, `table.tex` and `summary.json`, each whole.

    Raises:
        OutputError: the folder cannot be written.
    """
    contents = (as_markdown(comparison), as_csv(comparison), as_latex(comparison), as_json(comparison))
    for name, text in zip(FILES, contents, strict=True):
        with temporary(folder / name) as part:
            part.write_text(text, encoding="utf-8", newline="")


def as_markdown(comparison: Comparison) -> str:
    """Write the table, the paired tests, and what is absent."""
    rows = [[f"{len(comparison.clips)} clips", *comparison.methods, f"{comparison.ours} against"]]
    for metric in comparison.present:
        best = comparison.best(metric)
        cells = [_bold(cell(comparison, method, metric), method == best) for method in comparison.methods]
        rows.append([heading(metric), *cells, _tested(comparison.tests.get(metric.name), metric)])
    rows = [[text.replace("|", "\\|") for text in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    notes = [*absences(comparison), *comparison.gaps]
    if notes:
        lines += ["", "Absent:", "", *(f"- {note}" for note in notes)]
    made_with = measured_with(comparison)
    if made_with:
        lines += ["", "Measured with:", "", *(f"- {note}" for note in made_with)]
    lines += ["", EXPLANATION]
    return f"# {comparison.title}\n\n" + "\n".join(lines) + "\n"


EXPLANATION = (
    "Means over clips with 95 % bootstrap intervals; ↑ higher is better, ↓ lower is better, bold the best of ours and "
    "the baselines. Last column: ours minus the best baseline on the clips both have, p by flipping signs, adjusted by "
    "Holm."
)


def as_csv(comparison: Comparison) -> str:
    """Write a line for each metric and method."""
    names = ["metric", "title", "group", "unit", "direction", "method", "mean", "low", "high", "num_clips", "absent"]
    names += ["baseline", "difference", "difference_low", "difference_high", "p", "p_adjusted", "frames_per_second"]
    names += ["made_with"]
    made_with = {row.metric: row.made_with for row in comparison.rows if row.made_with}
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for metric in comparison.metrics:
        for method in comparison.methods:
            found = comparison.cells[method, metric.name]
            line: dict[str, Any] = {"metric": metric.name, "title": metric.title, "group": metric.group}
            line |= {"unit": metric.unit, "direction": metric.direction, "method": method}
            line |= {"num_clips": found.num_clips, "absent": "" if found.score else found.reason}
            line |= {"frames_per_second": comparison.speeds.get(metric.name), "made_with": made_with.get(metric.name)}
            if found.score is not None:
                line |= {"mean": found.score.mean, "low": found.score.low, "high": found.score.high}
            test = comparison.tests.get(metric.name)
            if test is not None and method == comparison.ours:
                ends = test.difference
                line |= {"baseline": test.baseline, "difference": ends.mean, "p": test.p, "p_adjusted": test.p_adjusted}
                line |= {"difference_low": ends.low, "difference_high": ends.high}
            writer.writerow(line)
    return text.getvalue()


def as_latex(comparison: Comparison) -> str:
    """Write a tabular for the booktabs package."""
    lines = [
        "% made by realmaster evaluate; needs \\usepackage{booktabs}",
        "\\begin{tabular}{l" + "c" * len(comparison.methods) + "l}",
        "\\toprule",
        " & ".join(["", *map(_tex, comparison.methods), f"{_tex(comparison.ours)} against"]) + " \\\\",
    ]
    group = ""
    for metric in comparison.present:
        if metric.group != group:
            lines.append("\\midrule")
            group = metric.group
        best = comparison.best(metric)
        cells = [_tex_cell(comparison, m, metric, is_best=m == best) for m in comparison.methods]
        cells.append(_tex(_tested(comparison.tests.get(metric.name), metric)))
        lines.append(" & ".join([_tex(heading(metric)), *cells]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    notes = [f"measured with: {note}" for note in measured_with(comparison)]
    notes += [f"absent: {note}" for note in [*absences(comparison), *comparison.gaps]]
    return "\n".join([*lines, *(f"% {' '.join(note.split())}" for note in notes)]) + "\n"


def as_json(comparison: Comparison) -> str:
    """Write means and intervals as `--against` reads them."""
    made_with = {row.metric: row.made_with for row in comparison.rows if row.made_with}
    content = {
        "realmaster": __version__,
        "ours": comparison.ours,
        "clips": list(comparison.clips),
        "metrics": {
            metric.name: {
                "direction": metric.direction,
                "version": metric.version,
                "made_with": made_with.get(metric.name, ""),
                "methods": {
                    method: {"mean": s.mean, "low": s.low, "high": s.high, "num_clips": found.num_clips}
                    for method in comparison.methods
                    if (s := (found := comparison.cells[method, metric.name]).score) is not None
                },
            }
            for metric in comparison.present
        },
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def heading(metric: Metric) -> str:
    """Write a metric's title with unit and direction."""
    unit = f", {metric.unit}" if metric.unit else ""
    return f"{metric.title}{unit} {metric.arrow}".rstrip()


def cell(comparison: Comparison, method: str, metric: Metric) -> str:
    """Write a figure with its interval, and the number of clips where some are missing."""
    found = mean(comparison, method, metric)
    ends, count = interval(comparison, method, metric), clips_behind(comparison, method, metric)
    return found + (f" {ends}" if ends else "") + (f", {count}" if count else "")


def mean(comparison: Comparison, method: str, metric: Metric) -> str:
    """Write a mean; a dash where it is absent."""
    found = comparison.cells[method, metric.name]
    return "–" if found.score is None else f"{found.score.mean:.{metric.digits}f}"


def interval(comparison: Comparison, method: str, metric: Metric) -> str:
    """Write the ends of the interval; nothing for a single clip, which tells nothing of others."""
    found = comparison.cells[method, metric.name]
    if found.score is None or found.num_clips < 2:
        return ""
    return f"[{found.score.low:.{metric.digits}f}, {found.score.high:.{metric.digits}f}]"


def clips_behind(comparison: Comparison, method: str, metric: Metric) -> str:
    """Write how many clips a figure has, where it lacks some."""
    found = comparison.cells[method, metric.name]
    return f"n = {found.num_clips}" if 0 < found.num_clips < len(comparison.clips) else ""


def measured_with(comparison: Comparison) -> list[str]:
    """Say which weights and which judge the figures come from; of the judge also what it took and its bias."""
    found: dict[str, list[str]] = {}
    for metric in comparison.present:
        rows = [row for row in comparison.rows if row.metric == metric.name and row.value is not None]
        for name in dict.fromkeys(row.made_with for row in rows if row.made_with):
            words = name + _of_judge([row.details for row in rows if row.made_with == name])
            found.setdefault(words, []).append(metric.title)
    return [f"{'; '.join(titles)}: {words}" for words, titles in found.items()]


def _of_judge(details: Sequence[Mapping[str, Any]]) -> str:
    judged = [one for one in details if "input_tokens" in one]
    if not judged:
        return ""
    tokens = (sum(one[name] for one in judged) for name in ("input_tokens", "output_tokens"))
    words = " (answered by {})".format(", ".join(sorted({str(one["judge"]) for one in judged})))
    words += ", {:,} tokens asked, {:,} answered".format(*tokens)
    dollars = [one["dollars"] for one in judged]
    if None not in dollars:
        words += f", {sum(dollars):.2f} dollars"
    biases = [one["bias"] for one in judged if one["bias"] is not None]
    if biases:
        words += f"; {sum(biases) / len(biases):+.2f} for being shown last, which both orders cancel"
    return words


def absences(comparison: Comparison) -> list[str]:
    """Say which metrics are absent for every method, and why: a sentence for each reason."""
    return [f"{'; '.join(titles)}: {reason or 'not measured'}" for reason, titles in comparison.absent.items()]


def difference(test: PairedTest, metric: Metric) -> str:
    """Write a paired difference with its interval, in the metric's digits."""
    centre, low, high = (
        f"{x:+.{metric.digits}f}" for x in (test.difference.mean, test.difference.low, test.difference.high)
    )
    return f"{centre} [{low}, {high}]"


def _tested(test: PairedTest | None, metric: Metric) -> str:
    if test is None:
        return "–"
    return f"{test.baseline}: {difference(test, metric)}, p = {test.p_adjusted:.3f}, {test.verdict}"


def _bold(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best else text


def _tex_cell(comparison: Comparison, method: str, metric: Metric, *, is_best: bool) -> str:
    found = mean(comparison, method, metric).replace("–", "--")
    behind = (interval(comparison, method, metric), clips_behind(comparison, method, metric))
    small = ", ".join(text for text in behind if text)
    return (f"\\textbf{{{found}}}" if is_best else found) + (f" {{\\scriptsize {small}}}" if small else "")


_TEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "×": "$\\times$"}
_TEX |= {"↑": "$\\uparrow$", "↓": "$\\downarrow$", "–": "--"}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"} | {
    "⁻³": "$^{-3}$",
    "²": "$^{2}$",
    "π": "$\\pi$",
}
_TEX_SIGN = re.compile("|".join(map(re.escape, _TEX)))


def _tex(text: str) -> str:
    return _TEX_SIGN.sub(lambda found: _TEX[found[0]], text)
