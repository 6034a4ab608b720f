"""The street: houses on both sides, lamps, trees, parked cars, things on the pavement, one to three people."""

from __future__ import annotations

import math

from realmaster.data.render.people.gait import Gait
from realmaster.data.render.people.motion import Placement
from realmaster.data.render.world.builder import SceneBuilder, View
from realmaster.data.render.world.buildings import Side, add_building
from realmaster.data.render.world.cars import add_car
from realmaster.data.render.world.crowd import add_person
from realmaster.data.render.world.lamps import add_lamp
from realmaster.data.render.world.plants import add_potted_plant, add_tree
from realmaster.data.render.world.roadway import CURB_HEIGHT, Roadway
from realmaster.data.render.world.street_props import add_barrel, add_bench, add_bin, add_cone, add_crate

DEPTH = 9.0  # of a house


def build_street(builder: SceneBuilder) -> View:
    """Build the scene; give the camera's first idea of it. The order of the draws is fixed."""
    draws = builder.draws
    road = Roadway.draw(builder)
    road.add_surfaces(builder)
    road.add_marks(builder, draws.uniform(-4, 6) if draws.chance(0.6) else None)
    _add_houses(builder, road)
    _add_lamps_and_trees(builder, road)
    _add_parked_cars(builder, road)
    _add_clutter(builder, road)
    num_people = draws.integer(1, 4)
    side = draws.uniform(-road.half_width * 0.6, road.half_width * 0.6)
    nearest = draws.uniform(3.2, 6)
    for number in range(num_people):
        gait: Gait = draws.choose("walk", "walk", "walk", "stand")
        x = nearest + number * draws.uniform(1.2, 3.0)
        y = side + draws.uniform(-1.6, 1.6)
        any_way = draws.uniform(0, 6.28)
        heading = draws.choose(0.0, math.pi, math.pi, any_way)
        add_person(builder, Placement(x, y, heading, gait, draws.uniform(1.1, 1.6)))
    position = (0.0, side, draws.uniform(1.2, 1.9))
    target = (nearest + 1.2, side + draws.uniform(-0.5, 0.5), draws.uniform(1.0, 1.6))
    return View(position, target)


def _add_houses(builder: SceneBuilder, road: Roadway) -> None:
    draws, number = builder.draws, 0
    for side in (-1, 1):
        faces: tuple[Side, ...] = ("-y",) if side > 0 else ("+y",)
        x = -32.0
        while x < 45:
            width, height = draws.uniform(7, 15), draws.uniform(6.5, 15)
            y = road.wall if side > 0 else -road.wall - DEPTH
            add_building(builder, number, (x, y), (width, DEPTH, height), faces)
            gap = 0.0 if draws.chance(0.8) else draws.uniform(1, 3)
            x += width + gap
            number += 1
    add_building(builder, number, (46, -14), (9, 28, draws.uniform(10, 18)), ("-x",))
    add_building(builder, number + 1, (-60, -14), (9, 28, 12), ("+x",))


def _add_lamps_and_trees(builder: SceneBuilder, road: Roadway) -> None:
    draws = builder.draws
    for place in range(-2, 4):
        for side in (-1, 1):
            if draws.chance(0.7):
                add_lamp(builder, place * 9 + draws.uniform(-1, 1), side * (road.half_width + 0.35), (0, -side))
            if draws.chance(0.45):
                add_tree(builder, place * 9 + 4.5 + draws.uniform(-1, 1), side * (road.half_width + 0.6))


def _add_parked_cars(builder: SceneBuilder, road: Roadway) -> None:
    draws = builder.draws
    for place in range(7):
        if draws.chance(0.65):
            side = draws.choose(-1, 1)
            x = -14 + place * 6.0 + draws.uniform(-0.4, 0.4)
            add_car(builder, x, side * (road.half_width - 1.05), 0 if side < 0 else math.pi)


def _add_clutter(builder: SceneBuilder, road: Roadway) -> None:
    draws = builder.draws
    for _ in range(8):
        x, side = draws.uniform(-6, 18), draws.choose(-1, 1)
        y = side * (road.wall - 0.45)
        match draws.choose("bench", "bin", "crate", "pot", "cone", "barrel"):
            case "bench":
                add_bench(builder, x, y, 0 if side > 0 else math.pi)
            case "bin":
                add_bin(builder, x, y)
            case "crate":
                add_crate(builder, (x, y, CURB_HEIGHT), draws.uniform(0.4, 0.7), draws.uniform(0, 1))
            case "pot":
                add_potted_plant(builder, x, y)
            case "cone":
                add_cone(builder, x, side * (road.half_width - 0.3))
            case _:
                add_barrel(builder, x, y)
