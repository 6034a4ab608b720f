"""The metrics, one file each: frames in, a number out, no model and no file.

`registry` has all of them by name, with unit, range, direction, source and what they need. The functions here are the
ones that want nothing but frames. All take uint8 [F, H, W, 3] or float in [0, 1]. A metric that cannot be computed is
None, never zero.
"""

from realmaster.evaluation.metrics.colour import colour_change, colour_drift
from realmaster.evaluation.metrics.edges import EdgeAgreement, edge_agreement
from realmaster.evaluation.metrics.exposure import exposure_error
from realmaster.evaluation.metrics.flicker import Flicker, flicker
from realmaster.evaluation.metrics.flow import flow_difference
from realmaster.evaluation.metrics.gradients import gradient_agreement, gradient_similarity
from realmaster.evaluation.metrics.psnr import psnr
from realmaster.evaluation.metrics.sharpness import gradient_energy, sharpness
from realmaster.evaluation.metrics.ssim import ssim
from realmaster.evaluation.metrics.temporal_flickering import temporal_flickering
from realmaster.evaluation.metrics.warping import warping_error

__all__ = [
    "EdgeAgreement",
    "Flicker",
    "colour_change",
    "colour_drift",
    "edge_agreement",
    "exposure_error",
    "flicker",
    "flow_difference",
    "gradient_agreement",
    "gradient_energy",
    "gradient_similarity",
    "psnr",
    "sharpness",
    "ssim",
    "temporal_flickering",
    "warping_error",
]
