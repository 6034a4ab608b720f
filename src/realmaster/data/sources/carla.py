"""Recordings of CARLA: a folder for each camera, as `image.save_to_disk` and the usual loggers write them.

    <recording>/rgb/00000123.png                     also rgb_front, CameraRGB, camera_rgb
    <recording>/depth/00000123.png                   also depth_front, CameraDepth; raw: R + 256 G + 65536 B
    <recording>/semantic_segmentation/00000123.png   also semantics, CameraSemanticSegmentation; raw: the tag is red
    <recording>/instance_segmentation/00000123.png   also instance; raw: red is the tag, G + 256 B the instance

The folder given is a recording, or holds recordings up to three levels down. Encodings: CARLA's "Sensors reference".
Separate because only here a colour is a distance.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from realmaster.data.sources.image_folders import (
    FolderSource,
    FolderVideo,
    by_number,
    numbered,
    read_opaque,
    whole_passes,
)
from realmaster.data.sources.source import Plane, SourceSettings
from realmaster.errors import ConfigError, MediaError

FRAME_RATE = 20
"""Frames a second where nobody says: CARLA's usual fixed step of 0.05 s."""

_RGB = ("rgb", "rgb_front", "camera_rgb", "CameraRGB")
_PASSES = {
    "depth": ("depth", "depth_front", "camera_depth", "CameraDepth"),
    "segmentation": ("semantic_segmentation", "semantics", "semantic", "semantics_front", "CameraSemanticSegmentation"),
    "instances": ("instance_segmentation", "instance", "instances", "instance_front"),
}
_IMAGES = (".png", ".jpg", ".jpeg")
_FAR_METRES = 1000.0
_DEEPEST = 3


def open_source(settings: SourceSettings) -> FolderSource:
    """Open one recording, or a folder of recordings.

    Raises:
        MediaError: no folder of colour images was found. ConfigError: an option is given, there are none.
    """
    if settings.options:
        raise ConfigError(
            f"source {settings.label}: options: expected none for carla, got {', '.join(settings.options)}"
        )
    root = Path(settings.path)
    if not root.is_dir():
        raise MediaError(f"{root}: expected the folder of a CARLA recording, found none: check the path")
    recordings = dict(_recordings(root, 0))
    if not recordings:
        raise MediaError(
            f"{root}: expected a CARLA recording, looked for images in {', '.join(_RGB)} up to {_DEEPEST} levels down, "
            "found none: name the folder that holds rgb/"
        )
    notes, videos = [], []
    if settings.frame_rate is None:
        notes.append(f"{root}: CARLA's images carry no frame rate: they were taken as {FRAME_RATE} a second")
    for folder, images in recordings.items():
        name = folder.relative_to(root).as_posix() if folder != root else root.resolve().name
        candidates = {
            name_of: by_number(
                _images(next((folder / part for part in parts if (folder / part).is_dir()), folder / "-"))
            )
            for name_of, parts in _PASSES.items()
        }
        videos.append(
            FolderVideo(
                name,
                tuple(images),
                Fraction(settings.frame_rate or FRAME_RATE),
                passes=whole_passes(images, candidates, name, notes),
                split=settings.split,
                caption=settings.caption,
            )
        )
    readers = {"depth": read_depth, "segmentation": read_segmentation, "instances": read_instances}
    return FolderSource(videos, readers, read=read_opaque, notes=notes)


def read_depth(path: Path) -> Plane:
    """Read raw depth in metres, float32 [H, W], infinite at the far plane.

    Raises:
        MediaError: it cannot be read, or was saved as a grey picture, which has lost the distances.
    """
    red, green, blue = np.moveaxis(read_opaque(path).astype(np.uint32), -1, 0)
    if (red == green).all() and (green == blue).all() and red.max() > 0:
        raise MediaError(
            f"{path}: expected raw depth of CARLA, got a grey picture: record it with ColorConverter.Raw, or choose "
            "another control"
        )
    metres = _FAR_METRES * (red + 256 * green + 65536 * blue) / (2**24 - 1)
    return np.where(metres >= _FAR_METRES * (1 - 1e-6), np.inf, metres).astype(np.float32)


def read_segmentation(path: Path) -> Plane:
    """Read tags [H, W]: the red channel where the picture is raw, else a number for each colour of the palette."""
    red, green, blue = np.moveaxis(read_opaque(path).astype(np.int32), -1, 0)
    return red if not green.any() and not blue.any() else (red << 16) | (green << 8) | blue


def read_instances(path: Path) -> Plane:
    """Read instance numbers [H, W]: tag and instance in one number, so that two kinds never share one."""
    red, green, blue = np.moveaxis(read_opaque(path).astype(np.int32), -1, 0)
    return (red << 16) | (blue << 8) | green


def _recordings(folder: Path, depth: int) -> list[tuple[Path, list[Path]]]:
    """Find folders that hold a folder of colour images; what lies within one is not searched again."""
    for name in _RGB:
        images = _images(folder / name)
        if images:
            return [(folder, images)]
    if depth == _DEEPEST:
        return []
    children = sorted(child for child in folder.iterdir() if child.is_dir() and not child.name.startswith("."))
    return [found for child in children for found in _recordings(child, depth + 1)]


def _images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return numbered(
        [file for file in folder.iterdir() if file.suffix.lower() in _IMAGES and not file.name.startswith(".")]
    )
