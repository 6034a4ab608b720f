"""How a camera's meter reads a picture. Pure numpy; `exposure` renders the picture and sets the camera."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.settings import Weather
from realmaster.media.color import REC709_LUMA

MIDDLE_GREY = 0.24
TARGETS: dict[Weather, float] = {"night": 0.08, "rain": 0.17}


def choose_exposure(picture: npt.NDArray[Any], weather: Weather) -> float:
    """Choose stops for a linear picture [..., 3]: its log mean goes to middle grey, its highlights have a say too."""
    luminance = picture @ np.array(REC709_LUMA)
    mean = np.exp(np.mean(np.log(np.clip(luminance, 1e-4, None))))
    highlight = max(float(np.percentile(luminance, 90)), 1e-4)
    target = TARGETS.get(weather, MIDDLE_GREY)
    stops = 0.75 * np.log2(target / mean) + 0.25 * np.log2(0.7 * target / 0.17 / highlight)
    return float(np.clip(stops, -6, 7))
