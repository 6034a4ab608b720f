"""Edges of the render found again in the output: does it keep the outlines?

Separate from the edges themselves (`media/edges.py`), which the check of an edited keyframe shares.
"""

from __future__ import annotations

from realmaster.evaluation.metrics.frames import Frames, shown_pair
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured
from realmaster.media.edges import TOLERANCE_PIXELS, EdgeAgreement, compare_edges, edge_mask

__all__ = ["METRICS", "TOLERANCE_PIXELS", "EdgeAgreement", "edge_agreement", "edge_mask"]


def edge_agreement(reference: Frames, frames: Frames) -> EdgeAgreement:
    """Compare the edges of a clip with those of its reference, frames [F, H, W, 3], uint8 or float in [0, 1]."""
    return compare_edges(*shown_pair(reference, frames))


def _agreement(case: Case) -> EdgeAgreement:
    found: EdgeAgreement = case.once("edges", lambda: edge_agreement(case.render, case.output))
    return found


def _f1(case: Case) -> Figure:
    found = _agreement(case)
    return measured(found.f1, "there are no edges", recall=found.recall, precision=found.precision)


METRICS = (
    Metric(
        "edge_f1",
        "edge F1",
        "structure",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source="Canny edges of render and output found again in each other within 2 px",
        measure=lambda case, tools: _f1(case),
    ),
    Metric(
        "edge_recall",
        "edge recall",
        "structure",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source="Canny edges of the render found in the output within 2 px",
        measure=lambda case, tools: measured(_agreement(case).recall, "the render has no edges"),
    ),
)
