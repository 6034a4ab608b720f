"""Keep people and the camera out of cars, walls and one another. Off by default: old seeds keep what they meant.

Separate and asked last, when everything that does not move stands: it moves a placement only where it would collide,
with draws of a stream of its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from mathutils import Vector
from mathutils.bvhtree import BVHTree

from realmaster.data.render.draws import CLEARANCE, Draws
from realmaster.data.render.people.motion import Placement
from realmaster.data.render.settings import ClipSettings

Array = npt.NDArray[Any]
Bounds = tuple[tuple[float, float], tuple[float, float]]
"""The ranges of x and y that people and camera must stay in."""
EVERYWHERE: Bounds = ((-math.inf, math.inf), (-math.inf, math.inf))

BODY_RADIUS = 0.45  # metres around a person's axis; swinging arms included
BODY_HEIGHTS = (0.35, 0.9, 1.45)
APART = 0.9  # between two people
PACE = 0.9  # how far a walker comes, for the speed that was asked for
CAMERA_RADIUS = 0.35
CAMERA_APART = 1.3  # between camera and people
OPEN_VIEW = 2.0  # metres that must be free ahead of the lens
VIEW_SPREAD = 0.35  # tangent of the angle around the axis that is looked at for it
TRIES = 60


class Clearance:
    """What stands in the scene, and who walks where."""

    def __init__(self, clip: ClipSettings, things: Sequence[Any], bounds: Bounds = EVERYWHERE) -> None:
        """Take in the meshes of everything that stands (Blender objects in world coordinates), and a room's bounds."""
        self._bounds = bounds
        vertices: list[Any] = []
        faces: list[list[int]] = []
        for thing in things:
            start = len(vertices)
            vertices += [thing.matrix_world @ vertex.co for vertex in thing.data.vertices]
            faces += [[start + index for index in polygon.vertices] for polygon in thing.data.polygons]
        self._tree = BVHTree.FromPolygons(vertices, faces)
        self._draws = Draws(clip.seed, CLEARANCE)
        seconds = (clip.num_frames - 1) / clip.motion_rate
        self._times = np.linspace(-seconds / 2, seconds / 2, max(2, math.ceil(seconds * 4)))
        self._walks: list[Array] = []

    def place(self, wish: Placement, *, is_framed: bool = False) -> Placement:
        """Give the wish, or the nearest try that is free; the freest one where none is.

        `is_framed` asks for room before the face as well, where the camera of a close-up stands.
        """
        best, most = wish, -math.inf
        for attempt in range(TRIES):
            reach = 0.5 + 3.0 * attempt / TRIES  # look nearby first
            x, y = self._draws.uniform(-1, 1) * reach, self._draws.uniform(-1, 1) * reach
            candidate = wish if attempt == 0 else replace(wish, x=wish.x + x, y=wish.y + y)
            room = self._room(candidate, is_framed)
            if room > most:
                best, most = candidate, room
            if room >= 0:
                break
        self._walks.append(self._walk(best))
        return best

    def shift_camera(self, positions: Array, forward: Array) -> Array:
        """Say by how much to shift a camera's path, [T, 3] metres, so that it and its view are free: [3]."""
        best, most = np.zeros(3), -math.inf
        for attempt in range(TRIES):
            reach = 0.5 + 2.5 * attempt / TRIES
            shift = np.array([self._draws.uniform(-1, 1) * reach, self._draws.uniform(-1, 1) * reach, 0.0])
            candidate = np.zeros(3) if attempt == 0 else shift
            room = self._camera_room(positions + candidate, forward)
            if room > most:
                best, most = candidate, room
            if room >= 0:
                break
        return best

    def _room(self, placement: Placement, is_framed: bool) -> float:
        """Metres to spare on the whole way; negative for a collision."""
        walk = self._walk(placement)
        spare = [self._distance((x, y, z + placement.ground)) - BODY_RADIUS for x, y in walk for z in BODY_HEIGHTS]
        spare += [float(np.linalg.norm(walk - other, axis=1).min()) - APART for other in self._walks]
        if is_framed:
            spare += [self._distance((*self._ahead(placement, metres), 1.5)) - CAMERA_RADIUS for metres in (0.5, 1.0)]
        return min(spare)

    def _camera_room(self, positions: Array, forward: Array) -> float:
        spare = [self._distance(position) - CAMERA_RADIUS for position in positions[:: max(1, len(positions) // 8)]]
        middle = positions[len(positions) // 2]
        spare += [float(np.linalg.norm(walk - middle[:2], axis=1).min()) - CAMERA_APART for walk in self._walks]
        sideways = np.array([-forward[1], forward[0], 0.0])
        for across in (-VIEW_SPREAD, 0.0, VIEW_SPREAD):
            ray = Vector((forward + across * sideways).tolist()).normalized()
            free = self._tree.ray_cast(Vector(middle.tolist()), ray, OPEN_VIEW)[3]
            spare.append(0.0 if free is None else free - OPEN_VIEW)
        return min(spare)

    def _walk(self, placement: Placement) -> Array:
        """Where a person is at the times looked at: [n, 2]."""
        pace = placement.speed * PACE if placement.gait == "walk" else 0.0
        heading = np.array([math.cos(placement.heading), math.sin(placement.heading)])
        return np.array([placement.x, placement.y]) + self._times[:, None] * pace * heading

    def _ahead(self, placement: Placement, metres: float) -> Array:
        angle = placement.heading + 0.35  # where a close-up is taken from
        return np.array([placement.x, placement.y]) + metres * np.array([math.cos(angle), math.sin(angle)])

    def _distance(self, point: Sequence[float] | Array) -> float:
        """Metres to the nearest surface or bound; outside the bounds the negative way back."""
        outside = max(max(low - value, value - high) for value, (low, high) in zip(point, self._bounds, strict=False))
        if outside > 0:
            return -float(outside)
        found = self._tree.find_nearest(Vector([float(value) for value in point]))
        return min(-float(outside), math.inf if found[3] is None else float(found[3]))
