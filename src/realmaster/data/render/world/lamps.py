"""Street lamps. At night they are on; their light has a stream of its own, so that the scene stays the same."""

from __future__ import annotations

import math

from realmaster.data.render.world.builder import LampBulb, SceneBuilder
from realmaster.data.render.world.material import Material
from realmaster.data.render.world.mesh_builder import MeshBuilder
from realmaster.data.render.world.street_props import LAMP_METAL

HEIGHT = 4.6
ON = Material("bulb", (1, 0.78, 0.5), emission=40.0, engine_emission=1.5)
OFF = Material("bulb", (0.8, 0.8, 0.75))


def add_lamp(builder: SceneBuilder, x: float, y: float, arm: tuple[float, float]) -> None:
    """Add a street lamp whose arm reaches in the direction `arm`."""
    mesh = MeshBuilder(builder, "lamp")
    metal = builder.material(LAMP_METAL)
    end_x, end_y = x + arm[0] * 0.9, y + arm[1] * 0.9
    angle = math.atan2(arm[1], arm[0])
    mesh.tube((x, y, 0), (x, y, 0.5), (0.11, 0.09), metal)
    mesh.tube((x, y, 0.5), (x, y, HEIGHT), (0.055, 0.04), metal)
    mesh.tube((x, y, HEIGHT), (end_x, end_y, HEIGHT + 0.15), (0.035, 0.03), metal)
    mesh.box((end_x, end_y, HEIGHT + 0.13), (0.5, 0.24, 0.1), metal, angle, 0.03)
    is_on = builder.weather == "night"
    mesh.box((end_x, end_y, HEIGHT + 0.06), (0.4, 0.18, 0.05), builder.material(ON if is_on else OFF), angle)
    mesh.finish("lamp")
    if is_on:
        draws = builder.lamp_draws
        colour = draws.choose((1.0, 0.72, 0.42), (1.0, 0.8, 0.55))
        builder.bulbs.append(LampBulb((end_x, end_y, HEIGHT - 0.05), colour, draws.uniform(250, 450)))
