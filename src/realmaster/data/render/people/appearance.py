"""How a person looks and moves, drawn once: body, size, cut and colour of the clothes, hair, skin, gait.

Separate from what is made of it, so that the order of the draws is visible in one place (a seed depends on it).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import NUM_SKIN_VERTICES, Bodies
from realmaster.data.render.draws import Draws
from realmaster.data.render.people.regions import Regions, measure

Array = npt.NDArray[Any]
Colour = tuple[float, float, float]

TOP_COLOURS: tuple[Colour, ...] = (
    (0.05, 0.05, 0.06),
    (0.35, 0.05, 0.05),
    (0.08, 0.12, 0.25),
    (0.5, 0.48, 0.42),
    (0.12, 0.2, 0.12),
    (0.3, 0.22, 0.12),
    (0.55, 0.55, 0.58),
    (0.45, 0.3, 0.08),
    (0.25, 0.28, 0.32),
)
TROUSER_COLOURS: tuple[Colour, ...] = (
    (0.04, 0.05, 0.09),
    (0.02, 0.02, 0.025),
    (0.2, 0.17, 0.12),
    (0.1, 0.1, 0.11),
    (0.25, 0.25, 0.26),
)
HAIR_COLOURS: tuple[Colour, ...] = (
    (0.01, 0.008, 0.006),
    (0.03, 0.015, 0.008),
    (0.09, 0.05, 0.02),
    (0.25, 0.16, 0.07),
    (0.2, 0.2, 0.2),
)
SHOE_COLOURS: tuple[Colour, ...] = ((0.02, 0.02, 0.02), (0.1, 0.05, 0.03), (0.7, 0.7, 0.7))
SKIN_TONES = np.array([(0.10, 0.05, 0.03), (0.50, 0.31, 0.20), (0.58, 0.34, 0.25)]) * [[0.9], [1.0], [1.0]]
ADULT_AGE = 0.55


@dataclass(frozen=True)
class Outfit:
    """Where the clothes end (heights in metres, `sleeve` along the arm) and how they sit and look."""

    sleeve: float
    hem: float
    collar: float
    cuff: float
    has_skirt: bool
    fold_phases: Array  # [6]
    top_ease: float  # metres off the skin
    trouser_ease: float
    top_colour: Colour
    trouser_colour: Colour
    shoe_colour: Colour


@dataclass(frozen=True)
class Hair:
    """Colour, thickness in metres, and cut."""

    colour: Colour
    volume: float
    is_bald: bool
    is_long: bool


@dataclass(frozen=True)
class Manner:
    """How a person moves: stride and arm swing, phase, and a dozen habits between -1 and 1."""

    stride: float
    phase: float
    arm_swing: float
    elbow_degrees: float
    habits: tuple[float, ...]
    is_talking: bool


@dataclass(frozen=True)
class Appearance:
    """One person at rest: the scaled body, its regions, and all that was drawn."""

    vertices: Array  # [V, 3]
    joints: Array  # [J, 3]
    regions: Regions
    height: float
    scale: float  # of the body as baked
    outfit: Outfit
    hair: Hair
    skin_tone: Array  # [3], linear
    manner: Manner


def draw_appearance(draws: Draws, bodies: Bodies) -> Appearance:
    """Draw a person; the order of the draws is fixed."""
    number = draws.integer(0, len(bodies.vertices))
    gender, age = bodies.genders[number], bodies.ages[number]
    if age > ADULT_AGE:
        height = draws.uniform(1.66, 1.86) if gender > 0.5 else draws.uniform(1.56, 1.74)
    else:
        height = draws.uniform(1.2, 1.4)
    skin_heights = bodies.vertices[number, :NUM_SKIN_VERTICES, 2]
    scale = height / (skin_heights.max() - skin_heights.min())
    vertices, joints = bodies.vertices[number] * np.float32(scale), bodies.joints[number] * np.float32(scale)
    regions = measure(bodies, vertices, joints)
    is_woman = bool(gender < 0.5)
    outfit, hair_colour = _draw_outfit(draws, regions, float(scale), is_woman)
    volume = draws.uniform(0.008, 0.022)
    is_bald = not is_woman and bool(gender > 0.5) and draws.chance(0.1)
    is_long = is_woman and draws.chance(0.65)
    tone = bodies.ancestry[number] @ SKIN_TONES * draws.uniform(0.85, 1.1)
    return Appearance(
        vertices=vertices,
        joints=joints,
        regions=regions,
        height=height,
        scale=float(scale),
        outfit=outfit,
        hair=Hair(hair_colour, volume, is_bald, is_long),
        skin_tone=tone,
        manner=_draw_manner(draws),
    )


def _draw_outfit(draws: Draws, regions: Regions, scale: float, is_woman: bool) -> tuple[Outfit, Colour]:
    sleeve = draws.choose(0.75, 1.9, 1.95, 1.9)
    hem = regions.hip - draws.uniform(-0.02, 0.12) * scale
    collar = regions.neck + draws.uniform(0.0, 0.05) * scale
    is_full_length = draws.chance(0.8)
    if is_full_length:
        cuff = regions.ankle + draws.uniform(0.0, 0.06) * scale
    else:
        cuff = regions.knee + draws.uniform(-0.02, 0.06) * scale
    has_skirt = is_woman and draws.chance(0.25)
    fold_phases = draws.numbers(6) * 6.28
    top_ease, trouser_ease = draws.uniform(0.012, 0.03), draws.uniform(0.008, 0.02)
    base = np.array(draws.choose(*TOP_COLOURS))
    red, green, blue = np.clip(base * draws.uniform(0.7, 1.3), 0.01, 0.8)
    trouser_colour = draws.choose(*TROUSER_COLOURS)
    hair_colour = draws.choose(*HAIR_COLOURS)
    shoe_colour = draws.choose(*SHOE_COLOURS)
    outfit = Outfit(
        sleeve=sleeve,
        hem=hem,
        collar=collar,
        cuff=cuff,
        has_skirt=has_skirt,
        fold_phases=fold_phases,
        top_ease=top_ease,
        trouser_ease=trouser_ease,
        top_colour=(float(red), float(green), float(blue)),
        trouser_colour=trouser_colour,
        shoe_colour=shoe_colour,
    )
    return outfit, hair_colour


def _draw_manner(draws: Draws) -> Manner:
    stride, phase = draws.uniform(0.85, 1.15), draws.uniform(0, 1)
    arm_swing, elbow = draws.uniform(0.6, 1.2), draws.uniform(-8, 10)
    habits = tuple(draws.uniform(-1, 1) for _ in range(12))
    return Manner(stride, phase, arm_swing, elbow, habits, draws.chance(0.6))
