"""The header of an EXR image: what it holds, and one line for each kind that cannot be read here.

Separate from `exr.py`, which decodes pixels. libav refuses most of these kinds with one number for all, and shows a cut
file with black rows and no error; so the header and the file's own table of rows are looked at first. Format:
openexr.com, "OpenEXR File Layout".
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import NamedTuple

from realmaster.errors import MediaError

COLORS = ("R", "G", "B", "Y", "A")
"""Channels that make a picture."""

UINT, HALF, FLOAT = 0, 1, 2
"""Kinds of numbers in a channel."""

LOSSY = (6, 7, 8, 9)
"""Compressions that change values: B44, B44A, DWAA, DWAB."""

DWA = (8, 9)
"""DWAA and DWAB, of which libav knows less than of others."""

_MAGIC = b"\x76\x2f\x31\x01"
_TILED, _PARTS = 0x200, 0x1000
# rows in a block, by the number of the compression: none, RLE, ZIPS, ZIP, PIZ, PXR24, B44, B44A, DWAA, DWAB
_BLOCK_ROWS = (1, 1, 1, 16, 32, 16, 32, 32, 32, 256)
_HTJ2K = (10, 11)


class Channel(NamedTuple):
    """One channel of the first part."""

    name: str
    kind: int
    place: int  # of the name, from the file's first byte on


class Header(NamedTuple):
    """The first part's header."""

    attributes: dict[bytes, bytes]
    channels: tuple[Channel, ...]
    flags: int
    end: int  # offset of the first byte after the header

    @property
    def compression(self) -> int:
        """Number of the compression."""
        return (self.attributes.get(b"compression") or b"\xff")[0]  # damaged, it may be of no bytes


def is_exr(data: bytes) -> bool:
    """Tell an EXR by its first bytes."""
    return data[:4] == _MAGIC


def parse_header(path: Path, data: bytes) -> Header:
    """Parse magic, version and the first part's attributes.

    Raises:
        MediaError: it is no EXR, or is damaged.
    """
    try:
        if not is_exr(data):
            raise damaged(path)
        (flags,) = struct.unpack_from("<I", data, 4)
        places, end = _attributes(data, 8)
        attributes = {name: data[begin : begin + size] for name, (begin, size) in places.items()}
        begin, _ = places.get(b"channels", (0, 0))
        return Header(attributes, _channels(data, begin), flags, end)
    except (IndexError, ValueError, struct.error) as error:
        raise damaged(path) from error


def window(header: Header, name: bytes, path: Path) -> tuple[int, int, int, int]:
    """Read a rectangle: left, top, right, bottom, all within it."""
    value = header.attributes.get(name, b"")
    if len(value) != 16:
        raise damaged(path)
    left, top, right, bottom = struct.unpack("<4i", value)
    return left, top, right, bottom


def pixel_aspect(header: Header) -> float:
    """Read the width of a pixel over its height; 1 where it is absent or cannot be meant."""
    value = header.attributes.get(b"pixelAspectRatio", b"")
    (aspect,) = struct.unpack("<f", value) if len(value) == 4 else (1.0,)
    return float(f"{aspect:.4g}") if 1 / 16 <= aspect <= 16 else 1.0


def chromaticities(header: Header, path: Path) -> tuple[tuple[float, float], ...] | None:
    """Read CIE xy of red, green, blue and white; None where the file does not say.

    Raises:
        MediaError: no colours can be made of them.
    """
    value = header.attributes.get(b"chromaticities", b"")
    if len(value) != 32:
        return None
    rx, ry, gx, gy, bx, by, wx, wy = struct.unpack("<8f", value)
    area = (gx - rx) * (by - ry) - (bx - rx) * (gy - ry)
    if not (min(ry, gy, by, wy) > 0.001 and abs(area) > 0.001):
        raise MediaError(
            f"{path}: expected chromaticities of red, green, blue and white, got some that span no colours: export "
            "without them for bt709"
        )
    return (rx, ry), (gx, gy), (bx, by), (wx, wy)


def check_can_be_read(data: bytes, header: Header, path: Path) -> None:
    """Refuse, by its name, what libav cannot decode or shows wrongly.

    Raises:
        MediaError: HTJ2K, a picture that is in a layer or a later part, other channels, whole numbers, tiles among
            several parts, or grey under DWA.
    """
    if header.compression in _HTJ2K:
        raise MediaError(
            f"{path}: expected an EXR image compressed by ZIP, PIZ, DWA or alike, found HTJ2K, which cannot be read "
            "here: export with ZIP"
        )
    kinds = {channel.name.upper(): channel.kind for channel in header.channels}
    if "Y" not in kinds and not {"R", "G", "B"} <= kinds.keys():
        raise _no_picture(data, header, path)
    if UINT in (kinds.get(name) for name in COLORS):
        raise MediaError(
            f"{path}: expected an EXR image of 16 or 32-bit floats, found whole numbers (uint32): "
            "export as half or float"
        )
    if header.flags & _PARTS and header.attributes.get(b"type", b"").startswith(b"tiled"):
        raise MediaError(
            f"{path}: expected an EXR image of rows, or of tiles in a single part, found tiles among several parts, "
            "which cannot be read here: export rows (scanlines)"
        )
    if "R" not in kinds and header.compression in DWA:
        raise MediaError(
            f"{path}: expected a grey EXR image compressed by ZIP, PIZ or alike, found DWA, which cannot be read here: "
            "export with ZIP"
        )


