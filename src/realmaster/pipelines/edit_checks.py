"""Is an edited keyframe still its keyframe? Shift, zoom and warp; edges lost and invented; colours moved.

Separate from the editors, which may be anybody's: every edit passes here. Image editors move their picture by some
pixels (a small move is taken back, a large one is refused) and some draw another picture altogether (arXiv 2603.23462
names over-edited anchors among its limits). The thresholds lie beyond what true photographs of the same scene have:
docs/pairs.md has the figures.

Letters: N keyframes, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field

from realmaster.config import Settings
from realmaster.media.edges import compare_edges
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.edit_alignment import align, take_back

Frames = npt.NDArray[np.uint8]


class EditCheckSettings(Settings):
    """What an edit may do to its keyframe; lengths are shares of the picture's width."""

    min_found: float = Field(0.15, ge=0, le=1, description="least share of the keyframe's texture found in the edit")
    untouched_pixels: float = Field(
        1.2, ge=0, description="a move up to this is left: the estimate's own error, in pixels at 480 rows or fewer"
    )
    max_shift: float = Field(0.03, ge=0, description="a move up to this, at the corners, is taken back")
    max_zoom: float = Field(0.03, ge=0, description="a zoom by up to this factor less 1 is taken back")
    max_warp: float = Field(0.012, ge=0, description="largest local move that is left, 90th percentile")
    max_edges_lost: float = Field(0.65, ge=0, le=1, description="largest share of the keyframe's edges not found again")
    max_edges_invented: float = Field(0.65, ge=0, le=1, description="largest share of the edit's edges that are new")
    max_palette_moved: float = Field(45.0, ge=0, description="largest mean distance of colours in CIELAB, after a blur")
    max_attempts: int = Field(3, ge=1, description="seeds that are tried before the clip is given up")


@dataclass(frozen=True)
class EditScores:
    """What was measured of one edit; lengths are shares of the width."""

    found: float  # share of the keyframe's texture found again
    shift: float  # largest move of a corner
    zoom: float  # 1 is none
    warp: float  # what is left locally after that move is taken back
    edges_lost: float
    edges_invented: float
    palette_moved: float


@dataclass(frozen=True)
class CheckedEdit:
    """Edited keyframes, moved back where they had moved; `reason` says why they are no good, None if they are."""

    frames: Frames
    seed: int
    num_attempts: int
    scores: tuple[EditScores, ...]
    reason: str | None

    def as_json(self) -> dict[str, float]:
        """Give the worst figure of each kind over the keyframes, by its name in a record."""
        worst: dict[str, float] = {"edit_attempts": float(self.num_attempts)}
        for field in fields(EditScores):
            values = [getattr(score, field.name) for score in self.scores]
            if values:
                worst[f"edit_{field.name}"] = float(max(values, key=_BADNESS.get(field.name)))
        return worst


_BADNESS: dict[str, Callable[[float], float]] = {"zoom": lambda zoom: abs(zoom - 1), "found": lambda found: -found}


def edit_checked(
    editor: KeyframeEditor, frames: Frames, *, prompt: str, seed: int, settings: EditCheckSettings | None = None
) -> CheckedEdit:
    """Edit keyframes uint8 [N, H, W, 3] together, check each, and try again with other seeds where one is no good.

    Seeds are seed, seed + 1, ...; where none will do, the last attempt comes back with its reason.
    """
    settings = settings or EditCheckSettings()
    checked: CheckedEdit | None = None
    for attempt in range(settings.max_attempts):
        edited = editor.edit(frames, prompt=prompt, seed=seed + attempt)
        kept, scores, reasons = [], [], []
        for index, (frame, edit) in enumerate(zip(frames, edited, strict=True)):
            back, score, reason = check_edit(frame, edit, settings)
            kept.append(back)
            scores.append(score)
            if reason is not None:
                reasons.append(f"keyframe {index}: {reason}")
        reason = reasons[0] if reasons else None
        stacked = np.stack(kept) if kept else edited
        checked = CheckedEdit(stacked, seed + attempt, attempt + 1, tuple(scores), reason)
        if reason is None:
            break
    assert checked is not None, "there is a first attempt"
    return checked


def check_edit(keyframe: Frames, edit: Frames, settings: EditCheckSettings) -> tuple[Frames, EditScores, str | None]:
    """Check one edit uint8 [H, W, 3]: give it back, moved onto its keyframe, with its scores and why it is no good."""
    height, width = keyframe.shape[:2]
    alignment = align(keyframe, edit)
    shift, zoom, warp, found = 0.0, 1.0, 0.0, 1.0  # a flat keyframe cannot be seen to move
    if alignment is not None:
        pixels, zoom, found = alignment.corner_shift(height, width), alignment.zoom, alignment.found
        shift, warp = pixels / width, alignment.warp_pixels / width
        if found >= settings.min_found and pixels * alignment.estimated_scale > settings.untouched_pixels:
            edit = take_back(edit, alignment)
    edges = compare_edges(keyframe[None], edit[None])
    scores = EditScores(
        found=found,
        shift=shift,
        zoom=zoom,
        warp=warp,
        edges_lost=0.0 if edges.recall is None else 1 - edges.recall,
        edges_invented=0.0 if edges.precision is None else 1 - edges.precision,
        palette_moved=measure_palette(keyframe, edit),
    )
    return edit, scores, _refuse(scores, settings)


def measure_palette(keyframe: Frames, edit: Frames) -> float:
    """Measure how far colours have moved: mean distance in CIELAB between the pictures at 16 rows."""
    size = (max(1, round(16 * keyframe.shape[1] / keyframe.shape[0])), 16)
    labs = []
    for picture in (keyframe, edit):
        small = cv2.resize(picture, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
        labs.append(np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB)))
    return float(np.linalg.norm(labs[0] - labs[1], axis=2).mean())


def _refuse(scores: EditScores, settings: EditCheckSettings) -> str | None:
    if scores.found < settings.min_found:
        return f"over-edited: {scores.found:.0%} of the keyframe is found again, less than {settings.min_found:.0%}"
    if scores.shift > settings.max_shift:
        return f"moved by {scores.shift:.1%} of the width, more than {settings.max_shift:.1%}"
    if abs(scores.zoom - 1) > settings.max_zoom:
        return f"zoomed by {scores.zoom:.3f}, more than {settings.max_zoom:g} from 1"
    if scores.warp > settings.max_warp:
        return f"warped by {scores.warp:.1%} of the width, more than {settings.max_warp:.1%}"
    if scores.edges_lost > settings.max_edges_lost:
        return f"over-edited: {scores.edges_lost:.0%} of the edges lost, more than {settings.max_edges_lost:.0%}"
    if scores.edges_invented > settings.max_edges_invented:
        return f"over-edited: {scores.edges_invented:.0%} of the edges new, more than {settings.max_edges_invented:.0%}"
    if scores.palette_moved > settings.max_palette_moved:
        return f"over-edited: colours moved by {scores.palette_moved:.0f}, more than {settings.max_palette_moved:g}"
    return None
