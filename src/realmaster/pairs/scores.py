"""Score a finished clip against its source: is the person still the person, the scene still the scene?

Separate from the thresholds (`thresholds`): everything is measured once and stored, so that a threshold can change
later without any of this. A score that cannot be had (no faces, no edges, no motion) is an absent key, never zero.

Letters: F frames, H height, W width.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.evaluation.metrics import colour_change, edge_agreement, psnr
from realmaster.evaluation.metrics.flicker import mean_flicker, pair_flicker
from realmaster.evaluation.metrics.frames import grey
from realmaster.evaluation.metrics.sharpness import gradient_energy
from realmaster.evaluation.side_by_side import evenly
from realmaster.media.motion import can_flow
from realmaster.models.faces import FaceModel, cosine, distance, match_faces

Frames = npt.NDArray[np.uint8]  # [F, H, W, 3]
Frame = npt.NDArray[np.uint8]  # [H, W, 3]

_MOST_DB = 99.0  # of equal frames, whose PSNR is infinite: JSON has no infinity
_BLACK = 8.0  # mean luma, of 255: below it a frame shows nothing
_MOVES = 1.0  # mean difference of neighbouring source frames, in levels: above it something moves
_STANDS = 0.1  # of the source's difference: below it the result does not follow

logger = logging.getLogger(__name__)


class ScoreTools(Protocol):
    """What scoring needs beside the frames: `realmaster.pairs.scoring.Scorer` has it."""

    @property
    def faces(self) -> FaceModel | None:
        """Finds and embeds faces; None leaves identity out."""

    @property
    def num_face_frames(self) -> int:
        """Frames in which faces are looked for."""

    @property
    def num_frames(self) -> int:
        """Frames, or steps from frame to frame, that the other scores look at."""


def score_clip(source: Frames, result: Frames, anchors: Mapping[int, Frame], tools: ScoreTools) -> Mapping[str, float]:
    """Measure everything that a filter may ask of a clip. Same frames, same numbers.

    Args:
        source: the render, uint8 [F, H, W, 3].
        result: the propagated clip, the same shape.
        anchors: edited frames [H, W, 3] by their index in the clip; may be empty.
        tools: the face model, and how many frames to look at.

    Returns:
        Names as in `SCORES`; what cannot be measured on this clip is absent.

    Raises:
        MediaError: source and result differ in shape, or an anchor lies outside of them.
    """
    if source.shape != result.shape:
        raise MediaError(
            f"expected a result of the source's shape {list(source.shape)}, got {list(result.shape)}: "
            "propagate it again"
        )
    scores: dict[str, float] = {}
    if tools.faces is not None:
        scores |= identity_scores(source, result, tools.faces, num_frames=tools.num_face_frames)
    scores |= structure_scores(source, result, num_frames=tools.num_frames)
    scores |= time_scores(source, result, num_steps=tools.num_frames)
    scores |= anchor_scores(result, anchors)
    scores |= look_scores(source, result, num_frames=tools.num_frames)
    return scores


def identity_scores(source: Frames, result: Frames, faces: FaceModel, *, num_frames: int) -> dict[str, float]:
    """Compare the faces of evenly chosen frames; matched by position first, then by similarity.

    `identity` (lowest cosine, ArcFace) or `identity_distance` (largest distance, dlib) is that of the worst matched
    pair, as the paper filters; `num_faces` of the source and `num_faces_found` of them in the result.
    """
    compare = cosine if faces.measure == "cosine" else distance
    values: list[float] = []
    num_faces = 0
    for index in evenly(len(source), num_frames):
        wanted = faces.find(source[index])
        num_faces += len(wanted)
        for match in match_faces(wanted, faces.find(result[index]) if wanted else []):
            values.append(compare(match.first, match.second))
    scores = {"num_faces": float(num_faces), "num_faces_found": float(len(values))}
    if values and faces.measure == "cosine":
        scores["identity"] = min(values)
    elif values:
        scores["identity_distance"] = max(values)
    return scores


def structure_scores(source: Frames, result: Frames, *, num_frames: int) -> dict[str, float]:
    """Return edge F1 (`structure`) and the share of the source's edges found again; absent without edges to find."""
    chosen = evenly(len(source), num_frames)
    found = edge_agreement(source[chosen], result[chosen])
    if found.recall is None:
        return {}
    # a result without any edge has lost them all, which is a figure and not the lack of one
    return {"structure": found.f1 if found.f1 is not None else 0.0, "edges_kept": found.recall}


