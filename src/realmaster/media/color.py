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
    return (np.linalg.inv(_rgb_to_xyz(target)) @ _rgb_to_xyz(source)).astype(np.float32)


def _rgb_to_xyz(name: str) -> npt.NDArray[np.float64]:
    columns = np.array([[x / y, 1.0, (1 - x - y) / y] for x, y in PRIMARIES[name]]).T
    white = np.array([D65[0] / D65[1], 1.0, (1 - D65[0] - D65[1]) / D65[1]])
    return columns * np.linalg.solve(columns, white)


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
