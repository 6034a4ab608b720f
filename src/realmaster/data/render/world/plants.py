"""Trees and potted plants: branches as tubes, leaves as loose four-sided faces."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.world.builder import SceneBuilder, quads
from realmaster.data.render.world.material import Colour, Material
from realmaster.data.render.world.mesh_builder import MeshBuilder

NUM_LEAVES = 2600
NUM_BRANCHES = 9
LEAF_COLOURS: tuple[Colour, ...] = ((0.06, 0.13, 0.025), (0.09, 0.15, 0.03), (0.14, 0.13, 0.03), (0.05, 0.10, 0.03))
LEAF_SHADES = (0.75, 1.0, 1.3)


def add_tree(builder: SceneBuilder, x: float, y: float, height: float | None = None) -> None:
    """Add a tree; its height is drawn where none is given."""
    draws = builder.draws
    if height is None:
        height = draws.uniform(4.5, 7.5)
    mesh = MeshBuilder(builder, "tree")
    bark = builder.material(Material("bark", (0.16, 0.12, 0.09), builder.texture("wood"), kind="wall", bump=2))
    top = np.array([x + draws.uniform(-0.3, 0.3), y + draws.uniform(-0.3, 0.3), height * 0.55])
    mesh.tube((x, y, 0), top, (0.17, 0.1), bark, 9)
    tips = []
    for _ in range(NUM_BRANCHES):
        angle = draws.uniform(0, 6.28)
        reach_x, reach_y = math.cos(angle) * draws.uniform(0.5, 1.5), math.sin(angle) * draws.uniform(0.5, 1.5)
        tip = top + np.array([reach_x, reach_y, draws.uniform(0.3, height * 0.4)])
        mesh.tube(top - (0, 0, draws.uniform(0, 0.8)), tip, (0.06, 0.02), bark, 6)
        tips.append(tip)
    mesh.finish("vegetation", smooth=True)
    _add_crown(builder, np.array(tips))


def _add_crown(builder: SceneBuilder, tips: npt.NDArray[Any]) -> None:
    """Scatter leaves around the tips of the branches."""
    draws, generator = builder.draws, builder.draws.generator
    colour = draws.choose(*LEAF_COLOURS)
    materials = [_leaf_material(builder, colour, number) for number in range(len(LEAF_SHADES))]
    branch = generator.integers(0, len(tips), NUM_LEAVES)
    offset = draws.directions(NUM_LEAVES) * generator.random((NUM_LEAVES, 1)) ** 0.4
    middle = tips[branch] + offset * generator.uniform(0.5, 1.0, (NUM_LEAVES, 1)) * (1, 1, 0.8)
    length = draws.directions(NUM_LEAVES)
    width = np.cross(length, generator.normal(size=(NUM_LEAVES, 3)))
    width = width / np.linalg.norm(width, axis=1, keepdims=True)
    size = generator.uniform(0.06, 0.12, (NUM_LEAVES, 1))
    corners = (-length * size, -width * size * 0.5, length * size, width * size * 0.5)
    mesh = quads(np.stack([middle + corner for corner in corners], 1).reshape(-1, 3))
    mesh.polygons.foreach_set("material_index", generator.integers(0, len(materials), NUM_LEAVES))
    builder.add_object("leaves", mesh, materials, "vegetation")


def _leaf_material(builder: SceneBuilder, colour: Colour, number: int) -> str:
    red, green, blue = (channel * LEAF_SHADES[number] for channel in colour)
    return builder.material(
        Material(
            f"leaf {number} {colour[0]}",
            (red, green, blue),
            roughness=0.45,
            translucency=0.35,
            engine_colour=(red * 1.6, green * 1.6, blue * 1.6),
        )
    )


def add_potted_plant(builder: SceneBuilder, x: float, y: float) -> None:
    """Add a bushy plant in a terracotta pot."""
    mesh = MeshBuilder(builder, "pot")
    pot = builder.material(Material("terracotta", (0.9, 0.5, 0.35), builder.texture("concrete")))
    mesh.tube((x, y, 0), (x, y, 0.5), (0.22, 0.3), pot, 14)
    mesh.finish("prop")
    generator, count = builder.draws.generator, 350
    middle = np.array([x, y, 0.85]) + generator.normal(size=(count, 3)) * (0.2, 0.2, 0.22)
    length, width = generator.normal(size=(count, 3)) * 0.09, generator.normal(size=(count, 3)) * 0.04
    corners = (-length, -width, length, width)
    leaf = builder.material(
        Material("pot leaf", (0.06, 0.15, 0.03), roughness=0.4, translucency=0.3, engine_colour=(0.1, 0.25, 0.05))
    )
    leaves = quads(np.stack([middle + corner for corner in corners], 1).reshape(-1, 3))
    builder.add_object("plant", leaves, [leaf], "vegetation")
