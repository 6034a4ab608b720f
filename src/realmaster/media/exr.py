"""EXR images as linear floats, decoded by PyAV.

Separate from `images.py` because EXR is light, not sRGB, and from `exr_header.py`, which knows what is in a file.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from realmaster.errors import MediaError
from realmaster.media.color import Float32
from realmaster.media.exr_header import (
    COLORS,
    DWA,
    LOSSY,
    Channel,
    Header,
    check_can_be_read,
    check_is_whole,
    chromaticities,
    damaged,
    is_exr,
    moved_to_origin,
    parse_header,
    pixel_aspect,
    window,
)


class ExrImage(NamedTuple):
    """An EXR image as it is stored: linear light, pixels of any shape."""

    linear: Float32  # [H, W, 3], grey repeated
    alpha: Float32 | None  # [H, W]
    pixel_aspect: float  # width of a pixel over its height
    chromaticities: tuple[tuple[float, float], ...] | None  # CIE xy of red, green, blue, white; None is bt709


def exr_size(path: Path) -> tuple[int, int, float]:
    """Read an EXR image's width, height and pixel aspect from its header.

    Raises:
        MediaError: the file is missing, is no EXR, or is damaged at its beginning.
    """
    header = _header(path)
    left, top, right, bottom = window(header, b"displayWindow", path)
    return right - left + 1, bottom - top + 1, pixel_aspect(header)


def read_exr(path: Path) -> ExrImage:
    """Read an EXR image of 16 or 32-bit floats.

    Raises:
        MediaError: the file is missing, is no EXR, of a kind that cannot be read, or is damaged or cut.
    """
    data = _bytes(path, None)
    header = parse_header(path, data)
    check_can_be_read(data, header, path)
    check_is_whole(data, header, path)
    data = moved_to_origin(data, header, path)
    try:
        if len({channel.kind for channel in _colors(header)}) > 1:
            linear, alpha = _decode_each(data, header, path)
        else:
            linear, alpha = _ordered(_decode(data))
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise damaged(path) from error
    return ExrImage(linear, alpha, pixel_aspect(header), chromaticities(header, path))


def is_lossy_exr(path: Path) -> bool:
    """Tell whether an EXR image's compression changes values.

    Raises:
        MediaError: the file is missing, is no EXR, or is damaged at its beginning.
    """
    return _header(path).compression in LOSSY


def _header(path: Path) -> Header:
    """Read no more of the file than its header needs: a list of Cryptomatte's names can be of megabytes."""
    count = 65536
    while True:
        data = _bytes(path, count)
        try:
            return parse_header(path, data)
        except MediaError:
            if len(data) < count or not is_exr(data):
                raise
        count *= 2


def _bytes(path: Path, count: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(-1 if count is None else count)
    except OSError as error:
        raise MediaError(f"{path}: expected an image, could not read it ({error.strerror}): check the path") from error


def _colors(header: Header) -> list[Channel]:
    return [channel for channel in header.channels if channel.name.upper() in COLORS]


def _decode(data: bytes) -> list[Float32]:
    decoder = av.CodecContext.create("exr", "r")
    return _float_planes([*decoder.decode(av.Packet(data)), *decoder.decode(None)][0])


def _ordered(planes: list[Float32]) -> tuple[Float32, Float32 | None]:
    """Order libav's planes, which are green, blue, red, alpha; or grey, alpha."""
    alpha = planes[-1] if len(planes) in (2, 4) else None
    return np.stack([planes[2], planes[0], planes[1]] if len(planes) > 2 else [planes[0]] * 3, axis=-1), alpha


def _decode_each(data: bytes, header: Header, path: Path) -> tuple[Float32, Float32 | None]:
    """Decode colours of mixed kinds, which libav refuses together: each alone, under the name of grey."""
    if header.compression in DWA:
        raise MediaError(
            f"{path}: expected an EXR image whose colours are all 16-bit or all 32-bit floats under DWA compression, "
            "found both: export as half, or with ZIP"
        )
    planes = {}
    for wanted in _colors(header):
        renamed = bytearray(data)
        for channel in _colors(header):
            renamed[channel.place : channel.place + 1] = b"Y" if channel == wanted else b"_"
        planes[wanted.name.upper()] = _decode(bytes(renamed))[0]
    colors = [planes[name] for name in ("R", "G", "B")] if "R" in planes else [planes["Y"]] * 3
    return np.stack(colors, axis=-1), planes.get("A")


def _float_planes(frame: av.VideoFrame) -> list[Float32]:
    """Take a decoded EXR's planes as float32 [H, W] each."""
    stored = np.float16 if "f16" in frame.format.name else np.float32
    size = np.dtype(stored).itemsize
    return [
        np.frombuffer(plane, stored).reshape(plane.height, plane.line_size // size)[:, : plane.width].astype(np.float32)
        for plane in frame.planes
    ]
