"""Image sequences as Unreal, Unity and Blender write them, with their passes.

A sequence is the images of one folder whose names differ by one number alone. The words around the number, and the
folder's name, say what it shows: "depth" or "WorldDepth" a depth, "FinalImage" or nothing a picture.

    Unreal, Movie Render Queue   Shot.0001.png   Shot.FinalImage.0001.png   Shot.WorldDepth.0001.exr   layered EXR
    Unity, Recorder              Movie_0001.png, Recordings/Depth/Depth_0001.exr
    Unity, Perception (SOLO)     sequence.0/step0.camera.png   step0.camera.instance segmentation.png
    Blender                      0001.png   Depth0001.exr   layered EXR (ViewLayer.Combined.R, ViewLayer.Depth.Z)

Separate from the other readers because here nothing but names tells what belongs together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from realmaster.data.sources import exr_layers
from realmaster.data.sources.image_folders import (
    FolderSource,
    FolderVideo,
    ReadPass,
    by_number,
    numbered,
    read_opaque,
    whole_passes,
)
from realmaster.data.sources.source import Frame, Plane, SequenceOptions, SourceSettings, is_pair_set
from realmaster.errors import MediaError
from realmaster.media.images import READABLE, image_size, read_image
from realmaster.media.sequences import DEFAULT_IMAGE_RATE

_COLOUR_WORDS = {"finalimage", "final", "image", "combined", "beauty", "rgb", "rgba", "color", "colour", "lit"}
_PASS_WORDS = {
    "depth": {"depth", "worlddepth", "scenedepth", "z", "zdepth", "mist"},
    "instances": {"instance", "instances", "indexob", "objectid", "objectids"},
    "segmentation": {"segmentation", "semantic", "stencil", "cryptomatte"},
}
_OTHER_WORDS = re.compile(  # what engines write beside, and nothing here asks for
    r"(world|base)?(normals?|position|color)|albedo|diffuse|specular|roughness|metallic|opacity|shadows?|ao|uv|masks?|"
    r"ambientocclusion|vector|velocity|motion(vectors?)?|emissi(on|ve)|(detail)?lightingonly|pathtracer|unlit|reflections"
)
_IMAGES = set(READABLE)
_DEEPEST = 4


@dataclass(frozen=True)
class _Sequence:
    """Files that differ by a number: where they lie, what their names say beside what they show, and what they show."""

    place: tuple[str, ...]
    rest: str
    shows: str
    files: tuple[Path, ...]


def open_source(settings: SourceSettings) -> FolderSource:
    """Open a folder of sequences, or of folders of them.

    Raises:
        MediaError: no sequence of pictures was found. ConfigError: an option is unknown.
    """
    options = SequenceOptions.from_mapping(settings.options, source=f"source {settings.label}: options")
    root = Path(settings.path)
    if not root.is_dir():
        raise MediaError(f"{root}: expected a folder of image sequences, found none: check the path")
    found = list(_sequences(root))
    pictures = [sequence for sequence in found if sequence.shows == "colour"]
    if not pictures:
        shown = sorted({sequence.shows for sequence in found}) or ["no numbered images"]
        raise MediaError(
            f"{root}: expected numbered images ({', '.join(READABLE)}) up to {_DEEPEST} levels down, such as "
            f"Shot.0001.png, found {', '.join(shown)}: name the folder that holds them"
        )
    notes = []
    if settings.frame_rate is None:
        notes.append(f"{root}: images carry no frame rate: they were taken as {DEFAULT_IMAGE_RATE} a second")
    rate = Fraction(settings.frame_rate or DEFAULT_IMAGE_RATE)
    videos = []
    for sequence in pictures:
        beside = [other for other in pictures if other.place == sequence.place]
        name = _name(root, sequence, is_alone=len(beside) == 1)
        others = [other for other in found if other.place == sequence.place and other.shows in _PASS_WORDS]
        own = [other for other in others if other.rest == sequence.rest] or (others if len(beside) == 1 else [])
        candidates = {other.shows: by_number(other.files) for other in own}
        passes = whole_passes(sequence.files, candidates, name, notes)
        if sequence.files[0].suffix.lower() == ".exr" and not _is_plain_exr(sequence.files[0]):
            inside = exr_layers.passes_in(exr_layers.channel_names(sequence.files[0]))
            passes = dict.fromkeys(inside, sequence.files) | passes
        videos.append(
            FolderVideo(name, sequence.files, rate, passes=passes, split=settings.split, caption=settings.caption)
        )
    depth: Callable[[Path], Plane] = partial(read_depth, scale=options.depth_scale, sky=options.sky_depth)
    readers: dict[str, ReadPass] = {
        "depth": depth,
        "instances": partial(read_labels, name="instances"),
        "segmentation": partial(read_labels, name="segmentation"),
    }
    return FolderSource(videos, readers, read=read_picture, size=image_size, notes=notes)


def read_picture(path: Path) -> Frame:
    """Read a picture as uint8 RGB [H, W, 3]; of an EXR with layers, the one that is the picture.

    Raises:
        MediaError: it cannot be read.
    """
    if path.suffix.lower() == ".exr" and not _is_plain_exr(path):
        return exr_layers.read_colour(path)
    return read_image(path)


def read_depth(path: Path, *, scale: float = 1.0, sky: float | None = None) -> Plane:
    """Read depth, float32 [H, W]: times `scale`, infinite from `sky` on.

    Raises:
        MediaError: it cannot be read.
    """
    if path.suffix.lower() == ".exr":
        depth = exr_layers.read_layer(path, "depth").astype(np.float32)
    else:
        stored = _stored(path)
        depth = (stored if stored.ndim == 2 else stored[..., 0]).astype(np.float32)
    depth = depth * np.float32(scale)
    far = ~np.isfinite(depth) | (depth >= (sky if sky is not None else 1e10))  # Blender writes 1e10 for nothing
    return np.where(far, np.float32(np.inf), depth)


def read_labels(path: Path, *, name: str) -> Plane:
    """Read labels, whole numbers [H, W]: of a picture, a number for each of its colours.

    Raises:
        MediaError: it cannot be read.
    """
    if path.suffix.lower() == ".exr":
        return np.rint(exr_layers.read_layer(path, name)).astype(np.int32)
    red, green, blue = np.moveaxis(read_opaque(path).astype(np.int32), -1, 0)
    return (red << 16) | (green << 8) | blue


def _sequences(root: Path) -> Iterable[_Sequence]:
    """Group the numbered images below a folder."""
    groups: dict[tuple[Path, str, str], list[Path]] = {}
    for folder in _folders(root, 0):
        for file in folder.iterdir():
            match = _number(file) if file.suffix.lower() in _IMAGES and not file.name.startswith(".") else None
            if match is not None and file.is_file():
                before, after = file.name[: match.start()], file.name[match.end() :]
                groups.setdefault((folder, before, after), []).append(file)
    for (folder, before, after), files in sorted(groups.items()):
        words = [*_words(before), *_words(after[: -len(files[0].suffix)])]
        place = folder.relative_to(root).parts
        by_folder = _shows(_words(place[-1])) if place else None
        if by_folder is not None:
            place = place[:-1]  # a folder that is named for what it shows belongs to the one above
        rest = "_".join(word for word in words if _shows([word]) is None)
        yield _Sequence(place, rest, _shows(words) or by_folder or "colour", tuple(numbered(files)))


def _name(root: Path, sequence: _Sequence, *, is_alone: bool) -> str:
    """Name a video by its folder, and by its files where several share one."""
    parts = [*sequence.place, *([] if is_alone else [sequence.rest or "frames"])]
    return "/".join(parts) or root.resolve().name


def _folders(folder: Path, depth: int) -> Iterable[Path]:
    yield folder
    if depth < _DEEPEST:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith(".") and not is_pair_set(child):
                yield from _folders(child, depth + 1)


def _number(file: Path) -> re.Match[str] | None:
    """Find the number that counts: the last one of the name, without its ending."""
    return next(iter(reversed(list(re.finditer(r"\d+", file.stem)))), None)


def _words(text: str) -> list[str]:
    """Split a name at dots, dashes, underscores and spaces, in lower case and without digits at the end."""
    return [word for part in re.split(r"[._\-\s]+", text) if (word := re.sub(r"\d+$", "", part).lower())]


def _shows(words: list[str]) -> str | None:
    """Say what words name: a pass, "colour", "other", or None where they name nothing known."""
    for name, known in _PASS_WORDS.items():
        if known & set(words):
            return name
    if _COLOUR_WORDS & set(words):
        return "colour"
    return "other" if any(map(_OTHER_WORDS.fullmatch, words)) else None


def _is_plain_exr(path: Path) -> bool:
    """Say whether an EXR's header names plain R, G, B (or Y) channels, and no layers or parts."""
    with path.open("rb") as file:
        head = file.read(65536)
    start = head.find(b"channels\x00chlist\x00")
    if start < 0 or len(head) < 8 or head[5] & 0x10:  # the bit of several parts
        return start < 0
    names, place = [], start + len(b"channels\x00chlist\x00") + 4
    while place < len(head) and head[place] != 0:
        end = head.index(0, place)
        names.append(head[place:end].decode("latin-1"))
        place = end + 1 + 16
    return set(names) <= {"R", "G", "B", "A", "Y"}


def _stored(path: Path) -> Plane:
    """Read an image with the bits it has: [H, W] or [H, W, C]."""
    read_opaque(path)  # refuses damage without noise
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, "Pillow has just read it"
    return pixels
