"""Layers of an EXR image: what engines put beside the picture, and pictures that stand in a layer.

Separate from `media/exr.py`, which reads plain pictures by PyAV: libav's decoder knows R, G, B, A and Y alone, so a
layer wants the package OpenEXR (extra `pairs`).
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from realmaster.data.sources.source import Frame, Plane
from realmaster.errors import MediaError
from realmaster.media.color import linear_to_srgb_uint8
from realmaster.optional import require

# layers of Blender, of Unreal's Movie Render Queue, and of compositors, in lower case
_COLOUR = ("combined", "finalimage", "beauty", "rgba", "image", "composite", "camera")
_DEPTH = ("depth", "worlddepth", "scenedepth", "z", "finalimagemovierenderqueue_worlddepth")
_INSTANCES = ("indexob", "objectid", "objectids", "object_id")


def read_channels(path: Path) -> dict[str, Plane]:
    """Read all channels of all parts by their full names: float32 or uint32 [H, W].

    Raises:
        MediaError: the file cannot be read. MissingExtraError: OpenEXR is not installed.
    """
    openexr = require("OpenEXR", extra="pairs")
    try:
        with openexr.File(str(path), separate_channels=True) as file:
            channels = {
                _full_name(part, name): np.array(channel.pixels)
                for part in file.parts
                for name, channel in part.channels.items()
            }
    except (OSError, RuntimeError, ValueError) as error:
        reason = str(error).splitlines()[0] if str(error) else "damaged"
        raise MediaError(
            f"{path}: expected an EXR image, could not read it ({reason}): export this frame again"
        ) from error
    return {name: plane.astype(np.float32) if plane.dtype == np.float16 else plane for name, plane in channels.items()}


def channel_names(path: Path) -> list[str]:
    """Read the full names of all channels, from the header alone.

    Raises:
        MediaError: the file cannot be read. MissingExtraError: OpenEXR is not installed.
    """
    openexr = require("OpenEXR", extra="pairs")
    try:
        with openexr.File(str(path), separate_channels=True, header_only=True) as file:
            return [_full_name(part, channel.name) for part in file.parts for channel in part.header["channels"]]
    except (OSError, RuntimeError, ValueError) as error:
        raise MediaError(f"{path}: expected an EXR image, it is damaged: export this frame again") from error


def passes_in(names: list[str]) -> dict[str, str]:
    """Find the passes among channels: "depth" and "instances" by the name of their channel."""
    found: dict[str, str] = {}
    for name in names:
        layer, channel = _layer(name)
        if channel == "z" or (layer in _DEPTH and channel in ("r", "v", "y", "z", "")):
            found.setdefault("depth", name)
        elif layer in _INSTANCES and channel in ("x", "r", "v", "y", "id", ""):
            found.setdefault("instances", name)
    return found


def colour_in(names: list[str]) -> tuple[str, str, str] | None:
    """Find the picture among channels: the plain R, G, B first, then a layer that engines give that name."""
    by_layer: dict[str, dict[str, str]] = {}
    for name in names:
        full, _, channel = name.rpartition(".")
        by_layer.setdefault(full, {})[channel.lower()] = name
    whole = {layer: parts for layer, parts in by_layer.items() if {"r", "g", "b"} <= set(parts)}
    for layer, parts in sorted(whole.items(), key=lambda item: _rank(item[0])):
        if _rank(layer) <= len(_COLOUR):
            return parts["r"], parts["g"], parts["b"]
    return None


def read_colour(path: Path) -> Frame:
    """Read the picture of a layered EXR as uint8 sRGB [H, W, 3]: scene-linear light, clipped at 1.

    Raises:
        MediaError: it cannot be read, or no layer is a picture.
    """
    channels = read_channels(path)
    names = colour_in(list(channels))
    if names is None:
        raise MediaError(
            f"{path}: expected a picture among the EXR's layers (R, G, B or {', '.join(_COLOUR)}), found "
            f"{', '.join(sorted(channels)[:8])}: render one"
        )
    return linear_to_srgb_uint8(np.nan_to_num(np.stack([channels[name] for name in names], axis=-1), nan=0.0))


def read_layer(path: Path, name: str) -> Plane:
    """Read one pass, "depth" or "instances", of a layered EXR, or of an EXR that holds it alone: [H, W].

    Raises:
        MediaError: it is not there, or the file cannot be read.
    """
    channels = read_channels(path)
    channel = passes_in(list(channels)).get(name)
    if channel is None and colour_in(list(channels)) is None and len(channels) == 1:
        channel = next(iter(channels))
    if channel is None:
        channel = next((plain for plain in ("R", "Y", "V", "Z") if plain in channels), None)
    if channel is None:
        raise MediaError(
            f"{path}: expected {name} among the EXR's layers, found {', '.join(sorted(channels)[:8])}: render it"
        )
    return channels[channel]


def _full_name(part: object, channel: str) -> str:
    """Name a channel with its part, where the part is named as Blender and Unreal do and the channel is not."""
    header = getattr(part, "header", {})
    name = header.get("name", "") if isinstance(header, dict) else ""
    return f"{name}.{channel}" if name and "." not in channel else channel


def _layer(name: str) -> tuple[str, str]:
    """Split "ViewLayer.Depth.Z" into ("depth", "z") and "Z" into ("", "z")."""
    parts = name.lower().split(".")
    return (parts[-2] if len(parts) > 1 else "", parts[-1])


def _rank(layer: str) -> int:
    last = layer.lower().rpartition(".")[2]
    if not layer:
        return 0
    return 1 + _COLOUR.index(last) if last in _COLOUR else len(_COLOUR) + 1
