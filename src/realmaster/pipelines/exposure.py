"""Show a dim or glaring render to the model at the light it knows; what it says is then taken back to the render's own.

Separate from the fit, which knows nothing of training data. A model that never saw a dim render lights it up, so that a
fade to black would end in grey, and it darkens a glaring one, so that a fade to white would sag on its way. Brightened
or darkened for the model and taken back by the same factor, a fade stays a fade; and the nearer a frame is to black or
white, the less is changed, for there is nothing in it to go by.

Letters: F frames, h, w pixels at the model's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from realmaster.models.profiles import TransferSettings

Frames = npt.NDArray[np.uint8]
_MOST = 8.0  # times: darker frames are hardly changed, and more would only enlarge their rounding
_BLACK_SHARE = 0.5  # of the dimmest mean known: below it the change goes down to none at black
_WHITE = (165.0, 250.0)  # means between which the change goes down to none; nano knows up to the first


@dataclass(frozen=True)
class Exposure:
    """For each frame [F]: what it is multiplied by for the model, and the share of the change that it takes, 0..1."""

    gains: npt.NDArray[np.float32]
    shares: npt.NDArray[np.float32]

    @classmethod
    def of(cls, renders: Frames, settings: TransferSettings) -> Self:
        """Meter renders [F, h, w, 3] by their means, in display codes.

        Everything is 1 where the model's own pixels are shown, since nothing would take the light back, and where it
        is not said which renders the model knows.
        """
        if settings.channels == "pixels" or settings.dimmest == 0:
            ones = np.ones(len(renders), dtype=np.float32)
            return cls(ones, ones)
        means = renders.mean(axis=(1, 2, 3), dtype=np.float32)
        gains = np.clip(settings.dimmest / np.maximum(means, 1e-3), 1.0, _MOST)
        gains = np.where(means > settings.brightest, settings.brightest / np.maximum(means, 1e-3), gains)
        shares = np.clip(means / (_BLACK_SHARE * settings.dimmest), 0, 1)
        shares *= np.clip((_WHITE[1] - means) / (_WHITE[1] - _WHITE[0]), 0, 1)
        return cls(gains.astype(np.float32), shares.astype(np.float32))

    def expose(self, renders: Frames) -> Frames:
        """Multiply the renders [F, h, w, 3] by their gains."""
        if (self.gains == 1).all():
            return renders
        return np.clip(renders * self.gains[:, None, None, None] + 0.5, 0, 255).astype(np.uint8)

    @property
    def weights(self) -> npt.NDArray[np.float32]:
        """How much each frame counts in a fit over several [F]: what a dim or glaring one says is mostly guesses."""
        return np.maximum(self.shares / np.maximum(self.gains, 1 / self.gains) ** 2, np.float32(1e-4))
