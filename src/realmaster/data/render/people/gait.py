"""Poses in time: a walk cycle and a standing person who may talk, as rotations of joints.

Pure functions of time and manner. Rotations are about the rest pose's axes: x sideways, y front to back, z up.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from realmaster.data.render.people.appearance import Manner

Array = npt.NDArray[Any]
Gait = Literal["walk", "stand"]
Pose = dict[str, Array]
"""Rotation matrices [3, 3] by joint name; joints not named stay at rest."""


def pose_at(seconds: float, gait: Gait, manner: Manner, speed: float) -> Pose:
    """Give the pose at a time; `speed` in metres a second sets the pace of a walk."""
    pose = _walk(seconds, manner, speed) if gait == "walk" else _stand(seconds, manner)
    curl = math.radians(14 + 8 * manner.habits[9])
    for side, sign in (("L", 1), ("R", -1)):
        for finger in range(2, 6):
            for knuckle in (1, 2, 3):
                pose[f"finger{finger}-{knuckle}.{side}"] = about_y(sign * curl)
    return pose


def _walk(seconds: float, manner: Manner, speed: float) -> Pose:
    pose: Pose = {}
    cycle = (seconds * 0.95 * speed / 1.3 + manner.phase) % 1
    stride = manner.stride
    for side, sign, phase in (("L", 1, cycle), ("R", -1, (cycle + 0.5) % 1)):
        swing = math.cos(2 * math.pi * phase)
        hip = -(4 + 19 * stride * swing)
        knee = 6 + 14 * _bump(phase, 0.14, 0.09) + 58 * stride * _bump(phase, 0.73, 0.13)
        ankle = -8 * _bump(phase, 0.4, 0.15) + 14 * _bump(phase, 0.62, 0.08)
        upper_arm = 20 * manner.arm_swing * swing + 9
        elbow = -(manner.elbow_degrees + 10 * manner.arm_swing * (1 - swing) * 0.5)
        pose[f"upperleg01.{side}"] = about_x(math.radians(hip))
        pose[f"lowerleg01.{side}"] = about_x(math.radians(knee))
        pose[f"foot.{side}"] = about_x(math.radians(ankle))
        pose[f"upperarm01.{side}"] = about_x(math.radians(upper_arm)) @ about_y(sign * math.radians(36))
        pose[f"lowerarm01.{side}"] = about_x(math.radians(elbow))
    twist = math.cos(2 * math.pi * cycle)
    pose["spine03"] = about_z(math.radians(4 * twist))
    pose["spine01"] = about_z(math.radians(5 * twist))
    pose["neck01"] = about_z(math.radians(-7 * twist)) @ about_x(math.radians(manner.habits[0] * 5))
    pose["spine05"] = about_x(math.radians(-2))
    return pose


def _stand(seconds: float, manner: Manner) -> Pose:
    pose: Pose = {}
    habits, talking = manner.habits, manner.is_talking
    for side, sign in (("L", 1), ("R", -1)):
        emphasis = 1 if (side == "L") == (habits[1] > 0) else 0.2
        raised = 35 + 30 * emphasis * (0.6 + 0.4 * math.sin(2.1 * seconds + habits[3] * 3))
        bend = math.radians(raised if talking else 20 + 15 * habits[2])
        beat = 0.25 * emphasis * math.sin(3.3 * seconds + habits[4] * 3)
        pose[f"upperarm01.{side}"] = about_x(-bend * 0.4) @ about_y(sign * math.radians(32))
        pose[f"lowerarm01.{side}"] = about_x(-bend * (1.6 if talking else 0.7) + beat)
        pose[f"upperleg01.{side}"] = about_x(math.radians(-2)) @ about_y(sign * math.radians(-2))
        pose[f"lowerleg01.{side}"] = about_x(math.radians(4))
    turn = 15 * habits[7] + 9 * math.sin(1.3 * seconds + habits[8] * 3)
    pose["spine03"] = about_z(math.radians(8 * habits[5] + 3 * math.sin(0.9 * seconds + habits[6] * 3)))
    pose["neck01"] = about_z(math.radians(turn)) @ about_x(math.radians(3 * math.sin(1.7 * seconds)))
    return pose


def about_x(radians: float) -> Array:
    """Rotation about x: [3, 3]."""
    cosine, sine = math.cos(radians), math.sin(radians)
    return np.array([[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]])


def about_y(radians: float) -> Array:
    """Rotation about y: [3, 3]."""
    cosine, sine = math.cos(radians), math.sin(radians)
    return np.array([[cosine, 0, sine], [0, 1, 0], [-sine, 0, cosine]])


def about_z(radians: float) -> Array:
    """Rotation about z: [3, 3]."""
    cosine, sine = math.cos(radians), math.sin(radians)
    return np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])


def _bump(phase: float, centre: float, width: float) -> float:
    """A smooth bump on the circle of phases."""
    return math.exp(-((((phase - centre + 0.5) % 1 - 0.5) / width) ** 2))
