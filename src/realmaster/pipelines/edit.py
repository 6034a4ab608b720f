"""What a keyframe editor is: the first step of the paper's data engine (arXiv 2603.23462, keyframe enhancement).

Separate from the editors themselves, which need models or folders: the pair builder and the baselines know this
protocol alone, and a third party's editor has only to fit it.

Letters: N keyframes, H, W pixels.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

Frames = npt.NDArray[np.uint8]


@runtime_checkable
class KeyframeEditor(Protocol):
    """Turn rendered keyframes into photographs of the same scene."""

    @property
    def name(self) -> str:
        """What it is called in settings and records."""

    def describe(self) -> dict[str, Any]:
        """Say model, revision and settings, as JSON: what a record keeps, and what names the result."""

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        """Edit the keyframes of one clip together: uint8 [N, H, W, 3] to the same shape.

        They share prompt and seed, so that they agree. The same arguments give the same frames on one machine.

        Raises:
            RealMasterError: an edit cannot be made; the message says why.
        """
