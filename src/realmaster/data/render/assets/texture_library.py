"""The textures of every scene: generated once, kept in the cache as PNG, and looked up by kind.

Each surface has four files: albedo, height and roughness at full size for the camera look, and a small washed-out
albedo for the engine look, as a game at low settings would have it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.texture_recipes import Surface, make_surface
from realmaster.data.render.cache import cached_folder
from realmaster.data.render.draws import Draws
from realmaster.media.color import linear_to_srgb

VERSION = "textures-1"
COUNTS = {
    "brick": 4,
    "asphalt": 3,
    "concrete": 3,
    "plaster": 6,
    "paving": 3,
    "wood": 3,
    "roof": 2,
    "grass": 1,
    "metal": 3,
    "cloth": 6,
}
"""How many variants of each kind there are; part of what a scene's seed means."""

Map = Literal["albedo", "height", "roughness", "engine"]


@dataclass(frozen=True)
class Texture:
    """One surface on disk: where its maps lie, the side of its tile and its relief in metres."""

    folder: Path
    name: str
    tile_metres: float
    relief_metres: float

    def path(self, kind: Map) -> Path:
        """Name the file of one map."""
        return self.folder / f"{self.name}_{kind}.png"


class TextureLibrary:
    """All textures, by name."""

    def __init__(self, folder: Path) -> None:
        """Read the index of a folder that `write_textures` filled."""
        index = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        self._textures = {name: Texture(folder, name, **values) for name, values in index.items()}

    @classmethod
    def open(cls) -> TextureLibrary:
        """Give the cached library; made in about ten seconds the first time.

        Raises:
            OutputError: the cache cannot be written.
        """
        return cls(cached_folder(VERSION, write_textures, notice="making the textures (once, about 10 s)"))

    def __getitem__(self, name: str) -> Texture:
        """Give a texture by its name, such as "brick2"."""
        return self._textures[name]

    def draw(self, draws: Draws, kind: str) -> str:
        """Draw one of the variants of a kind; give its name."""
        return f"{kind}{draws.integer(0, COUNTS[kind])}"


def write_textures(folder: Path) -> None:
    """Make every texture and the index.

    Raises:
        OSError: the folder cannot be written.
    """
    index: dict[str, Any] = {}
    for kind, count in COUNTS.items():
        for variant in range(count):
            surface = make_surface(kind, seed=sum(map(ord, kind)) * 100 + variant)
            texture = Texture(folder, f"{kind}{variant}", surface.tile_metres, surface.relief_metres)
            _write(texture, surface)
            index[texture.name] = {"tile_metres": texture.tile_metres, "relief_metres": texture.relief_metres}
    (folder / "index.json").write_text(json.dumps(index, indent=1), encoding="utf-8")


def engine_albedo(albedo: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Shrink an albedo to 64 x 64 through 48 x 48 and take a quarter of its contrast: a game's low-detail texture."""
    small = cv2.resize(cv2.resize(albedo, (48, 48), interpolation=cv2.INTER_AREA), (64, 64))
    mean = small.reshape(-1, 3).mean(0)
    return np.asarray((mean + (small - mean) * 0.75).clip(0, 255), np.uint8)


def _write(texture: Texture, surface: Surface) -> None:
    albedo = (linear_to_srgb(surface.albedo) * 255 + 0.5).astype(np.uint8)[..., ::-1]
    height = (surface.height - surface.height.min()) / np.ptp(surface.height)
    maps: dict[Map, Any] = {
        "albedo": albedo,
        "height": (height * 255).astype(np.uint8),
        "roughness": (surface.roughness * 255).astype(np.uint8),
        "engine": engine_albedo(np.ascontiguousarray(albedo)),
    }
    for kind, image in maps.items():
        path = texture.path(kind)
        if not cv2.imwrite(str(path), image):
            raise OSError(f"could not write {path}")
