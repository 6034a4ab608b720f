"""The room: two windows, a table, a bookshelf, a sofa, a rug and one or two people."""

from __future__ import annotations

import math

from realmaster.data.render.people.gait import Gait
from realmaster.data.render.people.motion import Placement
from realmaster.data.render.world.builder import Room, SceneBuilder, View
from realmaster.data.render.world.crowd import add_person
from realmaster.data.render.world.material import Colour, Material
from realmaster.data.render.world.mesh_builder import MeshBuilder
from realmaster.data.render.world.plants import add_potted_plant

SILL, ABOVE_WINDOW = 0.85, 0.35
PAINTED_WHITE = Material("white paint", (0.85, 0.85, 0.83), roughness=0.9)
SOFA_COLOURS: tuple[Colour, ...] = ((0.2, 0.25, 0.3), (0.4, 0.3, 0.2), (0.3, 0.1, 0.1), (0.25, 0.28, 0.2))
RUG_COLOURS: tuple[Colour, ...] = ((0.5, 0.15, 0.12), (0.2, 0.25, 0.4), (0.6, 0.55, 0.45))


def build_room(builder: SceneBuilder) -> View:
    """Build the scene; give the camera's first idea of it. The order of the draws is fixed."""
    draws = builder.draws
    length, width, height = draws.uniform(5.0, 7.0), draws.uniform(4.0, 5.5), draws.uniform(2.6, 3.0)
    windows = ((length * 0.2, length * 0.42), (length * 0.58, length * 0.82))
    builder.room = room = Room(length, width, height, windows)
    _add_shell(builder, room)
    _add_furniture(builder, room)
    if draws.chance(0.7):
        add_potted_plant(builder, length - 0.6, width / 2 - 0.5)
    nearest = draws.uniform(2.4, 3.4)
    for number in range(draws.integer(1, 3)):
        side = draws.choose(-1, 1)
        y, any_way = side * draws.uniform(0.9, 1.3), draws.uniform(0, 6)
        heading = draws.choose(math.pi, math.pi / 2, -math.pi / 2, any_way)
        gait: Gait = draws.choose("walk", "stand", "stand")
        add_person(builder, Placement(nearest + number * 1.3, y, heading, gait, draws.uniform(0.9, 1.2)))
    position = (0.5, draws.uniform(-0.8, 0.8), draws.uniform(1.3, 1.6))
    target = (nearest + 0.4, draws.uniform(-0.3, 0.3), draws.uniform(1.0, 1.35))
    return View(position, target)


def _add_shell(builder: SceneBuilder, room: Room) -> None:
    """Add floor, ceiling, three blank walls and the wall with the windows."""
    draws = builder.draws
    plaster = Material("room wall", draws.tint(0.7, 1.15, 0.08), builder.texture("plaster"), bump=0.5)
    wall = builder.material(plaster)
    floor_texture = builder.texture(draws.choose("wood", "wood", "concrete"))
    floor = builder.material(Material("room floor", texture=floor_texture))
    white = builder.material(PAINTED_WHITE)
    mesh = MeshBuilder(builder, "room")
    x, left, right, z = room.length, room.width / 2, -room.width / 2, room.height
    mesh.polygon([(0, right, 0), (x, right, 0), (x, left, 0), (0, left, 0)], floor)
    mesh.polygon([(0, right, z), (0, left, z), (x, left, z), (x, right, z)], white)
    mesh.polygon([(0, right, 0), (0, left, 0), (0, left, z), (0, right, z)], wall)
    mesh.polygon([(0, right, 0), (0, right, z), (x, right, z), (x, right, 0)], wall)
    mesh.polygon([(x, right, 0), (x, right, z), (x, left, z), (x, left, 0)], wall)
    _add_window_wall(mesh, room, wall, white)
    mesh.finish("building")


def _add_window_wall(mesh: MeshBuilder, room: Room, wall: str, white: str) -> None:
    y, z, lintel = room.width / 2, room.height, room.height - ABOVE_WINDOW
    edge = 0.0
    for start, end in room.windows:
        pier = [(edge, 0), (start, 0), (start, z), (edge, z)]
        mesh.polygon([(along, y, up) for along, up in pier], wall, pier)
        mesh.polygon([(start, y, 0), (end, y, 0), (end, y, SILL), (start, y, SILL)], wall)
        mesh.polygon([(start, y, lintel), (end, y, lintel), (end, y, z), (start, y, z)], wall)
        middle = (start + end) / 2
        for post in (start, end, middle):
            mesh.box((post, y + 0.06, (SILL + lintel) / 2), (0.06, 0.16, z - 1.2), white, 0, 0.01)
        mesh.box((middle, y - 0.02, SILL - 0.01), (end - start + 0.2, 0.34, 0.05), white, 0, 0.01)
        mesh.box((middle, y + 0.06, lintel), (end - start, 0.16, 0.06), white)
        edge = end
    mesh.polygon([(edge, y, 0), (room.length, y, 0), (room.length, y, z), (edge, y, z)], wall)


