"""What a baseline is: settings, what it lacks on this machine, what it will cost, and one function from clip to
clip.

Separate from the methods so that a package of one's own can bring another: a class of this kind, named by an entry
point of the group `realmaster.baselines`. Whatever grid a method works on, it gives back the render's (`grid`).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from realmaster.config import Settings
from realmaster.data.pair_set import PairRow
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.types import ClipInfo

Frames = npt.NDArray[np.uint8]  # [F, H, W, 3]
CAPTION = "{caption}"


class BaselineSettings(Settings):
    """What every baseline is told; a method adds its own."""

    prompt: str = Field(CAPTION, description="what is asked for; {caption} stands for the clip's caption")


S = TypeVar("S", bound=BaselineSettings)


@dataclass(frozen=True)
class RenderedClip:
    """A clip to work on: its frames at its own size and rate, what is asked for, and its row where it is of a pair set.

    `state` names a file beside the output in which a method may keep what must outlive a broken run, as the number of a
    task that is paid for; it is removed when the clip is done.
    """

    name: str
    frames: Frames
    rate: Fraction
    prompt: str
    seed: int = 0
    row: PairRow | None = None
    state: Path | None = None


@dataclass(frozen=True)
class Cost:
    """What a run will cost, in the provider's unit and in dollars, and how that was counted."""

    credits: float
    dollars: float
    how: str

    def __str__(self) -> str:
        return f"about {self.credits:,.0f} credits, {self.dollars:,.2f} dollars ({self.how})"


class Baseline(ABC, Generic[S]):
    """One method, told what to do; nothing is loaded before the first clip."""

    settings_class: ClassVar[type[BaselineSettings]] = BaselineSettings
    without_effect: ClassVar[frozenset[str]] = frozenset()  # settings that change no pixel: prices, paths, memory

    def __init__(self, settings: S, *, device: str | None = None) -> None:
        """Take settings of `settings_class`, and torch's name of a device (None is the fastest there is)."""
        self.settings, self._device = settings, device

    @abstractmethod
    def translate(self, clip: RenderedClip) -> Frames:
        """Give the method's version of a clip: uint8 of the shape of `clip.frames`.

        Raises:
            RealMasterError: weights are missing, a server refuses, or the settings do not fit the clip.
        """

    def lacking(self) -> Requirement | None:
        """Say what is missing on this machine, without loading anything; None where it can run."""
        return None

    def describe(self) -> dict[str, Any]:
        """Name the models beyond the settings (revisions, digests of weights), for the record of each clip."""
        return {}

    def report(self) -> dict[str, Any]:
        """Tell what is known after a clip, such as what it cost, for its record."""
        return {}

    def cost(self, clips: Sequence[ClipInfo]) -> Cost | None:
        """Count what these clips cost; None where nothing is paid."""
        return None

    @property
    def device(self) -> str:
        """Where models run."""
        if self._device is not None:
            return self._device
        import torch

        return "cuda" if torch.cuda.is_available() else "cpu"

    def ask(self, caption: str) -> str:
        """Write the prompt of a clip with this caption."""
        return self.settings.prompt.replace(CAPTION, caption).strip()


def missing_folder(
    folder: Path | None, setting: str, remedy: str, file: str = "model_index.json"
) -> Requirement | None:
    """Say that a folder of weights is not named, or holds no `file`."""
    if folder is None:
        return Requirement(f"no weights ({setting})", remedy)
    return None if (folder / file).is_file() else Requirement(f"no {file} in {folder} ({setting})", remedy)
