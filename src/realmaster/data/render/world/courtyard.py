"""The courtyard: four houses around a paved square with a lawn, trees, benches and one to three people."""

from __future__ import annotations

import math

from realmaster.data.render.people.gait import Gait
from realmaster.data.render.people.motion import Placement
from realmaster.data.render.world.builder import SceneBuilder, View
from realmaster.data.render.world.buildings import add_building
from realmaster.data.render.world.cars import add_car
from realmaster.data.render.world.crowd import add_person
from realmaster.data.render.world.lamps import add_lamp
from realmaster.data.render.world.material import Material
from realmaster.data.render.world.mesh_builder import MeshBuilder
from realmaster.data.render.world.plants import add_potted_plant, add_tree
from realmaster.data.render.world.street_props import add_barrel, add_bench, add_bin, add_crate


def build_courtyard(builder: SceneBuilder) -> View:
    """Build the scene; give the camera's first idea of it. The order of the draws is fixed."""
    draws = builder.draws
    paving = builder.texture(draws.choose("paving", "paving", "concrete"))
    ground = MeshBuilder(builder, "ground")
    ground.rectangle((-30, 40), (-30, 30), 0, builder.material(Material("pavement", texture=paving, kind="ground")))
    ground.finish("ground")
    size = draws.uniform(9, 12)
    add_building(builder, 0, (-8, size), (22, 8, draws.uniform(7, 12)), ("-y",))
    add_building(builder, 1, (size + 4, -16), (8, 32, draws.uniform(7, 13)), ("-x",))
    add_building(builder, 2, (-8, -size - 8), (22, 8, draws.uniform(6, 11)), ("+y",))
    add_building(builder, 3, (-24, -16), (8, 32, 9), ("+x",))
    _add_lawn(builder)
    for _ in range(3):
        x, side = draws.uniform(-2, 10), draws.choose(-1, 1)
        add_tree(builder, x, side * draws.uniform(5.5, size - 1))
    _add_clutter(builder, size)
    for _ in range(3):
        x, side = draws.uniform(0, 10), draws.choose(-1, 1)
        y = side * draws.uniform(3.5, 6)
        add_lamp(builder, x, y, (draws.choose(-1, 1), 0))
    if draws.chance(0.5):
        x, y = draws.uniform(6, 10), draws.uniform(-5, 5)
        add_car(builder, x, y, draws.uniform(0, 6))
    nearest = draws.uniform(3, 5)
    for number in range(draws.integer(1, 4)):
        x, y = nearest + number * draws.uniform(0.8, 2.5), draws.uniform(-1.4, 1.4)
        one_way, other_way = draws.uniform(0, 6.28), draws.uniform(0, 6.28)
        heading = draws.choose(math.pi, 0.0, one_way, other_way)
        gait: Gait = draws.choose("walk", "stand")
        add_person(builder, Placement(x, y, heading, gait, draws.uniform(1.0, 1.5)))
    position = (-0.5, draws.uniform(-1, 1), draws.uniform(1.3, 1.8))
    target = (nearest + 0.5, draws.uniform(-0.4, 0.4), draws.uniform(1.0, 1.5))
    return View(position, target)


def _add_lawn(builder: SceneBuilder) -> None:
    """Add a lawn of 4 by 3.5 metres with a curb around it and a tree on it."""
    draws = builder.draws
    x, y = draws.uniform(3, 8), draws.uniform(-4, 4)
    mesh = MeshBuilder(builder, "lawn")
    mesh.rectangle((x, x + 4), (y, y + 3.5), 0.03, builder.material(Material("grass", texture="grass0", bump=2)))
    edges = (
        ((x + 2, y), (4.2, 0.2)),
        ((x + 2, y + 3.5), (4.2, 0.2)),
        ((x, y + 1.75), (0.2, 3.5)),
        ((x + 4, y + 1.75), (0.2, 3.5)),
    )
    for (middle_x, middle_y), (length, width) in edges:
        curb = builder.material(Material("curb", (0.9, 0.9, 0.88), builder.texture("concrete"), kind="wall"))
        mesh.box((middle_x, middle_y, 0.08), (length, width, 0.2), curb, 0, 0.02)
    mesh.finish("ground")
    add_tree(builder, x + 2, y + 1.7)


def _add_clutter(builder: SceneBuilder, size: float) -> None:
    draws = builder.draws
    for _ in range(10):
        x, side = draws.uniform(1, 11), draws.choose(-1, 1)
        y = side * draws.uniform(2.2, size - 0.8)
        match draws.choose("bench", "crate", "pot", "bin", "barrel", "pot"):
            case "bench":
                add_bench(builder, x, y, draws.choose(0.0, math.pi, 1.57))
            case "crate":
                add_crate(builder, (x, y, 0), draws.uniform(0.4, 0.8), draws.uniform(0, 1))
            case "pot":
                add_potted_plant(builder, x, y)
            case "bin":
                add_bin(builder, x, y)
            case _:
                add_barrel(builder, x, y)
