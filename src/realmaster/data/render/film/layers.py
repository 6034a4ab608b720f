"""Read Blender's multilayer EXR files, uncompressed, as arrays: the only way to all four numbers of its vector pass.

Separate and small: the general EXR reader shows pictures, this one gives every channel as stored.
Format: openexr.com, "OpenEXR File Layout" (single part, scan lines, no compression).
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

MAGIC = b"\x76\x2f\x31\x01"
PIXEL_TYPES = {0: np.dtype("<u4"), 1: np.dtype("<f2"), 2: np.dtype("<f4")}


def read_layers(path: Path) -> dict[str, Array]:
    """Read every channel, float32 [H, W], by its full name such as "ViewLayer.Depth.V".

    Raises:
        ValueError: no EXR, or one that is compressed, tiled or in parts (none that the renderer writes).
    """
    data = path.read_bytes()
    if data[:4] != MAGIC or struct.unpack_from("<I", data, 4)[0] & 0x1A00:
        raise ValueError(f"{path}: expected a single-part EXR of scan lines")
    attributes, offset = _attributes(data)
    if attributes["compression"] != b"\0":
        raise ValueError(f"{path}: expected an EXR without compression")
    left, top, right, bottom = struct.unpack("<4i", attributes["dataWindow"])
    width, height = right - left + 1, bottom - top + 1
    channels = _channels(attributes["channels"])
    line = np.dtype([("y", "<i4"), ("size", "<i4"), *((name, kind, (width,)) for name, kind in channels)])
    lines = np.frombuffer(data, line, count=height, offset=offset + 8 * height)  # after the table of line offsets
    lines = lines[np.argsort(lines["y"])]
    return {name: lines[name].astype(np.float32) for name, _ in channels}


def _attributes(data: bytes) -> tuple[dict[str, bytes], int]:
    """Read the header: the attributes' bytes by name, and where it ends."""
    attributes, offset = {}, 8
    while data[offset]:
        name, offset = _word(data, offset)
        _, offset = _word(data, offset)
        (size,) = struct.unpack_from("<i", data, offset)
        attributes[name] = data[offset + 4 : offset + 4 + size]
        offset += 4 + size
    return attributes, offset + 1


def _channels(data: bytes) -> list[tuple[str, Any]]:
    """Read the list of channels, in the order of the data: name and number type."""
    channels, offset = [], 0
    while data[offset]:
        name, offset = _word(data, offset)
        (kind,) = struct.unpack_from("<i", data, offset)
        channels.append((name, PIXEL_TYPES[kind]))
        offset += 16
    return channels


def _word(data: bytes, offset: int) -> tuple[str, int]:
    """Read a zero-ended word; give it and where the next thing begins."""
    end = data.index(b"\0", offset)
    return data[offset:end].decode(), end + 1
