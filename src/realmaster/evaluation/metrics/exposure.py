"""Exposure error of red, green and blue against the truth, in stops: is the light as bright, and of that colour?

Separate from PSNR, which mixes light with detail: a clip one stop too dark is one setting away from right.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from realmaster.evaluation.metrics.frames import Frames, shown_pair
from realmaster.evaluation.metrics.metric import Case, Figure, Metric, measured

if TYPE_CHECKING:
    from realmaster.evaluation.tools import Tools

CHANNELS = ("red", "green", "blue")
_BLACK = 1e-4  # of linear light: keeps a black frame finite, at 13 stops under white


def exposure_error(truth: Frames, frames: Frames) -> tuple[float, float, float]:
    """Return |log2(mean light of the clip / mean light of the truth)| for red, green and blue, mean over frames.

    Frames [F, H, W, 3], sRGB, uint8 or float in [0, 1]; light is linear (IEC 61966-2-1). In stops: 1 is twice or half.
    """
    a, b = shown_pair(truth, frames)
    errors = np.abs(np.log2((_light(b) + _BLACK) / (_light(a) + _BLACK))).mean(axis=0)
    red, green, blue = errors.tolist()
    return red, green, blue


_LINEAR = np.where(
    np.arange(256) / 255 <= 0.04045, np.arange(256) / 255 / 12.92, ((np.arange(256) / 255 + 0.055) / 1.055) ** 2.4
)


def _light(frames: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Mean linear light of each frame and channel: [F, 3]."""
    return np.stack([_LINEAR[frame].mean(axis=(0, 1)) for frame in frames])


def _channel(index: int) -> Callable[[Case, Tools], Figure]:
    def measure(case: Case, tools: Tools) -> Figure:
        if case.truth is None:
            return measured(None)
        truth = case.truth
        return measured(case.once("exposure", lambda: exposure_error(truth, case.output))[index])

    return measure


METRICS = tuple(
    Metric(
        f"exposure_error_{channel}",
        f"exposure error, {channel}",
        "ground truth",
        unit="stops",
        low=0.0,
        high=None,
        direction="lower",
        source="|log2| of the ratio of mean linear light, output over truth, per frame, then the mean",
        measure=_channel(index),
        digits=2,
        needs=("truth",),
    )
    for index, channel in enumerate(CHANNELS)
)
