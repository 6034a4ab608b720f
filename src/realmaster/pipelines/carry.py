"""From a translated window to the output: the change, carried to the input's own pixels, or the pixels themselves.

Separate from `transfer`, whose fit knows arrays only, and from `translate`, which knows files: here are windows, with
frames that are held or padding, the strength and the protected parts.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from realmaster.models.profiles import TransferSettings
from realmaster.pipelines.enlarge import enlarge
from realmaster.pipelines.exposure import Exposure
from realmaster.pipelines.hold import Hold
from realmaster.pipelines.protect import Weights
from realmaster.pipelines.sampling import TranslatedWindow
from realmaster.pipelines.sizes import resize
from realmaster.pipelines.transfer import SteadyFit, apply_change
from realmaster.pipelines.windows import Window

Frame = npt.NDArray[np.uint8]


class Carrier:
    """Make the output frames of a clip's windows, one after the other; the fit goes on within a shot."""

    def __init__(self, settings: TransferSettings, strength: float, masks: Iterator[Weights] | None) -> None:
        """Begin a clip; `masks` gives a weight for every new frame, 0 where the render stays."""
        self.settings, self.strength, self.masks = settings, strength, masks
        self.steady, self.hold = SteadyFit(settings), Hold(settings.hold)

    def carry(self, window: Window, translated: TranslatedWindow) -> Iterator[Frame]:
        """Give one window's new frames, each uint8 [H, W, 3], at the input's own resolution."""
        new = range(window.num_held, len(window.frames) - window.num_padding)
        if self.settings.channels == "pixels":
            for index in new:
                yield enlarge(window.frames[index], translated.frames[index], strength=self._weight())
            return
        # a shot's first frame is alone in its latent and comes out lighter or darker: it takes the next one's change
        first = 1
        renders = resize(window.frames, translated.guide.shape[1:3])
        exposure = Exposure.of(renders, self.settings)
        if window.num_held == 0:
            self.steady, self.hold = SteadyFit(self.settings), Hold(self.settings.hold)
            self.steady.begin(
                renders[first], translated.guide[first:], translated.frames[first:], exposure.weights[first:]
            )
        for index in new:
            shown = max(index, first)
            maps = self.steady.fit(
                renders[index], translated.guide[shown], translated.frames[shown], float(exposure.weights[shown])
            )
            weight = float(exposure.shares[index]) * self._weight()
            changed = apply_change(
                window.frames[index],
                maps,
                self.steady.remainder,
                strength=weight,
                gain=float(exposure.gains[index]),
            )
            yield self.hold.settle(window.frames[index], changed, weight) if self.settings.hold else changed

    def _weight(self) -> float | npt.NDArray[np.float32]:
        if self.masks is None:
            return self.strength
        return np.asarray(self.strength * next(self.masks), dtype=np.float32)
