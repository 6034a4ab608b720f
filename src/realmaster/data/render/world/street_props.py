"""Small things that stand about: benches, bins, crates, cones, barrels. Each draws its own colour and angle."""

from __future__ import annotations

import math

from realmaster.data.render.world.builder import SceneBuilder
from realmaster.data.render.world.material import Material
from realmaster.data.render.world.mesh_builder import MeshBuilder

LAMP_METAL = Material("lamp metal", (0.05, 0.06, 0.06), roughness=0.4, metallic=0.5, engine_colour=(0.12, 0.13, 0.13))
BIN_COLOURS = ((0.05, 0.15, 0.08), (0.05, 0.08, 0.2), (0.05, 0.05, 0.05))


def turned(x: float, y: float, angle: float) -> tuple[float, float]:
    """Turn a vector about z."""
    cosine, sine = math.cos(angle), math.sin(angle)
    return x * cosine - y * sine, x * sine + y * cosine


def add_bench(builder: SceneBuilder, x: float, y: float, angle: float) -> None:
    """Add a bench with a back; at angle 0 it faces -y."""
    mesh = MeshBuilder(builder, "bench")
    wood = builder.material(Material("bench wood", (0.9, 0.8, 0.7), builder.texture("wood")))
    metal = builder.material(LAMP_METAL)

    def add(
        offset: tuple[float, float], height: float, size: tuple[float, float, float], material: str, bevel: float
    ) -> None:
        right, back = turned(*offset, angle)
        mesh.box((x + right, y + back, height), size, material, angle, bevel)

    for slat in range(4):
        add((0, -0.18 + slat * 0.12), 0.45, (1.6, 0.09, 0.035), wood, 0.006)
    for slat in range(3):
        add((0, 0.26 + slat * 0.03), 0.58 + slat * 0.12, (1.6, 0.03, 0.09), wood, 0.006)
    for side in (-0.65, 0.65):
        add((side, 0), 0.22, (0.05, 0.42, 0.44), metal, 0.005)
        add((side, 0.29), 0.6, (0.05, 0.05, 0.5), metal, 0.005)
    mesh.finish("prop")


def add_bin(builder: SceneBuilder, x: float, y: float) -> None:
    """Add a wheeled bin with a lid."""
    draws = builder.draws
    mesh = MeshBuilder(builder, "bin")
    name = draws.choose("green", "blue", "black")
    material = builder.material(Material(f"bin {name}", draws.choose(*BIN_COLOURS), roughness=0.45))
    mesh.box((x, y, 0.5), (0.55, 0.6, 0.9), material, draws.uniform(0, 6), 0.05)
    mesh.box((x, y, 1.0), (0.6, 0.66, 0.09), material, draws.uniform(-0.2, 0.2), 0.03)
    mesh.finish("prop")


def add_crate(builder: SceneBuilder, foot: tuple[float, float, float], side: float, angle: float) -> None:
    """Add a wooden crate with sides of `side` metres, standing on `foot`."""
    mesh = MeshBuilder(builder, "crate")
    number = builder.draws.integer(0, 3)
    material = builder.material(Material(f"crate {number}", (1, 0.95, 0.85), builder.texture("wood")))
    mesh.box((foot[0], foot[1], foot[2] + side / 2), (side, side, side), material, angle, 0.015)
    mesh.finish("prop")


def add_cone(builder: SceneBuilder, x: float, y: float) -> None:
    """Add a traffic cone with a white band."""
    mesh = MeshBuilder(builder, "cone")
    orange = builder.material(Material("cone orange", (0.8, 0.2, 0.03), roughness=0.5))
    white = builder.material(Material("cone band", (0.85, 0.85, 0.85), roughness=0.4))
    mesh.box((x, y, 0.02), (0.36, 0.36, 0.04), orange, builder.draws.uniform(0, 1))
    mesh.tube((x, y, 0.04), (x, y, 0.25), (0.14, 0.10), orange, 16)
    mesh.tube((x, y, 0.25), (x, y, 0.4), (0.10, 0.075), white, 16)
    mesh.tube((x, y, 0.4), (x, y, 0.68), (0.075, 0.025), orange, 16)
    mesh.finish("prop")


def add_barrel(builder: SceneBuilder, x: float, y: float) -> None:
    """Add a metal barrel."""
    mesh = MeshBuilder(builder, "barrel")
    name = builder.draws.choose("one", "two")
    metal = builder.material(Material(f"barrel {name}", texture=builder.texture("metal")))
    mesh.tube((x, y, 0), (x, y, 0.9), (0.3, 0.3), metal, 20)
    mesh.finish("prop")
