"""The colour profile (ICC) that an image carries: its name, and what is said of one that is not applied.

Separate from `images.py` because the name stands in a format of its own. Format: ICC.1:2010, 7.2 and 10.13 to 10.15.
"""

from __future__ import annotations

import struct


def profile_note(profile: bytes | None) -> str | None:
    """Say that an image's colour profile was not applied; None where there is none or it is sRGB by its name."""
    if not profile:
        return None
    name = profile_name(profile)
    if "srgb" in name.lower():
        return None
    return f"the colour profile ({name}) of an image was not applied, its colours were taken as sRGB: export as sRGB"


def profile_name(profile: bytes) -> str:
    """Read a profile's description: "Display P3"; "no name" where it cannot be read."""
    try:
        (count,) = struct.unpack_from(">I", profile, 128)
        for index in range(min(count, 100)):
            tag, offset, size = struct.unpack_from(">4sII", profile, 132 + 12 * index)
            if tag == b"desc":
                return _text(profile[offset : offset + size]) or "no name"
    except struct.error:
        pass
    return "no name"


def _text(value: bytes) -> str:
    """Decode a text of version 2 (ASCII) or 4 (several languages in UTF-16, of which the first is taken)."""
    if value[:4] == b"mluc":
        length, offset = struct.unpack_from(">II", value, 20)
        text = value[offset : offset + length].decode("utf-16-be", "replace")
    else:
        (length,) = struct.unpack_from(">I", value, 8)
        text = value[12 : 12 + length].decode("ascii", "replace")
    return "".join(letter for letter in text if letter.isprintable()).strip()[:60]
