"""The metrics, one file each: frames in, a number out, no model and no file.

All take uint8 [F, H, W, 3] or float in [0, 1]. A metric that cannot be computed is None, never zero.
"""

from realmaster.evaluation.metrics.colour import colour_change, colour_drift
from realmaster.evaluation.metrics.edges import EdgeAgreement, edge_agreement
from realmaster.evaluation.metrics.flicker import Flicker, flicker
from realmaster.evaluation.metrics.flow import flow_difference
from realmaster.evaluation.metrics.psnr import psnr
from realmaster.evaluation.metrics.sharpness import gradient_energy, sharpness
from realmaster.evaluation.metrics.ssim import ssim

__all__ = [
    "EdgeAgreement",
    "Flicker",
    "colour_change",
    "colour_drift",
    "edge_agreement",
    "flicker",
    "flow_difference",
    "gradient_energy",
    "psnr",
    "sharpness",
    "ssim",
]
