"""Which part of a body each vertex belongs to: arms measured along the bone, the head, and the levels of the joints.

Separate because every garment is cut by the same few measures.
Letters: V vertices, J joints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import Bodies

Array = npt.NDArray[Any]

HEAD_BONES = (
    "special",
    "oris",
    "levator",
    "oculi",
    "temporalis",
    "orbicularis",
    "risorius",
    "eye",
)
HAND_BONES = ("wrist", "finger", "metacarpal")
HAND = 2.5
"""Position along the arm that stands for the whole hand."""


@dataclass(frozen=True)
class Regions:
    """Measures of one scaled body at rest."""

    along_arm: Array  # [V], -1 off the arms, 0..1 upper arm, 1..2 lower arm, HAND
    is_head: Array  # bool [V]
    ankle: float  # heights in metres, as all below
    knee: float
    hip: float
    neck: float

    @property
    def is_trunk(self) -> Array:
        """Everything but the arms: bool [V]."""
        return np.asarray(self.along_arm < 0)


def measure(bodies: Bodies, vertices: Array, joints: Array) -> Regions:
    """Measure a scaled body: vertices [V, 3], joints [J, 3]."""
    strongest = bodies.weight_joints[np.arange(len(bodies.weights)), bodies.weights.argmax(1)]
    bone = np.array([str(name).split(".")[0] for name in bodies.joint_names])[strongest]
    along_arm = np.full(len(vertices), -1.0)
    for side in "LR":
        shoulder, elbow, wrist = arm_joints(bodies, joints, side)
        on_side = vertices[:, 0] * (1 if side == "L" else -1) > 0
        upper = on_side & np.char.startswith(bone, "upperarm")
        lower = on_side & np.char.startswith(bone, "lowerarm")
        along_arm[upper] = _along(vertices[upper], shoulder, elbow)
        along_arm[lower] = 1 + _along(vertices[lower], elbow, wrist)
        along_arm[on_side & _starts_with(bone, HAND_BONES)] = HAND
    return Regions(
        along_arm=along_arm,
        is_head=np.isin(bone, ["head", "jaw"]) | _starts_with(bone, HEAD_BONES),
        ankle=float(joints[bodies.joint("foot.L")][2]),
        knee=float(joints[bodies.joint("lowerleg01.L")][2]),
        hip=float(joints[bodies.joint("upperleg01.L")][2]),
        neck=float(joints[bodies.joint("neck01")][2]),
    )


def arm_joints(bodies: Bodies, joints: Array, side: str) -> tuple[Array, Array, Array]:
    """Give shoulder, elbow and wrist of side "L" or "R"."""
    names = ("upperarm01", "lowerarm01", "wrist")
    shoulder, elbow, wrist = (joints[bodies.joint(f"{name}.{side}")] for name in names)
    return shoulder, elbow, wrist


def _along(points: Array, start: Array, end: Array) -> Array:
    bone = end - start
    return np.asarray((points - start) @ bone / (bone @ bone))


def _starts_with(names: Array, prefixes: tuple[str, ...]) -> Array:
    return np.logical_or.reduce([np.char.startswith(names, prefix) for prefix in prefixes])