def time_scores(source: Frames, result: Frames, *, num_steps: int) -> dict[str, float]:
    """Return `flicker` (times the source's), and the share of steps at which the result stands still (`frozen`).

    Steps at which the source repeats a frame, as 8 frames a second brought to 16 do, say nothing and are left out.
    """
    moved = [float(np.mean(np.abs(b.astype(np.int16) - a))) for a, b in pairwise(source)]
    steps = [index for index, levels in enumerate(moved) if levels > 0.0]
    scores: dict[str, float] = {}
    moving = [index for index in steps if moved[index] > _MOVES]
    if moving:
        stood = [
            float(np.mean(np.abs(result[i + 1].astype(np.int16) - result[i]))) < _STANDS * moved[i] for i in moving
        ]
        scores["frozen"] = float(np.mean(stood))
    if steps and can_flow(*source.shape[1:3]):
        chosen = [steps[i] for i in evenly(len(steps), num_steps)]
        pairs = [pair_flicker(source[i], source[i + 1], result[i], result[i + 1]) for i in chosen]
        found = mean_flicker([pair for pair in pairs if pair is not None])
        if found is not None:
            scores["flicker_levels"] = found.levels
            if found.ratio is not None:
                scores["flicker"] = found.ratio
    return scores


def anchor_scores(result: Frames, anchors: Mapping[int, Frame]) -> dict[str, float]:
    """Return the PSNR in dB between anchors and the result's frames in their place, at most 99.

    `anchor_first` asks whether the first anchored frame is its anchor; `anchor_worst` is the least faithful one (a last
    anchor shares its latent frame with control, and is drawn less exactly).

    Raises:
        MediaError: an anchor lies outside the clip, or has another size.
    """
    found: list[float] = []
    for index in sorted(anchors):
        if not 0 <= index < len(result) or anchors[index].shape != result.shape[1:]:
            raise MediaError(
                f"expected anchors of {result.shape[2]}x{result.shape[1]} in frames 0 to {len(result) - 1}, got frame "
                f"{index} of {anchors[index].shape[1]}x{anchors[index].shape[0]}: edit the clip's own frames"
            )
        value = psnr(result[index : index + 1], anchors[index][None])
        found.append(min(value, _MOST_DB) if math.isfinite(value) else _MOST_DB)
    return {"anchor_first": found[0], "anchor_worst": min(found)} if found else {}


def look_scores(source: Frames, result: Frames, *, num_frames: int) -> dict[str, float]:
    """Return the share of `black` frames, the change of colour (dE76), and the sharpness over the source's.

    A frame counts as black where the source shows something there: a fade of the render is no fault of the result.
    """
    chosen = evenly(len(source), num_frames)
    lit = [index for index in range(len(source)) if grey(source[index]).mean() > 2 * _BLACK]
    scores = {"colour_change": colour_change(source[chosen], result[chosen])}
    if lit:
        scores["black"] = float(np.mean([grey(result[index]).mean() < _BLACK for index in lit]))
    energy = gradient_energy(source[chosen])
    if energy > 0.0:
        scores["sharpness"] = gradient_energy(result[chosen]) / energy
    return scores


# every score: its heading, its digits, and which way is better (0: neither)
SCORES: Mapping[str, tuple[str, int, int]] = {
    "identity": ("identity, lowest cosine", 3, 1),
    "identity_distance": ("identity, largest dlib distance", 3, -1),
    "num_faces": ("faces in the source", 0, 0),
    "num_faces_found": ("faces found again", 0, 0),
    "structure": ("structure, edge F1", 3, 1),
    "edges_kept": ("edges of the source kept", 3, 1),
    "flicker": ("flicker, times the source's", 2, -1),
    "flicker_levels": ("flicker, levels of 255", 2, -1),
    "frozen": ("share of steps that stand still", 2, -1),
    "black": ("share of black frames", 2, -1),
    "anchor_first": ("first anchor kept, dB", 1, 1),
    "anchor_worst": ("worst anchor kept, dB", 1, 1),
    "colour_change": ("colour change, dE", 1, 0),
    "sharpness": ("sharpness, times the source's", 2, 0),
    # of the edits, the worst of a clip's keyframes: measured where they are made (`pipelines/edit_checks.py`)
    "edit_attempts": ("seeds the editor needed", 0, -1),
    "edit_found": ("edits: keyframe found again", 2, 1),
    "edit_shift": ("edits: shift, of the width", 4, -1),
    "edit_zoom": ("edits: zoom", 3, 0),
    "edit_warp": ("edits: warp, of the width", 4, -1),
    "edit_edges_lost": ("edits: edges lost", 2, -1),
    "edit_edges_invented": ("edits: edges invented", 2, -1),
    "edit_palette_moved": ("edits: palette moved, dE", 1, 0),
}


def heading(name: str) -> str:
    """Return a score's heading; a score of another tool goes by its name."""
    return SCORES[name][0] if name in SCORES else name.replace("_", " ")


def written(name: str, value: float) -> str:
    """Write a score with its digits."""
    return f"{value:.{SCORES[name][1] if name in SCORES else 3}f}"


def in_order(names: Sequence[str]) -> list[str]:
    """Sort names of scores as `SCORES` has them; others follow by name."""
    order = list(SCORES)
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def plain(scores: Mapping[str, Any]) -> dict[str, float]:
    """Round scores to six digits, in their order: a record of the same clip is the same bytes."""
    return {name: round(float(scores[name]), 6) for name in in_order(list(scores))}
