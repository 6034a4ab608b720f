"""What a stage is: a small object that readies itself once per process and then carries jobs one step on.

Separate because both executors, local and Ray, run the same objects and know nothing else of them. Pictures do not
travel with a job: stages leave them in the clip's working folder, so a job is a few hundred bytes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, Self

from realmaster.pairs.record import PlannedClip

STAGES = ("sample", "edit", "control", "propagate", "score", "finish")
"""The stages in their order (arXiv 2603.23462, data engine)."""


@dataclass(frozen=True)
class Job:
    """One clip on its way: its plan, what the stages found so far, and why it is given up, if it is."""

    clip: PlannedClip
    facts: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # by stage; JSON
    rejected_at: str | None = None
    reason: str | None = None

    def found(self, stage: str, facts: Mapping[str, Any]) -> Self:
        """Add what a stage found."""
        return replace(self, facts={**self.facts, stage: dict(facts)})

    def reject(self, stage: str, reason: str) -> Self:
        """Give the clip up: the stages between here and the record are passed over."""
        return replace(self, rejected_at=stage, reason=reason)


class Stage(Protocol):
    """One step of the pipeline."""

    name: str

    def setup(self) -> None:
        """Load what the stage needs; called once in each process, before the first job.

        Raises:
            RealMasterError: something is missing; the run does not start.
        """

    def __call__(self, job: Job) -> Job:
        """Carry a job one step on. The same job gives the same files and facts.

        Raises:
            RealMasterError: this clip failed; it is set aside with the reason and the others go on.
        """
