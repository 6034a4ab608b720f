"""Scores of a pair set as a table to read (Markdown) and as a file to compute with (JSON).

Separate from scoring so that the numbers have one place where they are rounded.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from realmaster.evaluation.intervals import Score
from realmaster.evaluation.pairs import FIGURES, PairScores
from realmaster.evaluation.weather import WeatherAgreement
from realmaster.media.output import temporary

_HEADINGS = {"psnr": "PSNR, dB", "ssim": "SSIM", "sharpness": "sharpness", "flicker": "flicker"}
_DIGITS = {"psnr": 2, "ssim": 3, "sharpness": 2, "flicker": 2}


def as_markdown(scores: PairScores) -> str:
    """Write the table with its 95 % intervals, of more than one clip; a figure that could not be computed is a dash."""
    clips = "1 clip" if len(scores.clips) == 1 else f"{len(scores.clips)} clips"
    rows = [[f"{scores.split} split, {clips}", *(_HEADINGS[figure] for figure in FIGURES)]]
    rows += [
        [method.name, *(_cell(method.scores[figure], _DIGITS[figure]) for figure in FIGURES)]
        for method in scores.methods
    ]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
    return "\n".join([lines[0], rule, *lines[1:]])


def as_sentence(agreement: WeatherAgreement) -> str:
    """Say the weather agreement in one line."""
    if agreement.share is None:
        return "weather prompts: no engine clip with several weathers in this split, nothing to compare"
    agreeing = sum(comparison.agrees for comparison in agreement.comparisons)
    share, count = agreement.share, agreement.num_engine_clips
    ends = "" if share.interval is None else " [{:.0%}, {:.0%}]".format(*share.interval)
    return (
        f"weather prompts: {agreeing} of {len(agreement.comparisons)} comparisons nearer to the asked weather's truth, "
        f"{share.mean:.0%}{ends} over {count} engine clip{'' if count == 1 else 's'}"
    )


def write_json(
    path: Path, scores: PairScores, agreement: WeatherAgreement | None = None, settings: dict[str, Any] | None = None
) -> None:
    """Write everything behind the table: each clip's figures, intervals, comparisons, settings.

    Raises:
        OutputError: the file cannot be written.
    """
    content: dict[str, Any] = {
        "folder": str(scores.folder),
        "split": scores.split,
        "settings": settings or {},
        "clips": list(scores.clips),
        "methods": {
            method.name: {figure: _plain(method.scores[figure]) for figure in FIGURES} for method in scores.methods
        },
        "warnings": list(scores.warnings),
    }
    if agreement is not None:
        content["weather_agreement"] = {
            "share": _plain(agreement.share),
            "num_engine_clips": agreement.num_engine_clips,
            "comparisons": [{**vars(comparison), "agrees": comparison.agrees} for comparison in agreement.comparisons],
        }
    with temporary(path) as part:
        part.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _cell(value: Score | None, digits: int) -> str:
    if value is None:
        return "-"
    ends = "" if value.interval is None else " [{0:.{2}f}, {1:.{2}f}]".format(*value.interval, digits)
    return f"{value.mean:.{digits}f}{ends}"


def _plain(value: Score | None) -> dict[str, Any] | None:
    if value is None:
        return None
    low, high = value.interval or (None, None)
    return {"mean": value.mean, "low": low, "high": high, "values": list(value.values)}
