"""Move a dressed person through a clip: skin every frame, plant the feet, place the result in the world.

Letters: V vertices of the assembled mesh, J joints, T frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import Bodies
from realmaster.data.render.people.appearance import Appearance
from realmaster.data.render.people.complexion import skin_colours
from realmaster.data.render.people.gait import Gait, Pose, about_z, pose_at
from realmaster.data.render.people.garments import Fabric, dress

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Placement:
    """Where a person is at the middle of the clip, which way they face, what they do."""

    x: float
    y: float
    heading: float  # radians from +x
    gait: Gait
    speed: float  # metres a second that the pace is set for
    ground: float = 0.0  # height the feet stand on


@dataclass(frozen=True)
class PersonMesh:
    """A person ready for any renderer."""

    faces: Array  # int [Q, 4], a triangle repeats a corner
    fabric_of_face: Array  # int [Q], into `fabrics`
    fabrics: tuple[Fabric, ...]
    rest: Array  # [V, 3], unposed, for textures that must stick to the cloth
    colours: Array  # float32 [V, 3], linear
    frames: Array  # float32 [T, V, 3], world
    height: float
    scale: float


def build_person(
    bodies: Bodies, person: Appearance, placement: Placement, times: Sequence[float], frame_numbers: Sequence[int]
) -> PersonMesh:
    """Dress, pose and place a person at the given times (seconds), which belong to the given frame numbers."""
    faces, fabric_of_face, fabrics, source, rest = _assemble(bodies, person)
    poses = [pose_at(time, placement.gait, person.manner, placement.speed) for time in times]
    transforms = [joint_transforms(bodies, person.joints, pose) for pose in poses]
    weights = _dense_weights(bodies)[source]
    shift = (
        _stride(bodies, person.joints, transforms, frame_numbers) if placement.gait == "walk" else np.zeros(len(times))
    )
    turn = about_z(placement.heading + np.pi / 2)  # the rest pose faces -y
    frames = []
    for (rotations, offsets), forward in zip(transforms, shift, strict=True):
        posed = skin(weights, rotations, offsets, rest)
        posed[:, 1] += forward
        posed[:, 2] -= posed[:, 2].min() - placement.ground
        posed = posed @ turn.T
        posed[:, :2] += placement.x, placement.y
        frames.append(posed.astype(np.float32))
    return PersonMesh(
        faces=faces,
        fabric_of_face=fabric_of_face,
        fabrics=fabrics,
        rest=rest.astype(np.float32),
        colours=skin_colours(bodies, person)[source],
        frames=np.stack(frames),
        height=person.height,
        scale=person.scale,
    )


def joint_transforms(bodies: Bodies, joints: Array, pose: Pose) -> tuple[Array, Array]:
    """Chain the joints' rotations from the root: rotations [J, 3, 3] and offsets [J, 3], `p' = R p + t`."""
    rotations, offsets = np.zeros((len(joints), 3, 3)), np.zeros((len(joints), 3))
    still = np.eye(3)
    for joint, (name, parent) in enumerate(zip(bodies.joint_names, bodies.parents, strict=True)):
        turn = pose.get(str(name), still)
        if parent < 0:
            rotations[joint], where = turn, joints[joint]
        else:
            rotations[joint] = rotations[parent] @ turn
            where = rotations[parent] @ joints[joint] + offsets[parent]
        offsets[joint] = where - rotations[joint] @ joints[joint]
    return rotations, offsets


def skin(weights: Array, rotations: Array, offsets: Array, vertices: Array) -> Array:
    """Linear blend skinning: `sum_j w_vj (R_j p_v + t_j)`, with dense weights [V, J]."""
    affine = np.concatenate([rotations, offsets[:, :, None]], axis=2).reshape(len(rotations), 12)
    blended = (weights @ affine).reshape(-1, 3, 4)
    return np.einsum("vij,vj->vi", blended[:, :, :3], vertices) + blended[:, :, 3]


def _dense_weights(bodies: Bodies) -> Array:
    dense = np.zeros((len(bodies.weights), len(bodies.parents)))
    rows = np.arange(len(bodies.weights))[:, None]
    np.add.at(dense, (rows, bodies.weight_joints), bodies.weights)
    return dense


def _assemble(bodies: Bodies, person: Appearance) -> tuple[Array, Array, tuple[Fabric, ...], Array, Array]:
    """Join the parts: faces, material of each, materials, source vertex of each vertex, vertices at rest."""
    faces, materials, sources, rest = [], [], [], []
    fabrics: list[Fabric] = []
    count = 0
    for part in dress(bodies, person):
        if len(part.faces) == 0:
            continue
        used, renumbered = np.unique(part.faces, return_inverse=True)
        faces.append(renumbered.reshape(part.faces.shape) + count)
        materials.append(np.full(len(part.faces), len(fabrics)))
        fabrics.append(part.fabric)
        sources.append(used)
        rest.append(part.vertices[used])
        count += len(used)
    return (
        np.concatenate(faces),
        np.concatenate(materials),
        tuple(fabrics),
        np.concatenate(sources),
        np.concatenate(rest),
    )


def _stride(
    bodies: Bodies, joints: Array, transforms: Sequence[tuple[Array, Array]], frame_numbers: Sequence[int]
) -> Array:
    """Move the body so that the lower foot stays where it is, evened out a little: [T], 0 at the middle frame."""
    feet = []
    for rotations, offsets in transforms:
        numbers = [bodies.joint(f"foot.{side}") for side in "LR"]
        feet.append([rotations[number] @ joints[number] + offsets[number] for number in numbers])
    travelled = [0.0]
    for before, after in pairwise(feet):
        standing = 0 if before[0][2] < before[1][2] else 1
        travelled.append(travelled[-1] - (after[standing][1] - before[standing][1]))
    even = np.polyval(np.polyfit(frame_numbers, travelled, 1), frame_numbers)
    shift = 0.6 * np.array(travelled) + 0.4 * even
    return np.asarray(shift - shift[len(shift) // 2])
