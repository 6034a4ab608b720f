"""What a metric is: a name, a unit, a range, a direction, a source, what it needs, and how to measure it.

Separate from the metrics so that each of them can say these things about itself, in one form, for tables, for reports
and for the page that explains them. A figure that cannot be had is absent with a reason, never zero.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from realmaster.evaluation.labels import Labels
    from realmaster.evaluation.tools import Tools

Clip = npt.NDArray[np.uint8]  # [F, H, W, 3]
Direction = Literal["higher", "lower", "neither"]
Need = Literal["truth", "labels", "two frames"]
Group = Literal["identity", "structure", "motion", "realism", "time", "labels", "ground truth", "look"]

_ABSENT_NEEDS = {
    "truth": "the clip has no ground truth",
    "labels": "the clip has no labels: render them with `realmaster render --passes`, or name their folder",
    "two frames": "one frame has no motion",
}


@dataclass(frozen=True)
class Figure:
    """A value, or why there is none; `is_final` is False where the reason may go away (weights, a server)."""

    value: float | None
    reason: str = ""
    details: Mapping[str, Any] = field(default_factory=dict)
    is_final: bool = True

    @classmethod
    def absent(cls, reason: str, *, is_final: bool = True) -> Figure:
        """Give no value, with the reason."""
        return cls(None, reason, {}, is_final)


@dataclass(frozen=True)
class Requirement:
    """What a metric lacks on this machine, and how to get it."""

    missing: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.missing}: {self.remedy}"


@dataclass(frozen=True)
class Case:
    """One clip of one method, beside its render and whatever else is known: all of one length and size.

    `memory` holds what several metrics want of this output, `scene_memory` what all methods want of the same render.
    """

    output: Clip
    render: Clip
    truth: Clip | None = None
    labels: Labels | None = None
    memory: dict[str, Any] = field(default_factory=dict)
    scene_memory: dict[str, Any] = field(default_factory=dict)

    def once(self, name: str, make: Callable[[], Any]) -> Any:
        """Make something of this output once."""
        if name not in self.memory:
            self.memory[name] = make()
        return self.memory[name]

    def once_for_render(self, name: str, make: Callable[[], Any]) -> Any:
        """Make something of the render once, for all methods."""
        if name not in self.scene_memory:
            self.scene_memory[name] = make()
        return self.scene_memory[name]


def nothing_lacking(tools: Tools) -> Requirement | None:
    """Ask for nothing: the metric needs no weights."""
    return None


def made_by_itself(tools: Tools) -> str:
    """Name no model: the metric is its formula."""
    return ""


@dataclass(frozen=True)
class Metric:
    """One metric."""

    name: str  # in settings and files
    title: str  # in tables
    group: Group
    unit: str
    low: float | None  # bounds of the range; None is unbounded
    high: float | None
    direction: Direction
    source: str  # definition in a line, with where it comes from
    measure: Callable[[Case, Tools], Figure]
    digits: int = 3
    needs: tuple[Need, ...] = ()
    lacking: Callable[[Tools], Requirement | None] = nothing_lacking
    made_with: Callable[[Tools], str] = made_by_itself
    version: int = 1  # raised when the definition changes: old rows are then measured again

    @property
    def arrow(self) -> str:
        """Which way is better, for a heading."""
        return {"higher": "↑", "lower": "↓", "neither": ""}[self.direction]

    def is_better(self, value: float, other: float) -> bool:
        """Tell whether a value beats another; a metric without a direction has no better."""
        return {"higher": value > other, "lower": value < other, "neither": False}[self.direction]

    def on(self, case: Case, tools: Tools) -> Figure:
        """Measure a case, or say why it cannot be measured."""
        has = {"truth": case.truth is not None, "labels": case.labels is not None, "two frames": len(case.output) > 1}
        for need in self.needs:
            if not has[need]:
                return Figure.absent(_ABSENT_NEEDS[need])
        lacking = self.lacking(tools)
        if lacking is not None:
            return Figure.absent(str(lacking), is_final=False)
        figure = self.measure(case, tools)
        if figure.value is not None and not math.isfinite(figure.value):
            return Figure.absent("infinite: a frame equals its counterpart")
        return figure


def measured(value: float | None, reason: str = "there is nothing to measure", **details: Any) -> Figure:
    """Give a figure; None becomes absent with the reason."""
    return Figure.absent(reason) if value is None else Figure(float(value), "", details)
