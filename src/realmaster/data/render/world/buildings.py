"""A building: four walls in one style, some of them with a facade, and a flat roof."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from realmaster.data.render.settings import Weather
from realmaster.data.render.world.builder import SceneBuilder
from realmaster.data.render.world.facades import Facade, FacadeStyle
from realmaster.data.render.world.material import Colour, Material
from realmaster.data.render.world.mesh_builder import MeshBuilder

Side = Literal["-y", "+x", "+y", "-x"]
SIDES: tuple[Side, ...] = ("-y", "+x", "+y", "-x")

LIT_SHARE: dict[Weather, float] = {"night": 0.35, "rain": 0.12, "overcast": 0.05, "clear": 0.0}
FRAME_COLOURS: tuple[Colour, ...] = ((0.75, 0.75, 0.72), (0.12, 0.10, 0.08), (0.2, 0.25, 0.22), (0.35, 0.2, 0.12))
CURTAIN_COLOURS: tuple[Colour, ...] = ((0.38, 0.36, 0.32), (0.3, 0.25, 0.2), (0.25, 0.28, 0.3))
LIGHT_COLOURS: tuple[Colour, ...] = ((1, 0.72, 0.42), (1, 0.85, 0.62), (0.85, 0.92, 1))
DOOR_COLOURS: tuple[Colour, ...] = ((0.25, 0.08, 0.05), (0.06, 0.14, 0.10), (0.08, 0.10, 0.2), (0.3, 0.2, 0.1))
AWNING_COLOURS: tuple[Colour, ...] = ((0.5, 0.1, 0.08), (0.1, 0.3, 0.2), (0.75, 0.68, 0.5), (0.1, 0.15, 0.35))


def add_building(
    builder: SceneBuilder,
    number: int,
    corner: tuple[float, float],
    size: tuple[float, float, float],
    facades: Sequence[Side],
) -> None:
    """Add a building of `size` (x, y, height) from its least corner; walls without a facade stay blank."""
    draws = builder.draws
    texture = builder.texture(draws.choose("brick", "brick", "plaster", "plaster", "concrete"))
    tint = draws.tint(0.6, 1.15, 0.06, shift=0.08)
    wall = builder.material(Material(f"wall {number}", tint, texture, kind="wall"))
    style = _draw_style(builder, number)
    mesh = MeshBuilder(builder, f"building {number}")
    (x, y), (width, depth, height) = corner, size
    corners = [np.array(p, float) for p in ((x, y, 0), (x + width, y, 0), (x + width, y + depth, 0), (x, y + depth, 0))]
    up = np.array([0.0, 0.0, height])
    for index, side in enumerate(SIDES):
        start, end = corners[index], corners[(index + 1) % 4]
        if side in facades:
            Facade(mesh, draws, style, wall, start, end, height).draw()
        else:
            length = float(np.linalg.norm(end - start))
            uv = [(0, 0), (length, 0), (length, height), (0, height)]
            mesh.polygon([start, end, end + up, start + up], wall, uv)
    roof = builder.material(Material("flat roof", (0.5, 0.5, 0.5), builder.texture("concrete"), kind="wall"))
    mesh.polygon([point + up for point in corners], roof)
    mesh.finish("building")


def _draw_style(builder: SceneBuilder, number: int) -> FacadeStyle:
    """Draw what the walls share; the order of the draws is fixed."""
    draws, make = builder.draws, builder.material
    frame_colour = draws.choose(*FRAME_COLOURS)
    ground_floor, floor = draws.uniform(3.2, 4.2), draws.uniform(2.9, 3.4)
    bay, window_share, window_height = draws.uniform(2.1, 3.4), draws.uniform(0.4, 0.62), draws.uniform(1.3, 1.75)
    glass = make(Material("glass", (0.02, 0.025, 0.03), engine_colour=(0.22, 0.30, 0.38), roughness=0.04))
    dull = Material("glass dull", (0.10, 0.10, 0.10), kind="paint", engine_colour=(0.27, 0.34, 0.40), roughness=0.5)
    dull_glass = make(dull)
    curtain_colour, curtain_texture = draws.choose(*CURTAIN_COLOURS), builder.texture("cloth")
    curtain = make(
        Material(f"curtain {number}", curtain_colour, curtain_texture, kind="paint", engine_colour=(0.36, 0.40, 0.43))
    )
    light_colour, brightness = draws.choose(*LIGHT_COLOURS), draws.uniform(1.5, 5)
    emission = brightness if builder.weather == "night" else 1.2
    lit = Material(f"lit window {number}", light_colour, kind="lit_window", emission=emission, engine_emission=1.0)
    lit_glass = make(lit)
    frame = make(Material(f"window frame {number}", frame_colour, roughness=0.45))
    red, green, blue = np.clip(draws.normal(0.85, 0.1, 3) * draws.uniform(0.8, 1.0), 0.3, 1)
    trim_colour = (float(red), float(green), float(blue))
    trim = make(Material(f"trim {number}", trim_colour, builder.texture("concrete"), kind="wall"))
    door = make(Material(f"door {number}", draws.choose(*DOOR_COLOURS), roughness=0.4))
    has_transom, has_sills, has_lintels = draws.chance(0.5), draws.chance(0.8), draws.chance(0.5)
    is_shop, has_awnings = draws.chance(0.5), draws.chance(0.7)
    awning_colour, awning_texture = draws.choose(*AWNING_COLOURS), builder.texture("cloth")
    awning = make(Material(f"awning {number}", awning_colour, awning_texture, translucency=0.25))
    return FacadeStyle(
        ground_floor=ground_floor,
        floor=floor,
        bay=bay,
        window_share=window_share,
        window_height=window_height,
        lit_share=LIT_SHARE[builder.weather],
        glass=(glass, glass, dull_glass, curtain),
        lit_glass=lit_glass,
        frame=frame,
        trim=trim,
        door=door,
        has_transom=has_transom,
        has_sills=has_sills,
        has_lintels=has_lintels,
        is_shop=is_shop,
        has_awnings=has_awnings,
        awning=awning,
        has_pipe=draws.chance(0.7),
        pipe=make(Material("pipe", (0.25, 0.26, 0.27), roughness=0.4, metallic=0.7, engine_colour=(0.35, 0.36, 0.37))),
        box=make(Material("wall box", (0.7, 0.7, 0.68), roughness=0.5)),
    )
