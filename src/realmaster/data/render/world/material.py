"""What a surface is, before either look draws it: one description, from which both materials are made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Colour = tuple[float, float, float]
SurfaceKind = Literal["plain", "wall", "ground", "skin", "cloth", "hair", "paint", "lit_window"]

WHITE: Colour = (1.0, 1.0, 1.0)


@dataclass(frozen=True)
class Material:
    """One surface. Colours are linear; a texture is multiplied with the colour.

    `emission` makes it a lamp: its strength in the camera look; the engine look shows it as a bright flat colour.
    """

    name: str
    colour: Colour = WHITE
    texture: str | None = None
    kind: SurfaceKind = "plain"
    roughness: float = 0.6
    metallic: float = 0.0
    bump: float = 1.0
    translucency: float = 0.0
    emission: float = 0.0
    uses_vertex_colours: bool = False
    engine_colour: Colour | None = None
    engine_emission: float | None = None
