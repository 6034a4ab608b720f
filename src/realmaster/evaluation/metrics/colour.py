"""Colour: how far two clips' colours are apart, and how far one clip's colours wander.

Separate from the pixel metrics because here a *change* is wanted (a photograph is not the render) and a *drift* is not.
"""

from __future__ import annotations

import cv2
import numpy as np

from realmaster.evaluation.metrics.frames import Frames, shown, shown_pair
from realmaster.evaluation.metrics.metric import Metric, measured


def colour_change(first: Frames, second: Frames) -> float:
    """Return the mean CIE dE76 between two clips: Euclidean distance in L*a*b* (D65), pixel by pixel.

    Frames [F, H, W, 3], uint8 or float in [0, 1], sRGB.
    """
    a, b = shown_pair(first, second)
    distances = []
    for x, y in zip(a, b, strict=True):
        lab_x, lab_y = (cv2.cvtColor(frame.astype(np.float32) / 255.0, cv2.COLOR_RGB2Lab) for frame in (x, y))
        distances.append(float(np.mean(np.linalg.norm(lab_x - lab_y, axis=-1))))
    return float(np.mean(distances))


def colour_drift(first_window: Frames, last_window: Frames) -> tuple[float, float, float]:
    """Return last minus first window's mean of red, green and blue, in levels of 255.

    Frames [F, H, W, 3]; the two windows may differ in length. Meant for a static scene: with a moving camera the
    scene's own colours are in the figure too.
    """
    first, last = (shown(window).mean(axis=(0, 1, 2), dtype=np.float64) for window in (first_window, last_window))
    red, green, blue = (last - first).tolist()
    return red, green, blue


METRIC = Metric(
    "colour_change",
    "colour change",
    "look",
    unit="dE76",
    low=0.0,
    high=None,
    direction="neither",  # a photograph is not the render: near 0 means that nothing happened
    source="CIE dE76 between render and output, mean over pixels",
    measure=lambda case, tools: measured(colour_change(case.render, case.output)),
    digits=1,
)
