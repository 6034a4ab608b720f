"""Colour arithmetic on arrays: the sRGB curve both ways, and the linear maps between sets of primaries.

Separate because every room that mixes light (the transfer to the input's resolution, metrics, the renderer's films)
must do it in linear light with the same curve.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

REC709_LUMA = (0.2126, 0.7152, 0.0722)
"""Weights of linear R, G, B in luminance (ITU-R BT.709)."""

# CIE xy of red, green, blue; all with the white point D65
PRIMARIES: dict[str, tuple[tuple[float, float], ...]] = {
    "bt709": ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    "bt2020": ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    "p3": ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
D65 = (0.3127, 0.3290)

# from XYZ to the responses of the eye's cones in which one white is adapted to another (Lam, 1985)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


def srgb_to_linear(values: Array) -> Float32:
    """Decode sRGB into linear light: `((v + 0.055) / 1.055) ** 2.4`, linear near black.

    Args:
        values: uint8 0..255 (by table) or float 0..1, of any shape.

    Returns:
        float32, 0..1, same shape. Source: IEC 61966-2-1.
    """
    if values.dtype == np.uint8:
        return np.take(_decode_table(), values, mode="clip")  # clip, though never needed, is 4x faster than raise
    values = np.asarray(values, np.float32, order="C")
    bright = _power((values + np.float32(0.055)) * np.float32(1 / 1.055), 2.4)
    return np.where(values <= np.float32(0.04045), values * np.float32(1 / 12.92), bright)


def linear_to_srgb(values: Array) -> Float32:
    """Encode linear light as sRGB: `1.055 * v ** (1 / 2.4) - 0.055`, linear near black.

    Args:
        values: float, of any shape; clipped to 0..1.

    Returns:
        float32, 0..1, same shape. Source: IEC 61966-2-1.
    """
    values = np.clip(np.asarray(values, np.float32, order="C"), 0, 1)
    bright = np.float32(1.055) * _power(values, 1 / 2.4) - np.float32(0.055)
    return np.where(values <= np.float32(0.0031308), values * np.float32(12.92), bright)


def linear_to_srgb_uint8(values: Array) -> UInt8:
    """Encode linear light as 8-bit sRGB, rounded to nearest, by a table of 65,536 entries.

    Args:
        values: float, of any shape; clipped to 0..1.

    Returns:
        uint8, same shape; off by at most one level from the exact curve, and only at the edge between two levels.
    """
    index = np.clip(values, 0, 1).astype(np.float32, copy=False) * np.float32(65535) + np.float32(0.5)
    return np.take(_encode_table(), index.astype(np.uint16), mode="clip")


@cache
def primaries_matrix(source: str, target: str = "bt709") -> Float32:
    """Matrix [3, 3] from linear RGB in one set of primaries to another: names of `PRIMARIES`."""
    return (np.linalg.inv(_rgb_to_xyz(PRIMARIES[target])) @ _rgb_to_xyz(PRIMARIES[source])).astype(np.float32)


def to_bt709_matrix(chromaticities: tuple[tuple[float, float], ...]) -> Float32 | None:
    """Matrix [3, 3] from linear RGB to linear bt709; None where the colours are bt709's.

    Args:
        chromaticities: CIE xy of red, green, blue and white. Another white than D65 is adapted (Bradford), so that
            grey stays grey.
    """
    bt709 = (*PRIMARIES["bt709"], D65)
    if np.abs(np.subtract(chromaticities, bt709)).max() < 0.002:  # files round them
        return None
    *primaries, white = chromaticities
    cones = _BRADFORD @ np.stack([_xyz(*D65), _xyz(*white)], axis=1)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(cones[:, 0] / cones[:, 1]) @ _BRADFORD
    to_xyz = adapt @ _rgb_to_xyz(tuple(primaries), white)
    return (np.linalg.inv(_rgb_to_xyz(PRIMARIES["bt709"])) @ to_xyz).astype(np.float32)


def _xyz(x: float, y: float) -> npt.NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])


def _rgb_to_xyz(
    primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = D65
) -> npt.NDArray[np.float64]:
    columns = np.stack([_xyz(x, y) for x, y in primaries], axis=1)
    return columns * np.linalg.solve(columns, _xyz(*white))


def _power(values: Float32, exponent: float) -> Float32:
    """Raise to a power; cv2's is several times faster than numpy's on float32, but knows no empty or 0-d arrays."""
    if values.size == 0:
        return values
    flat: Float32 = cv2.pow(np.maximum(values, 0).reshape(1, -1), exponent)
    return flat.reshape(values.shape)


@cache
def _decode_table() -> Float32:
    table = srgb_to_linear(np.arange(256, dtype=np.float64) / 255)
    table.setflags(write=False)
    return table


@cache
def _encode_table() -> UInt8:
    table = np.rint(linear_to_srgb(np.arange(65536, dtype=np.float64) / 65535) * 255).astype(np.uint8)
    table.setflags(write=False)
    return table
