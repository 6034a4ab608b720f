"""Alignment in plain words: what was measured, what was asked for, whether it was kept.

Separate so that the words can be read, corrected and tested without a page around them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from realmaster.evaluation.alignment import (
    MAX_FLICKER_RATIO,
    MAX_FLOW_DIFFERENCE,
    MIN_EDGE_RECALL,
    Alignment,
    Figures,
)

_COLOUR_WORDS = ((2.0, "hardly visible"), (5.0, "slight"), (10.0, "clear"), (float("inf"), "strong"))


@dataclass(frozen=True)
class Verdict:
    """One figure in words; `kept` is None where nothing is asked for or nothing could be measured."""

    title: str
    figure: str
    sentence: str
    asked: str
    kept: bool | None
    beyond: str = ""  # in how many stretches the clip does not keep to what it keeps, or not, as a whole

    @property
    def mark(self) -> str:
        """The verdict in one or two words; empty where nothing is asked for."""
        if self.kept is None:
            return "not measured" if self.asked else ""
        return "kept" if self.kept else "missed"


def verdicts(alignment: Alignment) -> tuple[Verdict, ...]:
    """Say each figure of an alignment in words: shapes, motion, steadiness, colour."""
    return (
        replace(_shapes(alignment), beyond=_beyond(alignment, lambda figures: figures.keeps_edges)),
        replace(_motion(alignment), beyond=_beyond(alignment, lambda figures: figures.keeps_motion)),
        replace(_steadiness(alignment), beyond=_beyond(alignment, lambda figures: figures.is_steady)),
        _colour(alignment),
    )


def summary(alignment: Alignment) -> str:
    """Say in one sentence what the output keeps of the input and what it misses."""
    judged = [verdict for verdict in verdicts(alignment) if verdict.kept is not None]
    kept = [verdict.title.lower() for verdict in judged if verdict.kept]
    missed = [verdict.title.lower() for verdict in judged if not verdict.kept]
    if not judged:
        return "Nothing could be measured on this clip."
    if not missed:
        return f"The film keeps the render's {_listed(kept)}."
    if not kept:
        return f"The film misses the mark for {_listed(missed)}."
    return f"The film keeps the render's {_listed(kept)}, and misses the mark for {_listed(missed)}."


def _beyond(alignment: Alignment, kept_of: Callable[[Figures], bool | None]) -> str:
    """Count the stretches beyond the bound, which the whole clip may keep nevertheless."""
    beyond = sum(kept_of(segment.figures) is False for segment in alignment.segments)
    if not beyond or len(alignment.segments) < 2:
        return ""
    return f"{beyond} of {len(alignment.segments)} stretches {'is' if beyond == 1 else 'are'} beyond that"


def _shapes(alignment: Alignment) -> Verdict:
    recall = alignment.figures.edge_recall
    asked = f"at least {MIN_EDGE_RECALL:.0%}"
    if recall is None:
        return Verdict("Shapes", "–", "The render has no outlines to look for.", asked, None)
    sentence = "of the render's outlines are found again in the film, within two pixels."
    return Verdict("Shapes", f"{recall:.0%}", sentence, asked, alignment.figures.keeps_edges)


def _motion(alignment: Alignment) -> Verdict:
    difference = alignment.figures.flow_difference
    asked = f"below {MAX_FLOW_DIFFERENCE:g} px"
    if difference is None:
        return Verdict("Motion", "–", _no_motion(alignment), asked, None)
    sentence = f"between the film's motion and the render's, for the typical pixel at {_size(alignment)}."
    return Verdict("Motion", f"{difference:.2f} px", sentence, asked, alignment.figures.keeps_motion)


def _steadiness(alignment: Alignment) -> Verdict:
    flicker, asked = alignment.figures.flicker, f"at most {MAX_FLICKER_RATIO:g}×"
    if flicker is None:
        return Verdict("Steadiness", "–", _no_motion(alignment), asked, None)
    levels = f"{flicker.levels:.1f} of 255 levels from frame to frame"
    if alignment.figures.is_still:
        return Verdict("Steadiness", "still", f"The film flickers by {levels}, which is not seen.", asked, True)
    if flicker.ratio is None:
        sentence = f"The film flickers by {levels}; the render stands perfectly still, so there is nothing to compare."
        return Verdict("Steadiness", "–", sentence, asked, None)
    beside = f"{flicker.levels:.1f} against {flicker.reference_levels:.1f} levels"
    sentence = f"the render's own flicker, motion taken out: {beside}."
    return Verdict("Steadiness", f"{flicker.ratio:.2f}×", sentence, asked, alignment.figures.is_steady)


def _colour(alignment: Alignment) -> Verdict:
    change = alignment.figures.colour_change
    if change is None:
        return Verdict("Colour", "–", "There is no frame to compare.", "", None)
    word = next(word for limit, word in _COLOUR_WORDS if change < limit)
    sentence = f"A {word} change of colour and light (mean CIE76 difference). A change is wanted here."
    return Verdict("Colour", f"ΔE {change:.0f}" if change >= 10 else f"ΔE {change:.1f}", sentence, "", None)


def _no_motion(alignment: Alignment) -> str:
    if alignment.num_frames < 2:
        return "One frame has no motion to compare."
    return f"Frames of {_size(alignment)} are too small, or too different, to follow their motion."


def _size(alignment: Alignment) -> str:
    return f"{alignment.width} × {alignment.height}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
