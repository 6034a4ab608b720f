"""EXR images as linear floats: PyAV decodes them, this file notices those that are cut.

Separate from `images.py` because libav's decoder shows a cut EXR with black rows and no error, so the file's own table
of rows has to be checked. Format: openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from realmaster.errors import MediaError
from realmaster.media.color import Float32

_MAGIC = b"\x76\x2f\x31\x01"
_TILED_OR_PARTS = 0x200 | 0x1000
# rows in a block, by the number of the compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB
_BLOCK_ROWS = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)


class _Header(NamedTuple):
    attributes: dict[bytes, bytes]
    flags: int
    end: int  # offset of the first byte after the header


def exr_size(path: Path) -> tuple[int, int]:
    """Read an EXR image's (width, height) from its header.

    Raises:
        MediaError: the file is missing, is no EXR, or is damaged at its beginning.
    """
    left, top, right, bottom = _window(_header(path, _bytes(path, 65536)), b"displayWindow", path)
    return right - left + 1, bottom - top + 1


def read_exr(path: Path) -> tuple[Float32, Float32 | None]:
    """Read an EXR image of 16 or 32-bit floats.

    Returns:
        Linear light float32 [H, W, 3], grey repeated, and alpha float32 [H, W] where there is one.

    Raises:
        MediaError: the file is missing, is no EXR, or is damaged or cut.
    """
    data = _bytes(path, None)
    header = _header(path, data)
    _check_is_whole(data, header, path)
    try:
        decoder = av.CodecContext.create("exr", "r")
        frame = [*decoder.decode(av.Packet(data)), *decoder.decode(None)][0]
        planes = _float_planes(frame)
    except (av.error.FFmpegError, ValueError, IndexError) as error:
        raise _layered(path, _layers(header)) or _damaged(path) from error
    # libav's order of planes is green, blue, red, alpha; or grey, alpha
    alpha = planes[-1] if len(planes) in (2, 4) else None
    return np.stack([planes[2], planes[0], planes[1]] if len(planes) > 2 else [planes[0]] * 3, axis=-1), alpha


def _bytes(path: Path, count: int | None) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(-1 if count is None else count)
    except OSError as error:
        raise MediaError(f"{path}: expected an image, could not read it ({error.strerror}): check the path") from error


def _header(path: Path, data: bytes) -> _Header:
    """Parse magic, version and attributes (name, type, size, value) up to the empty name."""
    attributes: dict[bytes, bytes] = {}
    try:
        if data[:4] != _MAGIC:
            raise _damaged(path)
        (flags,) = struct.unpack_from("<I", data, 4)
        place = 8
        while data[place] != 0:
            name_end = data.index(0, place)
            type_end = data.index(0, name_end + 1)
            (size,) = struct.unpack_from("<i", data, type_end + 1)
            attributes[data[place:name_end]] = data[type_end + 5 : type_end + 5 + size]
            place = type_end + 5 + max(size, 0)
    except (IndexError, ValueError, struct.error) as error:
        raise _damaged(path) from error
    return _Header(attributes, flags, place + 1)


def _window(header: _Header, name: bytes, path: Path) -> tuple[int, int, int, int]:
    value = header.attributes.get(name, b"")
    if len(value) != 16:
        raise _damaged(path)
    left, top, right, bottom = struct.unpack("<4i", value)
    return left, top, right, bottom


def _check_is_whole(data: bytes, header: _Header, path: Path) -> None:
    """Look up every block of rows in the table behind the header: offset, then row number, size and content."""
    compression = header.attributes.get(b"compression", b"\xff")[0]
    if header.flags & _TILED_OR_PARTS or compression >= len(_BLOCK_ROWS):
        return  # tiles and parts have other tables; libav decodes what is there
    _, top, _, bottom = _window(header, b"dataWindow", path)
    num_blocks = -(-(bottom - top + 1) // _BLOCK_ROWS[compression])
    try:
        for offset in struct.unpack_from(f"<{num_blocks}Q", data, header.end):
            (size,) = struct.unpack_from("<i", data, offset + 4)
            if offset < header.end or offset + 8 + size > len(data):
                raise _damaged(path)
    except (struct.error, OverflowError) as error:
        raise _damaged(path) from error


def _float_planes(frame: av.VideoFrame) -> list[Float32]:
    """Take a decoded EXR's planes as float32 [H, W] each."""
    stored = np.float16 if "f16" in frame.format.name else np.float32
    size = np.dtype(stored).itemsize
    return [
        np.frombuffer(plane, stored).reshape(plane.height, plane.line_size // size)[:, : plane.width].astype(np.float32)
        for plane in frame.planes
    ]


def _layers(header: _Header) -> list[str]:
    """Name the layers of the first part: what stands before the last dot of its channels' names."""
    names, value = [], header.attributes.get(b"channels", b"")
    while value[:1] not in (b"", b"\0"):
        name, _, value = value.partition(b"\0")
        names.append(name.decode(errors="replace"))
        value = value[16:]  # kind of number, linearity, sampling
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name))


def _layered(path: Path, layers: list[str]) -> MediaError | None:
    """Say that an EXR holds its picture in a layer, where it holds layers at all."""
    if not layers:
        return None
    return MediaError(
        f"{path}: expected an EXR image with the channels R, G and B, found the layers {', '.join(layers[:8])}: export "
        "the picture alone (in Blender: OpenEXR, not OpenEXR MultiLayer)"
    )


def _damaged(path: Path) -> MediaError:
    return MediaError(f"{path}: expected an EXR image, it is damaged or of another kind: export this frame again")
