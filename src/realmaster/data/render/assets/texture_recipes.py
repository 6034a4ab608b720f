"""Recipes of the tileable surfaces: albedo, height and roughness of bricks, asphalt, concrete, plaster and the rest.

Separate from the library that stores them, because a recipe is a look in a few lines of numpy. Colours are linear;
heights are in any unit (the library scales them to 0..1); each recipe draws in a fixed order, so a seed keeps its look.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.noise import bricks, cells, fractal, sigmoid

Array = npt.NDArray[Any]
Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Surface:
    """One tile: albedo [N, N, 3] linear, height [N, N], roughness [N, N], its side and its relief in metres."""

    albedo: Array
    height: Array
    roughness: Array
    tile_metres: float
    relief_metres: float


@dataclass(frozen=True)
class Grounds:
    """The generator of one texture, and the three noises every recipe begins with: broad, middle, fine."""

    generator: np.random.Generator
    size: int
    broad: Array
    middle: Array
    fine: Array

    def pick(self, *options: Colour) -> Array:
        """Draw one of the colours."""
        return np.array(options[self.generator.integers(len(options))], np.float32)

    def noise(self, slope: float, lowest: int) -> Array:
        """Draw another fractal field."""
        return fractal(self.generator, self.size, slope, lowest)

    def unit_grid(self) -> tuple[Array, Array]:
        """Give y and x in 0..1, each [N, N]."""
        axis = np.arange(self.size) / self.size
        y, x = np.meshgrid(axis, axis, indexing="ij")
        return y, x


def make_surface(kind: str, seed: int, size: int = 512) -> Surface:
    """Make one tile of a kind of surface.

    Raises:
        KeyError: no such kind.
    """
    generator = np.random.default_rng(seed)
    grounds = Grounds(
        generator,
        size,
        fractal(generator, size, 1.4, 2),
        fractal(generator, size, 1.0, 12),
        fractal(generator, size, 0.6, 40),
    )
    surface = RECIPES[kind](grounds)
    return Surface(
        np.clip(surface.albedo, 0.005, 1),
        surface.height,
        np.clip(surface.roughness, 0.05, 1),
        surface.tile_metres,
        surface.relief_metres,
    )


def _brick(g: Grounds) -> Surface:
    base = g.pick((0.42, 0.17, 0.11), (0.50, 0.27, 0.17), (0.30, 0.16, 0.13), (0.58, 0.45, 0.33))
    mask, draws, bevel = bricks(g.generator, g.size, 16, 6, 0.0035)
    tone = draws[..., 1:3].repeat(2, -1)[..., :3]
    brick = base * (1 + 0.45 * (draws[..., :1] - 0.5) + 0.12 * (tone - 0.5))
    brick = brick * (1 + 0.10 * g.middle + 0.07 * g.fine + 0.1 * g.broad)[..., None]
    mortar = np.array((0.5, 0.47, 0.43), np.float32) * (0.9 + 0.08 * g.fine + 0.05 * g.broad)[..., None]
    height = 0.75 * mask * (0.7 + 0.3 * bevel) + 0.08 * mask * (draws[..., 3] - 0.5) + 0.05 * g.middle + 0.03 * g.fine
    roughness = 0.82 + 0.05 * g.middle - 0.08 * mask * draws[..., 0]
    return Surface(brick * mask[..., None] + mortar * (1 - mask[..., None]), height, roughness, 1.2, 0.012)


def _asphalt(g: Grounds) -> Surface:
    distance, nearest = cells(g.generator, g.size, 2500)
    shade = g.generator.random(2500)[nearest]
    stone = np.clip(1 - distance / 6, 0, 1)
    grey = 1 + 0.5 * (shade - 0.5) * stone + 0.12 * g.broad + 0.12 * g.fine
    crack = np.exp(-((np.abs(g.noise(1.9, 2)) / 0.012) ** 2)) * (g.noise(2, 1) > 0.6)
    albedo = np.array((0.10, 0.10, 0.105), np.float32) * grey[..., None] * (1 - 0.55 * crack)[..., None]
    height = 0.5 * stone * shade + 0.15 * g.fine - 0.6 * crack
    return Surface(albedo, height, 0.82 + 0.06 * g.middle - 0.1 * stone * shade, 2.2, 0.006)


def _concrete(g: Grounds) -> Surface:
    albedo = (
        np.array((0.40, 0.39, 0.37), np.float32) * (1 + 0.10 * g.broad + 0.05 * g.middle + 0.04 * g.fine)[..., None]
    )
    pits = (g.noise(0.8, 30) > 2.6).astype(float)
    y = np.arange(g.size) / g.size
    seams = (
        np.exp(-(((((y * 2) % 1) - 0.5) / 0.004) ** 2))[:, None] + np.exp(-((((y % 1) - 0.5) / 0.003) ** 2))[None, :]
    )
    albedo *= (1 - 0.35 * np.clip(seams, 0, 1) - 0.3 * pits)[..., None]
    height = 0.1 * g.broad + 0.05 * g.middle + 0.04 * g.fine - 0.6 * seams - 0.5 * pits
    return Surface(albedo, height, 0.72 + 0.08 * g.broad + 0.04 * g.middle, 3.0, 0.006)


def _plaster(g: Grounds) -> Surface:
    base = g.pick(
        (0.72, 0.66, 0.55),
        (0.62, 0.52, 0.40),
        (0.75, 0.74, 0.70),
        (0.55, 0.60, 0.62),
        (0.70, 0.55, 0.45),
        (0.48, 0.53, 0.44),
    )
    stain = np.clip(g.broad - 1.2, 0, 2)
    albedo = base * (1 + 0.05 * g.broad + 0.02 * g.fine)[..., None] * (1 - 0.22 * stain)[..., None]
    return Surface(albedo, 0.25 * g.middle + 0.25 * g.fine, 0.85 + 0.04 * g.middle, 2.5, 0.004)


def _paving(g: Grounds) -> Surface:
    offset = (0, 0.5)[g.generator.integers(2)]
    mask, draws, bevel = bricks(g.generator, g.size, 5, 5, 0.006, offset)
    base = g.pick((0.42, 0.40, 0.37), (0.5, 0.45, 0.38), (0.36, 0.36, 0.37))
    slab = base * (1 + 0.28 * (draws[..., :1] - 0.5))
    slab = slab * (1 + 0.08 * g.broad + 0.07 * g.middle + 0.05 * g.fine)[..., None]
    albedo = slab * mask[..., None] + np.array((0.16, 0.15, 0.13), np.float32) * (1 - mask[..., None])
    height = 0.6 * mask * (0.6 + 0.4 * bevel) + 0.1 * (draws[..., 3] - 0.5) * mask + 0.06 * g.middle + 0.04 * g.fine
    return Surface(albedo, height, 0.7 + 0.07 * g.middle - 0.1 * draws[..., 2] * mask, 2.0, 0.012)


def _wood(g: Grounds) -> Surface:
    y, _ = g.unit_grid()
    plank = g.generator.random(5)[(y * 5).astype(int)]
    grain = np.sin(2 * np.pi * (y * 34 + g.noise(1.8, 1) * 1.1 + plank * 9)) * 0.5 + 0.5
    fibre = np.roll(g.noise(1.0, 4), 3) * 3
    window = 41  # pixels a fibre is drawn out along the plank
    around = np.concatenate([fibre[:, -(window // 2) :], fibre, fibre[:, : window // 2]], axis=1)
    summed = np.cumsum(np.pad(around, ((0, 0), (1, 0))), axis=1)
    fibre = (summed[:, window:] - summed[:, :-window]) / window
    base = g.pick((0.34, 0.20, 0.11), (0.48, 0.33, 0.20), (0.22, 0.13, 0.08))
    albedo = base * (1 + 0.3 * (plank - 0.5) + 0.28 * (grain - 0.5) * 0.6 + 0.12 * fibre)[..., None]
    seam = np.clip(np.minimum((y * 5) % 1, 1 - (y * 5) % 1) * 40, 0, 1)
    albedo *= (0.35 + 0.65 * seam)[..., None]
    return Surface(
        albedo, 0.5 * seam + 0.1 * grain + 0.1 * fibre, 0.5 + 0.15 * (grain - 0.5) + 0.08 * fibre, 1.0, 0.006
    )


def _roof(g: Grounds) -> Surface:
    mask, draws, _ = bricks(g.generator, g.size, 10, 8, 0.003)
    y = np.arange(g.size) / g.size
    albedo = g.pick((0.38, 0.17, 0.11), (0.2, 0.2, 0.22)) * (1 + 0.4 * (draws[..., :1] - 0.5))
    albedo = albedo * (1 + 0.15 * g.broad + 0.08 * g.fine)[..., None] * (0.4 + 0.6 * mask[..., None])
    return Surface(albedo, mask * ((y * 10) % 1)[:, None], 0.75 + 0.05 * g.middle, 2.0, 0.03)


def _grass(g: Grounds) -> Surface:
    green = np.array((0.10, 0.17, 0.045), np.float32) * (1 + 0.25 * g.broad + 0.3 * g.middle + 0.25 * g.fine)[..., None]
    dry = np.clip(g.broad, 0, 3)[..., None] * np.array((0.03, 0.02, 0.005), np.float32)
    return Surface(green + dry, 0.3 * g.middle + 0.4 * g.fine, np.full_like(g.broad, 0.9), 2.0, 0.04)


def _metal(g: Grounds) -> Surface:
    x = np.arange(g.size) / g.size
    corrugation = (np.sin(2 * np.pi * x * 12) * 0.5 + 0.5)[None, :] * np.ones((g.size, 1))
    rust = sigmoid((g.noise(1.6, 2) - 1.3) * 6)
    paint = g.pick((0.30, 0.34, 0.36), (0.20, 0.30, 0.26), (0.42, 0.20, 0.14), (0.45, 0.45, 0.44))
    painted = paint * (1 + 0.06 * g.broad + 0.03 * g.fine)[..., None]
    rusty = np.array((0.23, 0.10, 0.05), np.float32) * (1 + 0.3 * g.fine)[..., None]
    albedo = painted * (1 - rust[..., None]) + rusty * rust[..., None]
    return Surface(albedo, corrugation + 0.05 * g.fine, 0.38 + 0.08 * g.broad + 0.45 * rust, 1.5, 0.02)


def _cloth(g: Grounds) -> Surface:
    y, x = g.unit_grid()
    weave = np.sin(2 * np.pi * x * 96) * np.sin(2 * np.pi * y * 96)
    albedo = np.ones((g.size, g.size, 3)) * (0.8 + 0.03 * g.broad + 0.05 * weave)[..., None]
    pattern = g.generator.integers(4)  # plain, stripes, checks, plain
    if pattern == 1:
        albedo *= np.where((y * 8) % 1 < 0.35, 0.45, 1.0)[..., None]
    if pattern == 2:
        albedo *= (1 - 0.35 * ((x * 10) % 1 < 0.3) - 0.3 * ((y * 10) % 1 < 0.3))[..., None]
    return Surface(albedo, 0.3 * weave + 0.5 * g.broad, np.full_like(g.broad, 0.9), 0.6, 0.004)


RECIPES: dict[str, Callable[[Grounds], Surface]] = {
    "brick": _brick,
    "asphalt": _asphalt,
    "concrete": _concrete,
    "plaster": _plaster,
    "paving": _paving,
    "wood": _wood,
    "roof": _roof,
    "grass": _grass,
    "metal": _metal,
    "cloth": _cloth,
}
