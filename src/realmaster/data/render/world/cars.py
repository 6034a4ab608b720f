"""Cars: one body lofted through a row of cross-sections, wheels, lamps; parked, or driving along a straight line."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from realmaster.data.render.world.builder import SceneBuilder
from realmaster.data.render.world.material import Colour, Material
from realmaster.data.render.world.mesh_builder import MeshBuilder
from realmaster.data.render.world.street_props import turned

PAINTS: tuple[Colour, ...] = (
    (0.5, 0.02, 0.02),
    (0.02, 0.05, 0.2),
    (0.6, 0.6, 0.6),
    (0.03, 0.03, 0.03),
    (0.75, 0.75, 0.73),
    (0.12, 0.2, 0.15),
    (0.25, 0.26, 0.28),
)


class Section(NamedTuple):
    """One cross-section of the body, from rear (x < 0) to front; metres."""

    x: float
    sill: float
    shoulder: float
    half_width: float
    roof: float
    roof_half_width: float


SECTIONS = (
    Section(-2.15, 0.35, 0.72, 0.70, 0.72, 0.66),
    Section(-2.05, 0.28, 0.86, 0.82, 0.87, 0.74),
    Section(-1.75, 0.22, 0.92, 0.86, 0.94, 0.74),
    Section(-1.45, 0.22, 0.93, 0.87, 1.05, 0.70),
    Section(-0.95, 0.22, 0.93, 0.88, 1.40, 0.60),
    Section(-0.2, 0.22, 0.92, 0.88, 1.46, 0.60),
    Section(0.45, 0.22, 0.91, 0.88, 1.40, 0.59),
    Section(1.05, 0.22, 0.90, 0.87, 0.95, 0.68),
    Section(1.7, 0.22, 0.82, 0.85, 0.84, 0.72),
    Section(2.05, 0.28, 0.70, 0.80, 0.72, 0.66),
    Section(2.18, 0.36, 0.60, 0.66, 0.60, 0.58),
)
REAR_WINDOW, WINDSCREEN = 3, 6
"""Gaps between sections that are glass across the roof."""


def add_car(builder: SceneBuilder, x: float, y: float, angle: float, *, is_moving: bool = False) -> Any:
    """Add a car that points along `angle`; give the object."""
    colour = builder.draws.choose(*PAINTS)
    make = builder.material
    paint = make(Material(f"paint {colour}", colour, kind="paint", roughness=0.35, metallic=0.3))
    glass = make(Material("car glass", (0.015, 0.017, 0.02), roughness=0.03, engine_colour=(0.15, 0.2, 0.25)))
    rubber = make(Material("rubber", (0.02, 0.02, 0.02), roughness=0.8))
    chrome = make(Material("chrome", (0.6, 0.6, 0.6), roughness=0.2, metallic=1.0))
    headlight = make(Material("headlight", (0.8, 0.8, 0.75), roughness=0.1))
    taillight = make(Material("taillight", (0.4, 0.01, 0.01), roughness=0.15))

    def place(point: tuple[float, float, float]) -> tuple[float, float, float]:
        along, across = turned(point[0], point[1], angle)
        return x + along, y + across, point[2]

    mesh = MeshBuilder(builder, "car")
    rings = [_ring(section) for section in SECTIONS]
    for gap in range(len(rings) - 1):
        near, far = rings[gap], rings[gap + 1]
        for side in range(len(near) - 1):
            corners = [near[side], near[side + 1], far[side + 1], far[side]]
            mesh.polygon([place(corner) for corner in corners], glass if _is_glass(gap, side) else paint)
    mesh.polygon([place(point) for point in rings[0]], paint)
    mesh.polygon([place(point) for point in rings[-1]][::-1], paint)
    for along in (-1.35, 1.35):
        for across in (-0.78, 0.78):
            out = math.copysign(1, across)
            inner, outer, hub = (place((along, across + d * out, 0.33)) for d in (-0.1, 0.12, 0.125))
            mesh.tube(inner, outer, (0.33, 0.33), rubber, 18)
            mesh.tube(outer, hub, (0.2, 0.19), chrome, 14)
    for across in (-0.55, 0.55):
        mesh.box(place((2.13, across, 0.62)), (0.12, 0.32, 0.13), headlight, angle, 0.03)
        mesh.box(place((-2.13, across, 0.74)), (0.1, 0.3, 0.14), taillight, angle, 0.03)
    mesh.box(place((2.17, 0, 0.42)), (0.06, 0.8, 0.14), rubber, angle)
    mesh.box(place((-2.17, 0, 0.55)), (0.04, 0.5, 0.11), headlight, angle)  # the number plate
    car = mesh.finish("vehicle", smooth=True, is_moving=is_moving)
    # faces come loose from the builder: join them, so that smooth shading works, and split the sharp edges again
    weld = car.modifiers.new("weld", "WELD")
    weld.merge_threshold = 0.001
    split = car.modifiers.new("edges", "EDGE_SPLIT")
    split.split_angle = 0.6
    return car


def drive(builder: SceneBuilder, car: Any, start: float, speed: float) -> None:
    """Let a car go along x: at `start` metres from where it was built at time 0, at `speed` metres a second."""
    for frame in builder.animated_frames:
        car.location.x = start + speed * builder.seconds(frame)
        car.keyframe_insert("location", index=0, frame=frame)
    make_linear(car)


def make_linear(animated: Any) -> None:
    """Let everything animated on an object or mesh change evenly between keys."""
    for curve in animated.animation_data.action.fcurves:
        for key in curve.keyframe_points:
            key.interpolation = "LINEAR"


def _ring(section: Section) -> list[tuple[float, float, float]]:
    """Points of a cross-section from the right sill over the roof to the left sill."""
    x, sill, shoulder, half, roof, roof_half = section
    shallow = 0.05 if roof > shoulder + 0.1 else 0.0
    right = [
        (x, -half * 0.9, sill),
        (x, -half, sill + 0.15),
        (x, -half * 1.01, (sill + shoulder) / 2),
        (x, -half * 0.97, shoulder),
        (x, -roof_half, roof - shallow),
        (x, -roof_half * 0.6, roof),
        (x, 0.0, roof + 0.015),
    ]
    return right + [(along, -across, height) for along, across, height in right[-2::-1]]


def _is_glass(gap: int, side: int) -> bool:
    is_window = side in (3, 8) and SECTIONS[gap].roof > 1.2 and SECTIONS[gap + 1].roof > 1.2
    return is_window or (side in (4, 5, 6, 7) and gap in (REAR_WINDOW, WINDSCREEN))
