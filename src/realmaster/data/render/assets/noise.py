"""Tileable noise fields: the raw material of every texture.

Separate from the recipes because these are mathematics (spectra, cells, bricks) and those are taste.
All fields wrap at their edges. Letters: N the side of a texture in pixels.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]


def fractal(generator: np.random.Generator, size: int, slope: float, lowest: int = 1) -> Array:
    """Filter white noise to amplitude `f ** -slope` for f >= lowest (cycles per tile).

    Returns:
        [N, N], mean 0, standard deviation 1.
    """
    frequency = np.fft.fftfreq(size) * size
    radius = np.hypot(frequency[:, None], frequency[None, :])
    radius[0, 0] = 1
    amplitude = radius**-slope
    amplitude[radius < lowest] = 0
    amplitude[0, 0] = 0
    field = np.fft.ifft2(np.fft.fft2(generator.normal(size=(size, size))) * amplitude).real
    return (field - field.mean()) / field.std()


class Cells(NamedTuple):
    """Worley noise: distance to the nearest of the scattered points in pixels [N, N], and which point it is [N, N]."""

    distance: Array
    nearest: Array


def cells(generator: np.random.Generator, size: int, count: int) -> Cells:
    """Scatter points on the torus and find each pixel's nearest one.

    Only a window around each point is searched: about N * N * window ** 2 / N ** 2 * count steps instead of
    N * N * count. The window is widened until every pixel has been reached by its true neighbour.
    """
    points = generator.random((count, 2)) * size
    reach = int(np.ceil(4 * size / np.sqrt(count)))
    while True:
        distance, index = _nearest_within(points, size, min(reach, size // 2))
        if reach >= size // 2 or distance.max() < reach - 1:
            return Cells(distance, index)
        reach *= 2


def _nearest_within(points: Array, size: int, reach: int) -> Cells:
    distance = np.full((size, size), np.inf)
    index = np.zeros((size, size), np.intp)
    offsets = np.arange(-reach, reach + 1 if 2 * reach + 1 <= size else reach)
    for number, point in enumerate(points):
        rows = (int(point[0]) + offsets) % size
        columns = (int(point[1]) + offsets) % size
        y = np.abs(rows - point[0])
        x = np.abs(columns - point[1])
        found = np.hypot(np.minimum(y, size - y)[:, None], np.minimum(x, size - x)[None, :])
        window = np.ix_(rows, columns)
        nearer = found < distance[window]
        distance[window] = np.where(nearer, found, distance[window])
        index[window] = np.where(nearer, number, index[window])
    return Cells(distance, index)


class Bricks(NamedTuple):
    """A bond of bricks, [N, N] each: 1 on a brick and 0 in a joint, four draws of each brick, rise from its edge."""

    mask: Array
    draws: Array
    bevel: Array


def bricks(
    generator: np.random.Generator, size: int, rows: int, columns: int, joint: float, offset: float = 0.5
) -> Bricks:
    """Lay `rows` x `columns` bricks with joints of half-width `joint` (in tiles), every second row shifted by `offset`.

    The edges waver a little, as hand-laid bricks do.
    """
    y, x = np.meshgrid(np.arange(size) / size, np.arange(size) / size, indexing="ij")
    waver = fractal(generator, size, 2.2, 2) * 0.0016
    x = x + waver
    y = y + np.roll(waver, 77, 0)
    row = np.floor(y * rows).astype(int) % rows
    along = (x * columns + (row % 2) * offset) % columns
    column = np.floor(along).astype(int) % columns
    in_brick_x, in_brick_y = along % 1, (y * rows) % 1
    edge = np.minimum(np.minimum(in_brick_x, 1 - in_brick_x) / columns, np.minimum(in_brick_y, 1 - in_brick_y) / rows)
    draws = generator.random((rows, columns, 4))
    return Bricks(sigmoid((edge - joint) * 900), draws[row, column], np.clip((edge - joint) * 90, 0, 1))


def sigmoid(values: Array) -> Array:
    """Map to 0..1: `1 / (1 + exp(-x))`."""
    return 1 / (1 + np.exp(-values))
