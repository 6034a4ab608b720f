"""The camera's path through a clip: style, lens, wobble of the hand, focus. Pure numpy, the same for both looks.

Axes: z up, x the way most scenes are seen. The camera looks along its own -z with +y up, as in Blender and OpenGL.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from realmaster.data.render.draws import FILM, Draws
from realmaster.data.render.settings import ClipSettings

Array = npt.NDArray[Any]
Style = Literal["dolly", "orbit", "pan", "handheld", "truck", "demo"]

SENSOR_MILLIMETRES = 36.0
NEAREST_FOCUS = 0.8
CLOSEUP_DISTANCE, CLOSEUP_LENS = 1.0, 45.0
DEMO_LENS, DEMO_WOBBLE = 27.0, 0.004


@dataclass(frozen=True)
class Subject:
    """A person the camera may frame or focus on."""

    centre: Array  # [3]
    head: Array  # [3]
    heading: float


@dataclass(frozen=True)
class CameraPath:
    """Where the camera is in every animated frame, and its lens."""

    style: Style
    positions: Array  # [T, 3], metres
    rotations: Array  # [T, 3, 3], columns are the camera's right, up and backward in the world
    lens_millimetres: float
    focus_metres: float
    f_number: float


def draw_path(
    draws: Draws,
    clip: ClipSettings,
    frames: Sequence[int],
    position: Sequence[float] | Array,
    target: Sequence[float] | Array,
    subjects: Sequence[Subject],
) -> CameraPath:
    """Draw how the camera moves about the scene's first idea of it; the order of the draws is fixed."""
    style: Style = draws.choose("dolly", "orbit", "pan", "handheld", "truck")
    pace = draws.uniform(0.4, 1.3) / clip.motion_rate  # metres a frame
    lens = draws.choose(*((20, 24, 28) if clip.scene == "room" else (24, 28, 35, 35, 50)))
    phases = draws.numbers(6) * 6.28
    wobble = draws.uniform(0.002, 0.012)
    eye, aim = np.array(position, float), np.array(target, float)
    if clip.closeup != "none":
        subject = subjects[0 if clip.closeup == "first" else -1]
        angle = subject.heading + 0.35
        aim = np.array(subject.head, float)
        eye = aim + CLOSEUP_DISTANCE * np.array([math.cos(angle), math.sin(angle), 0.05])
        lens, style = CLOSEUP_LENS, "handheld"
    if clip.scene == "demo":
        style, lens, wobble = "demo", DEMO_LENS, DEMO_WOBBLE
    middle = (1 + clip.num_frames) / 2
    positions, rotations = [], []
    for frame in frames:
        if style == "demo":
            here, there = demo_path((frame - 1) / max(1, clip.num_frames - 1))
        else:
            here, there = _move(style, eye, aim, (frame - middle) * pace)
        axis = np.arange(3)
        here = here + wobble * np.sin(frame * 0.35 * (1 + 0.3 * axis) + phases[:3])
        there = there + 2.5 * wobble * np.sin(frame * 0.41 * (1 + 0.3 * axis) + phases[3:])
        positions.append(here)
        rotations.append(look_at(there - here))
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    nearest = min(subjects, key=lambda subject: float(np.linalg.norm(subject.centre - eye)))
    return CameraPath(
        style=style,
        positions=np.array(positions),
        rotations=np.array(rotations),
        lens_millimetres=float(lens),
        focus_metres=max(NEAREST_FOCUS, float((nearest.centre - eye) @ forward)),
        f_number=draws.choose(2.0, 2.8, 4.0, 5.6),
    )


def demo_path(share: float) -> tuple[Array, Array]:
    """Give position and target of the demo's camera at a share 0..1 of the clip: forward along the pavement."""
    x = -1.8 + 3.4 * share
    return np.array([x, -5.45, 1.6]), np.array([x + 10, -4.7 + 0.6 * share, 1.42])


def look_at(direction: Array) -> Array:
    """Turn a camera so that it looks along `direction` with its top towards +z: [3, 3], columns right, up, backward."""
    backward = -direction / np.linalg.norm(direction)
    right = np.cross([0.0, 0.0, 1.0], backward)
    right = right / np.linalg.norm(right)
    return np.stack([right, np.cross(backward, right), backward], axis=1)


def film_draws(clip: ClipSettings) -> Draws:
    """Open the stream that camera path, light and grading are drawn from, in this order."""
    return Draws(clip.seed, FILM)


def _move(style: Style, eye: Array, aim: Array, distance: float) -> tuple[Array, Array]:
    """Shift eye and aim by `distance` metres from the middle of the clip, in the manner of a style."""
    forward = (aim - eye) / np.linalg.norm(aim - eye)
    sideways = np.array([-forward[1], forward[0], 0.0])
    match style:
        case "dolly":
            return eye + forward * distance, aim
        case "truck":
            return eye + sideways * distance, aim + sideways * distance * 0.8
        case "orbit":
            return eye + sideways * distance * 1.2, aim
        case "pan":
            return eye, aim + sideways * distance * 0.9
        case _:
            return eye, aim