def _add_furniture(builder: SceneBuilder, room: Room) -> None:
    """Add everything that stands in the room as one mesh; the order of the draws is fixed."""
    draws = builder.draws
    mesh = MeshBuilder(builder, "furniture")
    length, width, white = room.length, room.width, PAINTED_WHITE.name
    for (x, y), (along, across) in (
        ((length / 2, -width / 2 + 0.01), (length, 0.02)),
        ((length - 0.01, 0), (0.02, width)),
        ((length / 2, width / 2 - 0.01), (length, 0.02)),
    ):
        mesh.box((x, y, 0.05), (along, across, 0.1), white)
    wood = builder.material(Material("table wood", texture=builder.texture("wood")))
    _add_table(builder, mesh, wood)
    _add_bookshelf(builder, mesh, wood, length - 0.2, draws.uniform(-width * 0.3, width * 0.1))
    _add_sofa(builder, mesh, room)
    picture_y = draws.uniform(0.6, width / 2 - 0.6)
    black = builder.material(Material("picture frame", (0.05, 0.04, 0.03), roughness=0.3))
    mesh.box((length - 0.015, picture_y, 1.6), (0.03, 0.7, 0.5), black)
    picture = builder.material(Material("picture", (0.9, 0.8, 0.7), builder.texture("roof")))
    mesh.box((length - 0.035, width / 2 - 1, 1.6), (0.01, 0.6, 0.4), picture)
    rug_colour = draws.choose(*RUG_COLOURS)
    rug = builder.material(Material("rug", rug_colour, builder.texture("cloth")))
    mesh.box((length / 2, 0, 0.008), (2.6, 1.8, 0.016), rug)
    mesh.finish("prop")


def _add_table(builder: SceneBuilder, mesh: MeshBuilder, wood: str) -> None:
    draws = builder.draws
    x, y = draws.uniform(2.2, 3.5), draws.uniform(-0.6, 0.6)
    mesh.box((x, y, 0.74), (1.5, 0.8, 0.04), wood, 0, 0.008)
    for leg_x in (-0.68, 0.68):
        for leg_y in (-0.34, 0.34):
            mesh.box((x + leg_x, y + leg_y, 0.36), (0.06, 0.06, 0.72), wood)
    for number in range(5):
        centre = (x + draws.uniform(-0.6, 0.6), y + draws.uniform(-0.3, 0.3), 0.79 + draws.uniform(0, 0.02))
        size = (draws.uniform(0.1, 0.3), draws.uniform(0.08, 0.2), draws.uniform(0.03, 0.14))
        colour = draws.shade(0.6)
        cover = builder.material(Material(f"table book {number}", colour, roughness=draws.uniform(0.2, 0.8)))
        mesh.box(centre, size, cover, draws.uniform(0, 3), 0.005)


def _add_bookshelf(builder: SceneBuilder, mesh: MeshBuilder, wood: str, x: float, y: float) -> None:
    draws = builder.draws
    for board in (0.1, 0.5, 0.9, 1.3, 1.7):
        mesh.box((x, y, board), (0.32, 1.4, 0.03), wood)
    for side in (-0.7, 0.7):
        mesh.box((x, y + side, 0.95), (0.32, 0.03, 1.75), wood)
    for board in (0.1, 0.5, 0.9, 1.3):
        along = -0.65
        while along < 0.6:
            thickness, height = draws.uniform(0.025, 0.07), draws.uniform(0.2, 0.32)
            if draws.chance(0.8):
                number = draws.integer(0, 9)
                cover = builder.material(Material(f"book {number}", draws.shade(0.5), roughness=0.6))
                centre = (x - 0.02, y + along + thickness / 2, board + 0.02 + height / 2)
                mesh.box(centre, (0.2, thickness * 0.92, height), cover)
            along += thickness


def _add_sofa(builder: SceneBuilder, mesh: MeshBuilder, room: Room) -> None:
    draws = builder.draws
    colour = draws.choose(*SOFA_COLOURS)
    cloth = builder.material(Material("sofa", colour, builder.texture("cloth")))
    x, y = draws.uniform(2.5, room.length - 1.6), -room.width / 2 + 0.5
    mesh.box((x, y, 0.25), (2.0, 0.85, 0.34), cloth, 0, 0.06)
    mesh.box((x, y - 0.33, 0.6), (2.0, 0.22, 0.5), cloth, 0, 0.08)
    for arm in (-0.92, 0.92):
        mesh.box((x + arm, y, 0.42), (0.2, 0.85, 0.4), cloth, 0, 0.06)
    for cushion in (-0.45, 0.45):
        mesh.box((x + cushion, y + 0.05, 0.47), (0.85, 0.7, 0.14), cloth, 0, 0.05)
