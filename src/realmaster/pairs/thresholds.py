"""Thresholds: which clips are kept, decided from stored scores alone.

Separate from measuring, so that `realmaster pairs filter` can decide again in a second what took a night to compute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal

from pydantic import Field

from realmaster.config import Settings


class Thresholds(Settings):
    """What a clip has to reach to be kept; null asks for nothing. A score that a clip lacks is not asked for."""

    min_identity: float | None = Field(0.4, ge=-1, le=1, description="lowest ArcFace cosine of matched faces (paper)")
    max_identity_distance: float | None = Field(
        0.52, ge=0, le=2, description="largest dlib distance of matched faces; docs/pair-files.md has its calibration"
    )
    no_faces: Literal["keep", "drop"] = Field("keep", description="clips whose source shows no face")
    min_faces_found: float | None = Field(
        None, ge=0, le=1, description="share of the source's faces found again; none of them found is dropped anyway"
    )
    min_structure: float | None = Field(0.4, ge=0, le=1, description="edge F1 with the source")
    max_flicker: float | None = Field(4.0, ge=0, description="times the flicker of the source")
    min_anchor: float | None = Field(15.0, ge=0, description="dB between the first anchor and the frame in its place")
    max_frozen: float | None = Field(
        0.5, ge=0, le=1, description="share of steps that stand still where the source moves"
    )
    max_black: float | None = Field(
        0.1, ge=0, le=1, description="share of black frames where the source shows something"
    )


# the bounds: setting, score, whether it is a lower bound, and the rule's words
_BOUNDS = (
    ("min_identity", "identity", True, "identity: lowest cosine"),
    ("max_identity_distance", "identity_distance", False, "identity: largest dlib distance"),
    ("min_structure", "structure", True, "structure: edge F1"),
    ("max_flicker", "flicker", False, "flicker: times the source's"),
    ("min_anchor", "anchor_first", True, "anchor: dB in its place"),
    ("max_frozen", "frozen", False, "frozen: share of steps"),
    ("max_black", "black", False, "black: share of frames"),
)
NEEDED = {setting: score for setting, score, _, _ in _BOUNDS} | {"min_faces_found": "num_faces"}


def decide(scores: Mapping[str, float], thresholds: Thresholds) -> tuple[str, ...]:
    """Return why a clip is dropped, one reason for each threshold that it misses; nothing where it is kept."""
    reasons: list[str] = []
    if "num_faces" in scores:  # faces were looked for
        wanted, found = int(scores["num_faces"]), int(scores["num_faces_found"])
        if wanted == 0 and thresholds.no_faces == "drop":
            reasons.append("faces: the source shows none")
        share = thresholds.min_faces_found
        if wanted and (found == 0 or (share is not None and found < share * wanted)):
            reasons.append(f"faces: {found} of {wanted} found again")
    for setting, name, is_lower, words in _BOUNDS:
        bound, value = getattr(thresholds, setting), scores.get(name)
        if bound is None or value is None:
            continue
        if value < bound if is_lower else value > bound:
            reasons.append(f"{words} {value:.3g} {'below' if is_lower else 'above'} {bound:g}")
    return tuple(reasons)


def rule_of(reason: str) -> str:
    """Name the rule behind a reason, without its numbers: reasons are counted by rule."""
    return re.split(r":| by [\d.]", re.sub(r"^keyframe \d+: ", "", reason))[0]


def in_words(reasons: tuple[str, ...]) -> str | None:
    """Write the reasons as a record keeps them: one line, or None where there are none."""
    return "; ".join(reasons) or None
