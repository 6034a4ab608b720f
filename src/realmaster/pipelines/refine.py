"""Draw a translated window anew at a larger size: the refiner sees the render, and the translation enlarged.

Separate from `sampling`, which gives the model's own pictures, and from `carry`, which takes pictures of any size.

Letters: F frames, h, w pixels at which the refiner works.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from realmaster.errors import NumericalError
from realmaster.models.refiner import refine, to_tensor
from realmaster.pipelines.enlarge import enlarge
from realmaster.pipelines.sampling import TranslatedWindow

Frames = npt.NDArray[np.uint8]


class Refiner:
    """A refiner's net, and how often it is asked."""

    def __init__(self, net: Any, *, mirror: bool = False) -> None:
        """Use a loaded net (`models/refiner.py`); with `mirror` the mean of a picture and its mirror image's."""
        self.net, self.mirror = net, mirror

    def refine(self, renders: Frames, window: TranslatedWindow, *, first: int = 0) -> TranslatedWindow:
        """Give a window at the size of `renders` [F, h, w, 3], which become its guide.

        Frames before `first` are enlarged only.

        Raises:
            NumericalError: the net returned NaN or infinity.
        """
        frames = np.stack([enlarge(render, frame) for render, frame in zip(renders, window.frames, strict=True)])
        frames[first:] = self._draw(renders[first:], frames[first:])
        return replace(window, frames=frames, guide=renders)

    @torch.inference_mode()
    def _draw(self, renders: Frames, frames: Frames) -> Frames:
        """Refine frames [n, h, w, 3]."""
        both = to_tensor(renders, self.net.device), to_tensor(frames, self.net.device)
        drawn = refine(self.net, *both)
        if self.mirror:
            drawn = (drawn + refine(self.net, *(video.flip(-1) for video in both)).flip(-1)) / 2
        if not torch.isfinite(drawn).all():
            raise NumericalError(
                "expected finite pixels from the refiner, got NaN or infinity: its weights are damaged, or it was "
                "trained for another model; do without it (--set refiner=null)"
            )
        levels = (drawn.permute(0, 2, 3, 1).cpu().numpy() + 1) * 127.5
        return np.asarray(np.clip(levels + 0.5, 0, 255), dtype=np.uint8)
