"""Labels of the render found again in the output: can the simulator's labels still be trained on?

Borders of instances and jumps in depth should be edges of the output, and the output should move as the flow says. The
render itself is measured beside it: not every border shows, and optical flow is an estimate, so its figure is the
ceiling.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.labels import Label, Labels, boundaries, depth_edges, grown
from realmaster.evaluation.metrics.edges import TOLERANCE_PIXELS, edge_mask
from realmaster.evaluation.metrics.frames import grey
from realmaster.evaluation.metrics.metric import Case, Clip, Figure, Metric, measured
from realmaster.media.motion import can_flow, motion, textured

if TYPE_CHECKING:
    from realmaster.evaluation.tools import Tools

Mask = npt.NDArray[np.bool_]


def found_share(frames: Clip, labels: Labels, label: Label, lines_of: Callable[[Any], Mask]) -> float | None:
    """Return the share of a label's lines that have an edge of the clip within 2 px, mean over frames that have lines.

    Frames uint8 [F, H, W, 3]; `lines_of` makes bool [H, W] from the label. Absent without the label or its lines.
    """
    shares = []
    for index, frame in enumerate(frames):
        array = labels.frame(label, index)
        if array is None:
            continue
        lines = lines_of(array)
        if lines.any():
            shares.append(float(np.mean(grown(edge_mask(frame), TOLERANCE_PIXELS)[lines])))
    return float(np.mean(shares)) if shares else None


def label_flow_error(frames: Clip, labels: Labels) -> float | None:
    """Return the median end-point error of the clip's optical flow against the labels', in pixels.

    Frames uint8 [F, H, W, 3]. Per pair of frames the median over pixels with texture whose way ends inside the frame
    and that the next frame does not hide (instances agree, where the labels have them); then the median over pairs.
    """
    errors = []
    for index, flow in _flows(labels, len(frames)):
        start = grey(frames[index])
        wanted = textured(start) & _stays(labels, flow, index)
        if wanted.any():
            found = motion(start, grey(frames[index + 1]))
            errors.append(float(np.median(np.linalg.norm(found - flow, axis=-1)[wanted])))
    return float(np.median(errors)) if errors else None


def _flows(labels: Labels, num_frames: int) -> Iterator[tuple[int, Any]]:
    for index in range(num_frames - 1):
        flow = labels.frame("flow", index)
        if flow is not None:
            yield index, flow


def _stays(labels: Labels, flow: Any, index: int) -> Mask:
    """Pixels of a frame that are seen in the next one: bool [H, W]."""
    height, width = flow.shape[:2]
    rows, columns = np.mgrid[:height, :width]
    x, y = np.rint(columns + flow[..., 0]), np.rint(rows + flow[..., 1])
    inside = (x >= 0) & (x < width) & (y >= 0) & (y < height)
    here, there = labels.frame("segmentation", index), labels.frame("segmentation", index + 1)
    if here is None or there is None:
        return np.asarray(inside, np.bool_)
    reached = there[np.clip(y, 0, height - 1).astype(int), np.clip(x, 0, width - 1).astype(int)]
    return np.asarray(inside & (reached == here), np.bool_)


def _measure(case: Case, label: Label, measure: Callable[[Clip, Labels], float | None], reason: str) -> Figure:
    labels = case.labels
    if labels is None or not labels.has(label):
        return Figure.absent(f"the labels hold no {label}")
    of_render = case.once_for_render(f"label {label}", lambda: measure(case.render, labels))
    return measured(measure(case.output, labels), reason, of_render=of_render)


def _lines(name: str, title: str, label: Label, lines_of: Callable[[Any], Mask], source: str) -> Metric:
    def measure(case: Case, tools: Tools) -> Figure:
        return _measure(
            case,
            label,
            lambda frames, labels: found_share(frames, labels, label, lines_of),
            f"the {label} has no lines",
        )

    return Metric(
        name,
        title,
        "labels",
        unit="",
        low=0.0,
        high=1.0,
        direction="higher",
        source=source,
        measure=measure,
        needs=("labels",),
    )


def _flow(case: Case, tools: Tools) -> Figure:
    if not can_flow(*case.output.shape[1:3]):
        return Figure.absent("frames are too small for optical flow")
    return _measure(case, "flow", label_flow_error, "the output has no texture to follow")


METRICS = (
    _lines(
        "label_boundaries",
        "instance borders found",
        "segmentation",
        boundaries,
        "share of the segmentation's borders with an edge of the output within 2 px",
    ),
    _lines(
        "label_depth_edges",
        "depth edges found",
        "depth",
        depth_edges,
        "share of the jumps in depth (ratio 1.1) with an edge of the output within 2 px",
    ),
    Metric(
        "label_flow",
        "flow error against labels",
        "labels",
        unit="px",
        low=0.0,
        high=None,
        direction="lower",
        source="median end-point error of the output's DIS flow against the render's exact flow, where it shows",
        measure=_flow,
        needs=("labels", "two frames"),
    ),
)
