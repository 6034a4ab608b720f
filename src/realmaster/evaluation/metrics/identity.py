"""Identity: are the people of the output the people of the render?

ArcFace's cosine is the paper's; dlib's distance is what installs anywhere. Both look at the same frames and match faces
by the same rule (`models/faces.py`), and they are never put in one column.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from realmaster.evaluation.metrics.frames import Frames, shown_pair
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured
from realmaster.models.faces import Face, FaceModel, cosine, distance, match_faces

if TYPE_CHECKING:
    from realmaster.evaluation.tools import Tools

NUM_FRAMES = 5


def sampled(num_frames: int) -> list[int]:
    """Choose `NUM_FRAMES` frames at even distances, the first and the last among them; all of a shorter clip."""
    return np.unique(np.linspace(0, num_frames - 1, min(NUM_FRAMES, num_frames)).round().astype(int)).tolist()


def faces_of(frames: Frames, faces: FaceModel) -> list[list[Face]]:
    """Find the faces of the sampled frames of a clip: uint8 [F, H, W, 3]."""
    return [faces.find(frames[index]) for index in sampled(len(frames))]


def identity(reference: Frames, frames: Frames, faces: FaceModel, known: list[list[Face]] | None = None) -> Figure:
    """Return the mean similarity of matched faces over the sampled frames: cosine or distance, as the model says.

    Frames [F, H, W, 3], uint8 or float in [0, 1]. Details: the worst pair, how many faces the render has, how many of
    them were matched, and how many of these in place. Absent where no face is matched. `known` are the reference's
    faces (`faces_of`), where they have been found already.
    """
    a, b = shown_pair(reference, frames)
    compare = cosine if faces.measure == "cosine" else distance
    values, num_faces, in_place = [], 0, 0
    for index, wanted in zip(sampled(len(a)), known if known is not None else faces_of(a, faces), strict=True):
        num_faces += len(wanted)
        for match in match_faces(wanted, faces.find(b[index]) if wanted else []):
            values.append(compare(match.first, match.second))
            in_place += match.by == "position"
    if num_faces == 0:
        return Figure.absent("no faces in the render")
    if not values:
        return Figure.absent(f"none of the render's {num_faces} faces is found in the output")
    return measured(
        float(np.mean(values)),
        worst=float(min(values) if faces.measure == "cosine" else max(values)),
        num_faces=num_faces,
        num_matched=len(values),
        num_in_place=in_place,
    )


def _arcface(case: Case, tools: Tools) -> Figure:
    return case.once("arcface", lambda: _identity(case, tools.arcface(), "arcface"))


def _identity(case: Case, faces: FaceModel, name: str) -> Figure:
    known = case.once_for_render(f"faces {name}", lambda: faces_of(case.render, faces))
    return identity(case.render, case.output, faces, known)


def _found(case: Case, tools: Tools) -> Figure:
    figure = _arcface(case, tools)
    if figure.value is not None:
        return measured(figure.details["num_matched"] / figure.details["num_faces"])
    return figure if "no faces" in figure.reason else measured(0.0)


METRICS = (
    Metric(
        "identity_arcface",
        "identity (ArcFace)",
        "identity",
        unit="cosine",
        low=-1.0,
        high=1.0,
        direction="higher",
        source="mean ArcFace cosine over faces matched in 5 uniformly sampled frames (RealMaster, 2026)",
        measure=_arcface,
        lacking=lambda tools: tools.lacking("arcface"),
        made_with=lambda tools: tools.identity("arcface"),
    ),
    Metric(
        "faces_found_arcface",
        "faces found again (SCRFD)",
        "identity",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source="share of the render's faces, in 5 uniformly sampled frames, that are matched with one of the output",
        measure=_found,
        lacking=lambda tools: tools.lacking("arcface"),
        made_with=lambda tools: tools.identity("arcface"),
    ),
    Metric(
        "identity_dlib",
        "identity (dlib)",
        "identity",
        unit="distance",
        low=0.0,
        high=None,
        direction="lower",
        source="mean dlib embedding distance over faces matched in 5 uniformly sampled frames; not ArcFace",
        measure=lambda case, tools: _identity(case, tools.dlib(), "dlib"),
        lacking=lambda tools: tools.lacking("dlib"),
        made_with=lambda tools: tools.identity("dlib"),
    ),
)
