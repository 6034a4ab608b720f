"""Learning rates over a run: a warm-up, then a constant or a cosine.

Separate because nano's own loop and the adapter's run follow the same curve.
"""

from __future__ import annotations

import math
from typing import Literal

Decay = Literal["cosine", "constant"]


def rate_factor(
    index: int, progress: float, *, warmup_steps: int, final_fraction: float, decay: Decay = "cosine"
) -> float:
    """Give the share of the peak rate for optimizer step `index`; `progress` is how far the run is, 0 to 1.

    min(1, (i + 1) / w), times max(f, (1 + cos(pi p)) / 2) where the rate decays.
    """
    warm = min(1.0, (index + 1) / warmup_steps) if warmup_steps else 1.0
    if decay == "constant":
        return warm
    return warm * max(final_fraction, 0.5 * (1 + math.cos(math.pi * progress)))
