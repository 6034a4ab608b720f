"""Faces: what a detector and embedder gives, and how the faces of two frames are matched.

Separate from the two that exist (`faces_insight`, `faces_dlib`) because metrics and pair filters only know this: their
figures are never compared with each other, so each carries its name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
import numpy.typing as npt

Frame = npt.NDArray[np.uint8]  # [H, W, 3]
Array = npt.NDArray[np.float32]
MIN_OVERLAP = 0.3  # of two boxes, intersection over union: the same place
REACH = 2.0  # sides of the larger box: how far a face that was not found in place may have gone


@dataclass(frozen=True)
class Face:
    """One face: box (left, top, right, bottom) in pixels, the detector's confidence, and the embedding [D]."""

    box: tuple[float, float, float, float]
    confidence: float
    embedding: Array

    @property
    def side(self) -> float:
        """The longer side of the box."""
        return max(self.box[2] - self.box[0], self.box[3] - self.box[1])


class FaceModel(Protocol):
    """Finds and embeds faces."""

    name: str  # with its version, for tables
    measure: Literal["cosine", "distance"]  # how two embeddings are compared

    def find(self, frame: Frame) -> list[Face]:
        """Find the faces of one frame, the most confident first."""


@dataclass(frozen=True)
class Match:
    """A face of one frame and its face in the other, and how they were brought together."""

    first: Face
    second: Face
    by: Literal["position", "similarity"]


def cosine(first: Face, second: Face) -> float:
    """Return the cosine of two embeddings: 1 the same, near 0 strangers (ArcFace)."""
    norms = float(np.linalg.norm(first.embedding) * np.linalg.norm(second.embedding))
    return float(first.embedding @ second.embedding) / norms if norms > 0 else 0.0


def distance(first: Face, second: Face) -> float:
    """Return the Euclidean distance of two embeddings: below 0.6 the same person (dlib)."""
    return float(np.linalg.norm(first.embedding - second.embedding))


def match_faces(first: list[Face], second: list[Face]) -> list[Match]:
    """Match the faces of two frames that show the same scene, each face at most once.

    By position first: pairs of boxes that overlap by `MIN_OVERLAP`, the largest overlap first. What is left is matched
    by similarity, the most alike first, with centres at most `REACH` sides apart, so that a face which vanished is not
    matched to whoever else is in the frame.
    """
    matches: list[Match] = []
    open_first, open_second = set(range(len(first))), set(range(len(second)))

    def take(pairs: list[tuple[float, int, int]], by: Literal["position", "similarity"]) -> None:
        for _, i, j in sorted(pairs, reverse=True):
            if i in open_first and j in open_second:
                open_first.remove(i)
                open_second.remove(j)
                matches.append(Match(first[i], second[j], by))

    overlaps = [(overlap(a, b), i, j) for i, a in enumerate(first) for j, b in enumerate(second)]
    take([pair for pair in overlaps if pair[0] >= MIN_OVERLAP], "position")
    near = [(i, j) for i in open_first for j in open_second if _apart(first[i], second[j]) <= REACH]
    take([(cosine(first[i], second[j]), i, j) for i, j in near], "similarity")
    return matches


def overlap(first: Face, second: Face) -> float:
    """Return the intersection over union of two boxes."""
    a, b = first.box, second.box
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    both = width * height
    either = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - both
    return both / either if either > 0 else 0.0


def _apart(first: Face, second: Face) -> float:
    """Distance of the centres, in sides of the larger box."""
    a, b = np.array(first.box), np.array(second.box)
    centres = (a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2
    return float(np.linalg.norm(centres)) / max(first.side, second.side, 1e-6)
