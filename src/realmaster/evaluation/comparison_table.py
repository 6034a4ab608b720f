"""A comparison as tables: Markdown to read, CSV to compute with, LaTeX for the paper; and the summary that guards.

Separate so that figures have one place where they are rounded. Metrics are rows and methods columns: there are more of
the former. An absent figure is a dash, and under the table stands why.
"""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

from realmaster import __version__
from realmaster.evaluation.comparison import Cell, Comparison, PairedTest
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
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    for metric in comparison.metrics:
        for method in comparison.methods:
            found = comparison.cells[method, metric.name]
            line: dict[str, Any] = {"metric": metric.name, "title": metric.title, "group": metric.group}
            line |= {"unit": metric.unit, "direction": metric.direction, "method": method}
            line |= {"num_clips": found.num_clips, "absent": "" if found.score else found.reason}
            line["frames_per_second"] = comparison.speeds.get(metric.name)
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
        "\\begin{tabular}{l" + "c" * len(comparison.methods) + "}",
        "\\toprule",
        " & ".join(["", *map(_tex, comparison.methods)]) + " \\\\",
    ]
    group = ""
    for metric in comparison.present:
        if metric.group != group:
            lines.append("\\midrule")
            group = metric.group
        best = comparison.best(metric)
        cells = [_tex_cell(comparison.cells[m, metric.name], metric, m == best) for m in comparison.methods]
        arrow = {"higher": " $\\uparrow$", "lower": " $\\downarrow$", "neither": ""}[metric.direction]
        unit = f" ({_tex(metric.unit)})" if metric.unit else ""
        lines.append(" & ".join([_tex(metric.title) + unit + arrow, *cells]) + " \\\\")
    lines += ["\\bottomrule", "\\end{tabular}"]
    lines += [f"% absent: {_tex(note)}" for note in [*absences(comparison), *comparison.gaps]]
    return "\n".join(lines) + "\n"


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
    found = comparison.cells[method, metric.name]
    if found.score is None:
        return "–"
    digits = metric.digits
    text = f"{found.score.mean:.{digits}f} [{found.score.low:.{digits}f}, {found.score.high:.{digits}f}]"
    return text if found.num_clips == len(comparison.clips) else f"{text}, n = {found.num_clips}"


def absences(comparison: Comparison) -> list[str]:
    """Say which metrics are absent for every method, and why: a sentence for each reason."""
    return [f"{', '.join(titles)}: {reason or 'not measured'}" for reason, titles in comparison.absent.items()]


def _tested(test: PairedTest | None, metric: Metric) -> str:
    if test is None:
        return "–"
    ends, digits = test.difference, metric.digits
    return (
        f"{test.baseline}: {ends.mean:+.{digits}f} [{ends.low:+.{digits}f}, {ends.high:+.{digits}f}], "
        f"p = {test.p_adjusted:.3f}, {test.verdict}"
    )


def _bold(text: str, is_best: bool) -> str:
    return f"**{text}**" if is_best else text


def _tex_cell(found: Cell, metric: Metric, is_best: bool) -> str:
    if found.score is None:
        return "--"
    mean = f"{found.score.mean:.{metric.digits}f}"
    ends = f"{found.score.low:.{metric.digits}f}, {found.score.high:.{metric.digits}f}"
    return (f"\\textbf{{{mean}}}" if is_best else mean) + f" {{\\scriptsize [{ends}]}}"


_TEX = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "×": "$\\times$"}
_TEX |= {character: f"\\{character}" for character in "&%$#_{}"} | {
    "⁻": "$^{-}$",
    "³": "$^{3}$",
    "²": "$^{2}$",
    "π": "$\\pi$",
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(character, character) for character in text)
