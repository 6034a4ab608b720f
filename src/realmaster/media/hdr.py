"""High dynamic range and wide gamut brought to SDR bt709: light is decoded, tone-mapped, mapped to bt709 and encoded.

Separate from `color.py` because only the reader needs it, and from `convert.py` because it is arithmetic on arrays.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.media.color import Float32, UInt8, linear_to_srgb_uint8, primaries_matrix, srgb_to_linear

Transfer = Literal["sdr", "pq", "hlg", "linear"]

REFERENCE_WHITE_NITS = 203.0
"""Luminance of diffuse white in HDR (ITU-R BT.2408); it is 1.0 in the linear light below."""
PEAK_NITS = 1000.0
"""Luminance at which the tone curve reaches white: the usual mastering display, and HLG's nominal one."""
KNEE = 0.3
"""Linear light below this share of diffuse white passes unchanged."""


def to_sdr(rgb: npt.NDArray[np.uint16], transfer: Transfer, primaries: str) -> UInt8:
    """Bring one frame to 8-bit bt709.

    Args:
        rgb: uint16 [H, W, 3], full range, encoded with `transfer`.
        transfer: "pq" (SMPTE ST 2084), "hlg" (ARIB STD-B67), "linear", or "sdr" for the usual gamma.
        primaries: a name of `color.PRIMARIES`.

    Returns:
        uint8 [H, W, 3]. Colours outside bt709 are clipped. Greys of an "sdr" frame are unchanged.
    """
    linear: Float32 = np.take(_decode_table(transfer), rgb, mode="clip")
    if transfer == "hlg":
        linear = _hlg_system_gamma(linear)
    if transfer in ("pq", "hlg"):
        linear = tone_map(linear)
    if primaries != "bt709":
        linear = cv2.transform(linear, primaries_matrix(primaries))
    return linear_to_srgb_uint8(linear)


def tone_map(linear: Float32) -> Float32:
    """Compress linear light [H, W, 3] so that `PEAK_NITS` becomes 1: all three channels by one factor, so hues stay.

    The curve is a line to `KNEE` and a hyperbola of equal slope above it (Mobius), taken of the largest channel.
    """
    peak = PEAK_NITS / REFERENCE_WHITE_NITS
    # hyperbola scale * (x + a) / (x + b), through (KNEE, KNEE) with slope 1 there and through (peak, 1)
    a = -(KNEE**2) * (peak - 1) / (KNEE**2 - 2 * KNEE + peak)
    b = (KNEE**2 - 2 * KNEE * peak + peak) / (peak - 1)
    scale = (b**2 + 2 * b * KNEE + KNEE**2) / (b - a)
    largest = np.clip(linear.max(axis=-1, keepdims=True), 1e-6, peak)
    mapped = np.where(largest <= KNEE, largest, scale * (largest + a) / (largest + b))
    result: Float32 = (np.minimum(linear, peak) * (mapped / largest)).astype(np.float32)
    return result


def _hlg_system_gamma(scene: Float32) -> Float32:
    """Scene light to display light of a 1000-nit screen: `scene * luminance ** 0.2` (BT.2100, table 5)."""
    luminance = scene @ np.array([0.2627, 0.6780, 0.0593], np.float32)
    gain = np.power(luminance, np.float32(0.2), dtype=np.float32)[..., None]
    result: Float32 = scene * gain * np.float32(PEAK_NITS / REFERENCE_WHITE_NITS)
    return result


@cache
def _decode_table(transfer: Transfer) -> Float32:
    """Linear light of every 16-bit code; 1 is diffuse white (for "hlg": scene light, 1 is the peak)."""
    code = np.arange(65536, dtype=np.float64) / 65535
    if transfer == "pq":
        m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
        power = code ** (1 / m2)
        linear = 10000 / REFERENCE_WHITE_NITS * (np.maximum(power - c1, 0) / (c2 - c3 * power)) ** (1 / m1)
    elif transfer == "hlg":
        a, b, c = 0.17883277, 0.28466892, 0.55991073
        linear = np.where(code <= 0.5, code**2 / 3, (np.exp((code - c) / a) + b) / 12)
    elif transfer == "linear":
        linear = code
    else:
        linear = srgb_to_linear(code).astype(np.float64)
    table: Float32 = linear.astype(np.float32)
    table.setflags(write=False)
    return table
