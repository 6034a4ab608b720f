"""The street of the demo clip, placed by hand: a car and a passer-by enter mid-clip, and nobody walks into anyone.

The camera moves along the right pavement. A car overtakes it on the left; a woman steps out of the alley on the right.
"""

from __future__ import annotations

import math

from realmaster.data.render.draws import Draws
from realmaster.data.render.people.motion import Placement
from realmaster.data.render.world.builder import SceneBuilder, View
from realmaster.data.render.world.buildings import add_building
from realmaster.data.render.world.cars import add_car, drive
from realmaster.data.render.world.crowd import add_person
from realmaster.data.render.world.lamps import add_lamp
from realmaster.data.render.world.mesh_builder import MeshBuilder
from realmaster.data.render.world.plants import add_potted_plant, add_tree
from realmaster.data.render.world.roadway import CURB_HEIGHT, Roadway
from realmaster.data.render.world.street_props import add_barrel, add_bench, add_bin, add_crate

ROAD = Roadway(
    half_width=4.0,
    pavement=3.0,
    asphalt="asphalt1",
    slabs="paving1",
    slab_tint=(1, 0.98, 0.95),
    curb="concrete0",
    paint="concrete0",
)
DEPTH = 9.0
ALLEY = (4.5, 8.5)

RIGHT_HOUSES = ((-21, 12, 9), (-9, 14, 10.5), (8, 11, 8.5), (19, 13, 12), (32, 14, 9.5))  # x, width, height
LEFT_HOUSES = ((-22, 14, 8), (-8, 12, 9.5), (4, 13, 8), (17, 10, 10.5), (27, 9, 8.5), (36, 10, 11))
RIGHT_TREES = ((13.8, 5.6), (23, 6.6), (34, 6.0))  # x, height
LEFT_TREES = ((4.8, 6.2), (15.5, 5.5), (28, 6.8))

# the number picks a look; see the file's story for who is who
PEOPLE = (
    (108, Placement(6.7, -6.9, math.radians(97), "walk", 1.35, CURB_HEIGHT)),  # steps out of the alley
    (106, Placement(7.4, -4.95, math.pi, "walk", 1.25, CURB_HEIGHT)),  # comes towards the camera
    (104, Placement(9.6, -5.75, 0.0, "walk", 1.2, CURB_HEIGHT)),  # walks ahead
    (105, Placement(14.6, -6.4, math.radians(20), "stand", 1.0, CURB_HEIGHT)),  # two who talk
    (107, Placement(15.7, -6.1, math.radians(195), "stand", 1.0, CURB_HEIGHT)),
    (101, Placement(14.5, 5.6, math.pi, "walk", 1.2, CURB_HEIGHT)),  # across the road
    (100, Placement(8.0, 5.0, 0.0, "walk", 1.4, CURB_HEIGHT)),
    (109, Placement(19.0, -5.0, math.pi, "walk", 1.3, CURB_HEIGHT)),
)


def build_demo(builder: SceneBuilder) -> View:
    """Build the scene; give where the camera starts from (its path is `demo_path`)."""
    road = ROAD
    road.add_surfaces(builder)
    alley = MeshBuilder(builder, "alley")
    alley.rectangle(ALLEY, (-30, -road.wall), CURB_HEIGHT, road.slab_material(builder))
    alley.finish("ground")
    road.add_marks(builder, crossing_x=10, crossing_length=2.6)
    _add_houses(builder, road)
    _add_lamps_and_trees(builder, road)
    for x, side in ((19.5, 1), (25.5, 1), (25.8, -1), (32, -1)):
        add_car(builder, x, side * (road.half_width - 1.05), 0 if side < 0 else math.pi)
    add_bench(builder, 9.9, -6.45, math.pi)
    add_bench(builder, 13, 6.5, 0)
    add_bin(builder, 11.35, -6.55)
    add_potted_plant(builder, 8.9, -6.6)
    add_crate(builder, (1.5, 6.5, CURB_HEIGHT), side=0.6, angle=0.3)
    add_potted_plant(builder, 7, 6.5)
    add_barrel(builder, 17, -6.5)
    drive(builder, add_car(builder, 0, -1.75, 0, is_moving=True), start=-13.5, speed=6.2)
    for look, placement in PEOPLE:
        add_person(builder, placement, Draws(builder.clip.seed, look))
    return View((-0.1, -5.45, 1.6), (9.9, -4.4, 1.42))


def _add_houses(builder: SceneBuilder, road: Roadway) -> None:
    for number, (x, width, height) in enumerate(RIGHT_HOUSES):
        beside_alley = {1: ("+x",), 2: ("-x",)}.get(number, ())
        add_building(builder, number, (x, -road.wall - DEPTH), (width, DEPTH, height), ("+y", *beside_alley))
    number = len(RIGHT_HOUSES)
    add_building(builder, number, (0, -34), (16, DEPTH, 9), ("+y",))  # closes the alley
    for x, width, height in LEFT_HOUSES:
        number += 1
        add_building(builder, number, (x, road.wall), (width, DEPTH, height), ("-y",))
    add_building(builder, number + 1, (46, -14), (DEPTH, 28, 13), ("-x",))
    add_building(builder, number + 2, (-60, -14), (DEPTH, 28, 12), ("+x",))


def _add_lamps_and_trees(builder: SceneBuilder, road: Roadway) -> None:
    for x in (8.6, 18, 27):
        add_lamp(builder, x, -road.half_width - 0.35, (0, 1))
    for x in (-2, 10, 21.5, 33):
        add_lamp(builder, x, road.half_width + 0.35, (0, -1))
    for side, trees in ((-1, RIGHT_TREES), (1, LEFT_TREES)):
        for x, height in trees:
            add_tree(builder, x, side * (road.half_width + 0.6), height)
