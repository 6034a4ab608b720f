"""Collect polygons into one mesh: flat faces, boxes with bevelled edges, tubes. UV is in metres throughout.

Separate because every building and prop is made of these three shapes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt

from realmaster.data.render.world.builder import Category, SceneBuilder

Array = npt.NDArray[Any]
Vector = Sequence[float] | Array
UV = Sequence[float]


class MeshBuilder:
    """One mesh of several materials, in world coordinates."""

    def __init__(self, builder: SceneBuilder, name: str) -> None:
        self._builder = builder
        self._name = name
        self._vertices: list[tuple[float, ...]] = []
        self._faces: list[list[int]] = []
        self._materials: list[str] = []
        self._material_of_face: list[int] = []
        self._uv: list[tuple[float, ...]] = []

    def polygon(self, points: Sequence[Vector], material: str, uv: Sequence[UV] | None = None) -> None:
        """Add a flat face, counter-clockwise from outside; without `uv` it is projected along its main axis."""
        start = len(self._vertices)
        self._vertices += [tuple(map(float, point)) for point in points]
        self._faces.append(list(range(start, start + len(points))))
        if material not in self._materials:
            self._materials.append(material)
        self._material_of_face.append(self._materials.index(material))
        self._uv += [tuple(map(float, place)) for place in (project(points) if uv is None else uv)]

    def rectangle(self, x: tuple[float, float], y: tuple[float, float], z: float, material: str) -> None:
        """Add a level rectangle that faces up."""
        self.polygon([(x[0], y[0], z), (x[1], y[0], z), (x[1], y[1], z), (x[0], y[1], z)], material)

    def box(self, centre: Vector, size: Vector, material: str, angle: float = 0.0, bevel: float = 0.0) -> None:
        """Add a box, turned about z by `angle` radians, its edges cut by `bevel` metres."""
        half = [length / 2 for length in size]
        cut = min(bevel, *(length * 0.45 for length in half))
        cosine, sine = math.cos(angle), math.sin(angle)

        def place(p: Sequence[float]) -> tuple[float, float, float]:
            return (
                centre[0] + p[0] * cosine - p[1] * sine,
                centre[1] + p[0] * sine + p[1] * cosine,
                centre[2] + p[2],
            )

        for axis in range(3):
            for sign in (-1, 1):
                corners = _side(axis, sign, half, cut)
                if axis == 2:
                    uv = [(corner[0] + centre[0], corner[1] + centre[1]) for corner in corners]
                else:
                    across = 1 if axis == 0 else 0
                    uv = [(corner[across], corner[2]) for corner in corners]
                self.polygon([place(corner) for corner in corners], material, uv)
        if cut > 0:
            for corners in _bevels(half, cut):
                uv = [(corner[0] + corner[1], corner[2] + corner[1]) for corner in corners]
                self.polygon([place(corner) for corner in corners], material, uv)

    def tube(self, start: Vector, end: Vector, radii: tuple[float, float], material: str, sides: int = 10) -> None:
        """Add a capped cone between two points."""
        start, end = np.asarray(start, float), np.asarray(end, float)
        length = float(np.linalg.norm(end - start))
        across, over = perpendicular((end - start) / length)
        angles = np.linspace(0, 2 * math.pi, sides, endpoint=False)
        ring = np.cos(angles)[:, None] * across + np.sin(angles)[:, None] * over
        near, far = start + ring * radii[0], end + ring * radii[1]
        for side in range(sides):
            other = (side + 1) % sides
            u, v = side / sides * 6.28 * radii[0], (side + 1) / sides * 6.28 * radii[0]
            self.polygon(
                [near[side], near[other], far[other], far[side]], material, [(u, 0), (v, 0), (v, length), (u, length)]
            )
        self.polygon(near[::-1], material, [(0, 0)] * sides)
        self.polygon(far, material, [(0, 0)] * sides)

    def finish(self, category: Category, *, smooth: bool = False, is_moving: bool = False) -> Any:
        """Put the mesh into the scene; give the object."""
        mesh = bpy.data.meshes.new(self._name)
        mesh.from_pydata(self._vertices, [], self._faces)
        mesh.polygons.foreach_set("material_index", self._material_of_face)
        layer = mesh.uv_layers.new(name="UVMap")
        layer.data.foreach_set("uv", np.array(self._uv, np.float32).ravel())
        if smooth:
            mesh.polygons.foreach_set("use_smooth", [True] * len(mesh.polygons))
        return self._builder.add_object(self._name, mesh, self._materials, category, is_moving=is_moving)


def project(points: Sequence[Vector]) -> Array:
    """Project a flat face along the axis it faces most: [n, 2]."""
    corners = np.array([tuple(point) for point in points])
    normal = np.cross(corners[1] - corners[0], corners[2] - corners[0])
    keep = ([1, 2], [0, 2], [0, 1])[int(np.argmax(np.abs(normal)))]
    return corners[:, keep]


def perpendicular(direction: Array) -> tuple[Array, Array]:
    """Give two unit vectors that are square to a direction and to one another.

    The first follows Blender's `Vector.orthogonal`, so that the seams of tubes lie where they did in earlier sets.
    """
    x, y, z = direction
    largest = int(np.argmax(np.abs(direction)))
    choices = ((-y - z, x, x), (y, -x - z, y), (z, z, -x - y))
    across = np.array(choices[largest])
    across = across / np.linalg.norm(across)
    return across, np.cross(direction, across)


def _side(axis: int, sign: int, half: list[float], cut: float) -> list[list[float]]:
    one, other = (k for k in range(3) if k != axis)
    corners = []
    for i, j in ((-1, -1), (1, -1), (1, 1), (-1, 1)):
        corner = [0.0, 0.0, 0.0]
        corner[axis] = sign * half[axis]
        corner[one], corner[other] = i * (half[one] - cut), j * (half[other] - cut)
        corners.append(corner)
    return corners[::-1] if (sign > 0) != (axis != 1) else corners


def _bevels(half: list[float], cut: float) -> list[list[list[float]]]:
    faces = []
    for one, other in ((0, 1), (0, 2), (1, 2)):
        along = 3 - one - other
        for sign_one in (-1, 1):
            for sign_other in (-1, 1):
                corners = []
                for first, end in ((0, -1), (0, 1), (1, 1), (1, -1)):
                    corner = [0.0, 0.0, 0.0]
                    corner[along] = end * (half[along] - cut)
                    corner[one] = sign_one * (half[one] - (cut if first else 0))
                    corner[other] = sign_other * (half[other] - (0 if first else cut))
                    corners.append(corner)
                faces.append(corners)
    return faces
