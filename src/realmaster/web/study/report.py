"""Write a study's results down: Markdown for a screen, JSON and CSV to compute with, a page with the figure.

Separate from the figures so that numbers are rounded in one place. People are numbers here; tokens are nowhere.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from realmaster.media.output import temporary
from realmaster.web.study.page import as_page
from realmaster.web.study.results import Results

CSV_COLUMNS = (
    "participant", "counted", "position", "clip", "left", "right", "question", "choice", "winner", "is_check",
    "correct", "seconds", "plays", "at",
)  # fmt: skip


def as_markdown(results: Results) -> str:
    """Lay the results out as Markdown: people, win rates, strengths, agreement, who was left out."""
    left_out = [person for person in results.people if not person.counts]
    finished = sum(person.num_answered == person.num_planned for person in results.people)
    parts = [
        f"{len(results.people)} of {results.num_invited} people began, {finished} finished, {len(left_out)} left out; "
        f"{results.num_counted} comparisons count"
        + (f", {results.median_seconds:.0f} s each (median)" if results.median_seconds is not None else ""),
        results.settings.rule,
    ]
    names = [question.name for question in results.questions]
    if results.num_counted:
        rows = [["preferred", *names]]
        for place, pair in enumerate(results.questions[0].pairs):
            shares = [question.pairs[place].share for question in results.questions]
            rows.append([f"{pair.first} over {pair.second}", *map(_share, shares)])
        parts += [_table(rows), _strength_table(results), _agreement_table(results)]
    if left_out:
        parts.append(_table([["left out", "reason"], *([str(one.number), str(one.reason)] for one in left_out)]))
    return "\n\n".join(part for part in parts if part)


def as_json_text(results: Results) -> str:
    """Write every figure as one JSON object, without the single answers (`answers.csv` has them)."""
    content: dict[str, Any] = {
        "title": results.settings.title,
        "methods": list(results.settings.methods),
        "against": results.settings.against,
        "rule": results.settings.rule,
        "num_clips": results.num_clips,
        "num_invited": results.num_invited,
        "num_comparisons_counted": results.num_counted,
        "median_seconds": results.median_seconds,
        "people": [asdict(person) | {"counts": person.counts} for person in results.people],
        "questions": [asdict(question) for question in results.questions],
    }
    return json.dumps(content, indent=1, allow_nan=False)


def as_csv(results: Results) -> str:
    """Write one row for every answer, checks and people left out included and marked."""
    counts = {person.number: person.counts for person in results.people}
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(CSV_COLUMNS)
    for one in results.answers:
        correct = "" if one.expected is None else int(one.choice == one.expected)
        # in a check both sides are one method: nobody wins
        row = (one.participant, int(counts[one.participant]), one.position + 1, one.clip, one.left, one.right)
        rest = (one.question, one.choice, "" if one.is_check else one.winner, int(one.is_check), correct)
        rows.writerow([_safe(cell) for cell in (*row, *rest, round(one.seconds, 2), one.plays, one.at)])
    return text.getvalue()


def write_results(results: Results, folder: Path) -> list[Path]:
    """Write a folder with `results.html`, `results.md`, `results.json` and `answers.csv`, whole or not at all.

    Raises:
        OutputError: the folder cannot be written.
    """
    texts = {
        "results.html": as_page(results),
        "results.md": as_markdown(results) + "\n",
        "results.json": as_json_text(results) + "\n",
        "answers.csv": as_csv(results),
    }
    with temporary(folder) as part:
        part.mkdir()
        for name, text in texts.items():
            (part / name).write_text(text, encoding="utf-8", newline="\n")
    return [folder / name for name in texts]


def _strength_table(results: Results) -> str:
    rows = [["Bradley-Terry strength", *(question.name for question in results.questions)]]
    for place, method in enumerate(results.settings.methods):
        cells = []
        for question in results.questions:
            one = None if question.strengths is None else question.strengths[place]
            cells.append("-" if one is None else f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]")
        rows.append([method, *cells])
    return _table(rows)


def _agreement_table(results: Results) -> str:
    found = [question.agreement for question in results.questions]
    rows = [
        ["people", *(question.name for question in results.questions)],
        ["Krippendorff's alpha", *("-" if one is None or one.alpha is None else f"{one.alpha:.2f}" for one in found)],
        ["agreeing pairs of raters", *("-" if one is None else f"{one.observed:.0%}" for one in found)],
        ["chose the left side", *(_share(question.left) for question in results.questions)],
    ]
    return _table(rows)


def _share(share: Any) -> str:
    if share is None:
        return "-"
    return f"{share.share:.0%} [{share.low:.0%}, {share.high:.0%}] of {share.num_answers}"


def _table(rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in cells) for column in range(len(cells[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in cells
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _safe(cell: Any) -> Any:
    """Keep a spreadsheet from taking a name for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(("=", "+", "-", "@", "\t")) else cell
