"""One wall of a building: rows of recessed windows, doors or shop fronts, sills, awnings, pipes and boxes.

Separate from the building because a facade is a plane with its own two axes: `along` metres to the right as seen from
outside, `up` metres, and `inset` metres into the wall.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.draws import Draws
from realmaster.data.render.world.mesh_builder import MeshBuilder

Array = npt.NDArray[Any]
RECESS = 0.18
FRAME = 0.06


@dataclass(frozen=True)
class FacadeStyle:
    """What all walls of a building share: measures in metres, and names of materials."""

    ground_floor: float
    floor: float
    bay: float  # width of one window's share of the wall
    window_share: float
    window_height: float
    lit_share: float
    glass: tuple[str, str, str, str]
    lit_glass: str
    frame: str
    trim: str
    door: str
    has_transom: bool
    has_sills: bool
    has_lintels: bool
    is_shop: bool
    has_awnings: bool
    awning: str
    has_pipe: bool
    pipe: str
    box: str


@dataclass(frozen=True)
class Opening:
    """A cell of the wall and the hole in it, both as (left, bottom, right, top)."""

    cell: tuple[float, float, float, float]
    hole: tuple[float, float, float, float]
    is_door: bool = False


class Facade:
    """A wall being drawn into a mesh."""

    def __init__(
        self, mesh: MeshBuilder, draws: Draws, style: FacadeStyle, wall: str, start: Array, end: Array, height: float
    ) -> None:
        """Place the wall from `start` to `end` [3], whose right-hand side is outside."""
        self._mesh, self._draws, self._style, self._wall = mesh, draws, style, wall
        self._start = start
        self._width = float(np.linalg.norm(end - start))
        self._along = (end - start) / self._width
        self._outwards = np.array([self._along[1], -self._along[0], 0.0])
        self._angle = math.atan2(self._along[1], self._along[0])
        self._height = height

    def draw(self) -> None:
        """Draw the whole wall; the order of the draws is fixed: bay by bay, then pipe, then boxes."""
        style, draws = self._style, self._draws
        num_floors = max(1, int((self._height - style.ground_floor - 0.3) / style.floor))
        num_bays = max(1, int(self._width / style.bay))
        bay = self._width / num_bays
        for number in range(num_bays):
            self._draw_bay(number * bay, bay, num_floors)
        top = style.ground_floor + num_floors * style.floor
        self._rectangle(0, top, self._width, self._height, self._wall)
        cornice = self._point(self._width / 2, self._height - 0.12, -0.12)
        self._mesh.box(cornice, (self._width + 0.3, 0.4, 0.24), style.trim, self._angle, 0.02)
        band = self._point(self._width / 2, style.ground_floor - 0.05, -0.04)
        self._mesh.box(band, (self._width, 0.12, 0.14), style.trim, self._angle, 0.02)
        if style.has_pipe:
            is_left = draws.chance(0.5)
            x = draws.uniform(0.2, 0.5) if is_left else self._width - draws.uniform(0.2, 0.5)
            bottom, end = self._point(x, 0.1, -0.09), self._point(x, self._height - 0.2, -0.09)
            self._mesh.tube(bottom, end, (0.055, 0.055), style.pipe, 8)
        for _ in range(draws.integer(0, 3)):
            x = draws.uniform(0.6, self._width - 0.6)
            z = draws.uniform(2.6, max(2.8, min(self._height - 1, 8)))
            self._mesh.box(self._point(x, z, -0.2), (0.8, 0.35, 0.55), style.box, self._angle, 0.03)

    def _draw_bay(self, left: float, bay: float, num_floors: int) -> None:
        style, draws = self._style, self._draws
        window = bay * style.window_share
        inner = left + (bay - window) / 2
        ground = (left, 0.0, left + bay, style.ground_floor)
        if draws.chance(0.75 if style.is_shop else 0.8):
            if style.is_shop:
                hole = (left + 0.2, 0.45, left + bay - 0.2, style.ground_floor - 0.7)
            else:
                hole = (inner, 1.0, inner + window, style.ground_floor - 0.5)
            self._draw_opening(Opening(ground, hole))
        else:
            half, height = (0.55, 2.2) if style.is_shop else (0.5, 2.1)
            middle = left + bay / 2
            self._draw_opening(Opening(ground, (middle - half, 0.0, middle + half, height), is_door=True))
        for number in range(num_floors):
            bottom = style.ground_floor + number * style.floor
            cell = (left, bottom, left + bay, bottom + style.floor)
            sill = bottom + 0.85
            self._draw_opening(Opening(cell, (inner, sill, inner + window, sill + style.window_height)))
        if style.is_shop and style.has_awnings and draws.chance(0.5):
            self._draw_awning(left + 0.15, left + bay - 0.15)

    def _draw_opening(self, opening: Opening) -> None:
        """Draw the wall around a hole, its four reveals, and what fills it."""
        left, bottom, right, top = opening.hole
        cell_left, cell_bottom, cell_right, cell_top = opening.cell
        wall, point = self._wall, self._point
        self._rectangle(cell_left, cell_bottom, left, cell_top, wall)
        self._rectangle(right, cell_bottom, cell_right, cell_top, wall)
        if bottom > cell_bottom:
            self._rectangle(left, cell_bottom, right, bottom, wall)
        self._rectangle(left, top, right, cell_top, wall)
        reveals = (
            ((left, bottom, 0), (left, bottom, RECESS), (left, top, RECESS), (left, top, 0)),
            ((right, bottom, RECESS), (right, bottom, 0), (right, top, 0), (right, top, RECESS)),
            ((left, top, RECESS), (right, top, RECESS), (right, top, 0), (left, top, 0)),
            ((left, bottom, 0), (right, bottom, 0), (right, bottom, RECESS), (left, bottom, RECESS)),
        )
        for reveal in reveals:
            self._mesh.polygon([point(*corner) for corner in reveal], wall)
        if opening.is_door:
            self._rectangle(left, bottom, right, top, self._style.door, RECESS)
        else:
            self._draw_window(left, bottom, right, top)

    def _draw_window(self, left: float, bottom: float, right: float, top: float) -> None:
        style = self._style
        pane = self._draws.integer(0, 4)
        is_lit = self._draws.chance(style.lit_share)
        self._rectangle(left, bottom, right, top, style.lit_glass if is_lit else style.glass[pane], RECESS)
        middle = (left + right) / 2
        bars = [
            (left, bottom, left + FRAME, top),
            (right - FRAME, bottom, right, top),
            (left, bottom, right, bottom + FRAME),
            (left, top - FRAME, right, top),
            (middle - FRAME / 2, bottom, middle + FRAME / 2, top),
        ]
        if style.has_transom:
            height = bottom + (top - bottom) * 0.62
            bars.append((left, height, right, height + FRAME))
        for bar in bars:
            self._rectangle(*bar, style.frame, RECESS - 0.05)
        if style.has_sills:
            sill = self._point(middle, bottom - 0.05, -0.05)
            self._mesh.box(sill, (right - left + 0.2, 0.2, 0.09), style.trim, self._angle, 0.012)
            if style.has_lintels:
                lintel = self._point(middle, top + 0.09, -0.02)
                self._mesh.box(lintel, (right - left + 0.24, 0.1, 0.18), style.trim, self._angle, 0.01)

    def _draw_awning(self, left: float, right: float) -> None:
        low, point = self._style.ground_floor - 0.75, self._point
        high = self._style.ground_floor - 0.1
        cloth = [point(left, low, -1.2), point(right, low, -1.2), point(right, high, -0.02), point(left, high, -0.02)]
        self._mesh.polygon(cloth, self._style.awning)
        fringe = self._style.ground_floor - 0.98
        hanging = [
            point(left, fringe, -1.2),
            point(right, fringe, -1.2),
            point(right, low, -1.2),
            point(left, low, -1.2),
        ]
        self._mesh.polygon(hanging, self._style.awning)

    def _point(self, along: float, up: float, inset: float = 0.0) -> Array:
        return np.asarray(self._start + self._along * along + (0, 0, up) - self._outwards * inset)

    def _rectangle(
        self, left: float, bottom: float, right: float, top: float, material: str, inset: float = 0.0
    ) -> None:
        corners = [(left, bottom), (right, bottom), (right, top), (left, top)]
        self._mesh.polygon([self._point(*corner, inset) for corner in corners], material, corners)