def check_is_whole(data: bytes, header: Header, path: Path) -> None:
    """Look up every block of rows in the table behind the header: offset, then row number, size and content.

    Raises:
        MediaError: the file is cut.
    """
    if header.flags & (_TILED | _PARTS) or header.compression >= len(_BLOCK_ROWS):
        return  # tiles and parts have other tables; libav decodes what is there
    try:
        for offset in struct.unpack_from(f"<{_num_blocks(header, path)}Q", data, header.end):
            (size,) = struct.unpack_from("<i", data, offset + 4)
            if offset < header.end or offset + 8 + size > len(data):
                raise damaged(path)
    except (struct.error, OverflowError) as error:
        raise damaged(path) from error


def moved_to_origin(data: bytes, header: Header, path: Path) -> bytes:
    """Shift an image so that its display window, which is the picture, begins at (0, 0), as libav takes it to.

    Moved are both windows, and the first row of every block; tiles count from the data window's corner.

    Raises:
        MediaError: the windows or the table of blocks are damaged.
    """
    left, top, _, _ = window(header, b"displayWindow", path)
    if (left, top) == (0, 0):
        return data
    moved = bytearray(data)
    places, _ = _attributes(data, 8)
    try:
        for name in (b"displayWindow", b"dataWindow"):
            x0, y0, x1, y1 = window(header, name, path)
            struct.pack_into("<4i", moved, places[name][0], x0 - left, y0 - top, x1 - left, y1 - top)
        for place in _row_numbers(data, header, path):
            (row,) = struct.unpack_from("<i", data, place)
            struct.pack_into("<i", moved, place, row - top)
    except (IndexError, ValueError, OverflowError, struct.error) as error:
        raise damaged(path) from error
    return bytes(moved)


def damaged(path: Path) -> MediaError:
    """Say that an EXR cannot be read, for a reason that cannot be told."""
    return MediaError(f"{path}: expected an EXR image, it is damaged or of another kind: export this frame again")


def _attributes(data: bytes, place: int) -> tuple[dict[bytes, tuple[int, int]], int]:
    """Find a part's attributes (name, type, size, value) up to the empty name: {name: (place, size)}, and the end."""
    found = {}
    while data[place] != 0:
        name_end = data.index(0, place)
        type_end = data.index(0, name_end + 1)
        (size,) = struct.unpack_from("<i", data, type_end + 1)
        found[data[place:name_end]] = type_end + 5, max(size, 0)
        place = type_end + 5 + max(size, 0)
    return found, place + 1


def _channels(data: bytes, place: int) -> tuple[Channel, ...]:
    """Read a list of channels, each a name and 16 bytes: kind of number, linearity, sampling."""
    found = []
    while place and data[place] != 0:
        end = data.index(0, place)
        (kind,) = struct.unpack_from("<i", data, end + 1)
        found.append(Channel(data[place:end].decode(errors="replace"), kind, place))
        place = end + 17
    return tuple(found)


def _num_blocks(header: Header, path: Path) -> int:
    """Count the blocks of rows of an image in one part."""
    _, top, _, bottom = window(header, b"dataWindow", path)
    return -(-(bottom - top + 1) // _BLOCK_ROWS[header.compression])


def _row_numbers(data: bytes, header: Header, path: Path) -> list[int]:
    """Find where each block of the first part holds the number of its first row; tiles hold none."""
    if header.flags & _TILED:
        return []
    if not header.flags & _PARTS:
        return list(struct.unpack_from(f"<{_num_blocks(header, path)}Q", data, header.end))
    end = header.end
    while data[end] != 0:  # the headers of later parts, up to an empty one
        _, end = _attributes(data, end)
    (num_blocks,) = struct.unpack("<i", header.attributes.get(b"chunkCount", b""))
    # there a block begins with the number of its part
    return [offset + 4 for offset in struct.unpack_from(f"<{num_blocks}Q", data, end + 1)]


def _no_picture(data: bytes, header: Header, path: Path) -> MediaError:
    """Say where the picture is instead of in R, G and B of the first part."""
    names = [channel.name for channel in header.channels]
    layers = list(dict.fromkeys(name.rpartition(".")[0] for name in names if "." in name))
    if layers:
        return MediaError(
            f"{path}: expected an EXR image with the channels R, G and B, found the layers {', '.join(layers[:8])}: "
            "export the picture alone (in Blender: OpenEXR, not OpenEXR MultiLayer)"
        )
    where = f"found {', '.join(names[:8]) or 'none'}"
    if header.flags & _PARTS:
        where = f"its first part holds {', '.join(names[:8]) or 'none'}"
        try:
            places, _ = _attributes(data, header.end)
            later = [channel.name for channel in _channels(data, places.get(b"channels", (0, 0))[0])]
            where += f" and its second {', '.join(later[:8]) or 'none'}"
        except (IndexError, ValueError, struct.error):
            pass  # cut there; what is known is said
    return MediaError(f"{path}: expected an EXR image with the channels R, G and B, {where}: export the picture alone")
