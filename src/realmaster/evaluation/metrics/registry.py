"""All metrics by name, in the order of the tables.

Separate from `metrics/__init__`, which offers the plain functions to whoever has frames.
"""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches

from realmaster.errors import ConfigError
from realmaster.evaluation.metrics.colour import METRIC as COLOUR
from realmaster.evaluation.metrics.edges import METRICS as EDGES
from realmaster.evaluation.metrics.exposure import METRICS as EXPOSURE
from realmaster.evaluation.metrics.features import METRICS as FEATURES
from realmaster.evaluation.metrics.flicker import METRIC as FLICKER
from realmaster.evaluation.metrics.flow import METRIC as FLOW
from realmaster.evaluation.metrics.gradients import METRICS as GRADIENTS
from realmaster.evaluation.metrics.identity import METRICS as IDENTITY
from realmaster.evaluation.metrics.labels import METRICS as LABELS
from realmaster.evaluation.metrics.metric import Metric
from realmaster.evaluation.metrics.motion_smoothness import METRICS as MOTION_SMOOTHNESS
from realmaster.evaluation.metrics.psnr import METRIC as PSNR
from realmaster.evaluation.metrics.realism import METRICS as REALISM
from realmaster.evaluation.metrics.sharpness import METRIC as SHARPNESS
from realmaster.evaluation.metrics.ssim import METRIC as SSIM
from realmaster.evaluation.metrics.temporal_flickering import METRICS as TEMPORAL_FLICKERING
from realmaster.evaluation.metrics.unseen import METRICS as UNSEEN
from realmaster.evaluation.metrics.warping import METRIC as WARPING

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        *IDENTITY,
        *FEATURES,
        *EDGES,
        GRADIENTS[0],
        FLOW,
        WARPING,
        *REALISM,
        *TEMPORAL_FLICKERING,
        *MOTION_SMOOTHNESS,
        FLICKER,
        *LABELS,
        PSNR,
        *UNSEEN,
        SSIM,
        GRADIENTS[1],
        *EXPOSURE,
        SHARPNESS,
        COLOUR,
    )
}


def find_metrics(names: Iterable[str] | None = None) -> list[Metric]:
    """Give metrics by name, in the order of the tables; None gives all.

    Raises:
        ConfigError: there is no metric of a name; the message holds the nearest.
    """
    wanted = set(METRICS) if names is None else set(names)
    for name in sorted(wanted - set(METRICS)):
        near = get_close_matches(name, METRICS, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)}"
        raise ConfigError(f"expected the name of a metric, got {name!r}: {hint}")
    return [metric for name, metric in METRICS.items() if name in wanted]
