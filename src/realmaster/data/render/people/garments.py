"""Dress a body: skin where it shows, a top, trousers or a skirt, shoes, hair and eyes, each a set of faces.

The clothes are the body's own helper mesh ("tights"), cut at hem, collar, sleeve and cuff and pushed off the skin; the
skin under them is left out. Letters: V vertices, Q four-sided faces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import NUM_SKIN_VERTICES, Bodies
from realmaster.data.render.people.appearance import Appearance
from realmaster.data.render.people.regions import arm_joints

Array = npt.NDArray[Any]
Fabric = Literal["skin", "top", "trousers", "shoes", "hair", "eye_white", "iris"]


@dataclass(frozen=True)
class Part:
    """Faces [Q, 4] over their own copy of the vertices [V, 3], in one material."""

    faces: Array
    vertices: Array
    fabric: Fabric


def dress(bodies: Bodies, person: Appearance) -> list[Part]:
    """Cut and fit everything a person wears; parts may be empty."""
    parts = [Part(_uncovered_skin(bodies, person), person.vertices, "skin")]
    tights_normals = vertex_normals(person.vertices, bodies.tights_faces)
    folds = _folds(person)
    parts.append(_top(bodies, person, tights_normals, folds))
    parts.append(_legwear(bodies, person, tights_normals, folds))
    shoes = person.regions.is_trunk & (person.vertices[:, 2] < person.regions.ankle + 0.03 * person.scale)
    parts.append(Part(_inside(bodies.tights_faces, shoes), person.vertices + tights_normals * 0.012, "shoes"))
    parts += _hair(bodies, person)
    for faces in (bodies.left_eye_faces, bodies.right_eye_faces):
        parts += _eye(faces, person)
    return parts


def vertex_normals(vertices: Array, faces: Array) -> Array:
    """Average the normals of the faces around each vertex: [V, 3], unit length, zero where there is no face."""
    across = vertices[faces[:, 2]] - vertices[faces[:, 0]]
    down = vertices[faces[:, 3]] - vertices[faces[:, 1]]
    face_normals = np.cross(across, down)
    normals = np.zeros_like(vertices)
    for corner in range(4):
        np.add.at(normals, faces[:, corner], face_normals)
    return normals / (np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9)


def _inside(faces: Array, selected: Array) -> Array:
    """Faces whose every corner is selected."""
    return faces[selected[faces].all(1)]


def _touching(faces: Array, allowed: Array, selected: Array) -> Array:
    """Faces that lie within `allowed` and have a corner in `selected`: one row beyond the cut, to be tucked in."""
    return faces[allowed[faces].all(1) & selected[faces].any(1)]


def _folds(person: Appearance) -> Array:
    """Wrinkles of cloth over the whole body: [V], metres."""
    x, y, z = person.vertices.T
    scale, phase = person.scale, person.outfit.fold_phases
    waves = np.sin(z * 38 / scale + 6 * x / scale + phase[0])
    waves = waves * np.sin(x * 22 / scale + phase[1] + 3 * np.sin(z * 9 + phase[2]))
    return np.asarray((waves + 0.6 * np.sin(z * 70 + y * 40 + phase[3])) * 0.0035)


def _uncovered_skin(bodies: Bodies, person: Appearance) -> Array:
    """Faces of the skin that no garment covers for good; cloth overlaps it by a few centimetres."""
    regions, outfit, scale = person.regions, person.outfit, person.scale
    z, trunk, arm = person.vertices[:, 2], regions.is_trunk, regions.along_arm
    top = trunk & (z > outfit.hem + 0.03 * scale) & (z < outfit.collar - 0.03 * scale) & ~regions.is_head
    top |= (arm >= 0) & (arm < outfit.sleeve - 0.08)
    feet = trunk & (z < regions.ankle)
    waist = regions.hip + 0.10 * scale
    if outfit.has_skirt:
        legs = trunk & (z < waist) & (z > regions.hip - 0.15 * scale)
    else:
        legs = trunk & (z < waist - 0.02) & (z > outfit.cuff + 0.03 * scale)
    covered = top | legs | feet
    return bodies.skin_faces[~covered[bodies.skin_faces].all(1)]


def _top(bodies: Bodies, person: Appearance, normals: Array, folds: Array) -> Part:
    """Fit shirt or jumper: rows beyond hem, collar and sleeve are drawn back to the cut, which closes the edge."""
    regions, outfit, scale = person.regions, person.outfit, person.scale
    x, z = person.vertices[:, 0], person.vertices[:, 2]
    trunk, arm = regions.is_trunk, regions.along_arm
    body = trunk & (z > outfit.hem) & (z < outfit.collar) & ~regions.is_head
    worn = body | ((arm >= 0) & (arm < outfit.sleeve))
    margin = trunk & (z > outfit.hem - 0.07 * scale) & (z < outfit.collar + 0.05 * scale) & ~regions.is_head
    allowed = worn | margin | ((arm >= 0) & (arm < outfit.sleeve + 0.28))
    cloth = person.vertices + normals * (outfit.top_ease + folds * 1.3)[:, None]
    below, above = trunk & (z < outfit.hem), trunk & (z > outfit.collar)
    cloth[below, 2] = (outfit.hem + 0.15 * (z - outfit.hem))[below]
    cloth[above, 2] = (outfit.collar + 0.2 * (z - outfit.collar))[above]
    for side in "LR":
        shoulder, elbow, wrist = arm_joints(bodies, person.joints, side)
        beyond = (x * (1 if side == "L" else -1) > 0) & (arm > outfit.sleeve)
        axis = elbow - shoulder if outfit.sleeve < 1 else wrist - elbow
        cloth[beyond] -= (arm[beyond] - outfit.sleeve)[:, None] * axis * 0.9
    return Part(_touching(bodies.tights_faces, allowed, worn), cloth, "top")


def _legwear(bodies: Bodies, person: Appearance, normals: Array, folds: Array) -> Part:
    """Fit trousers, wider towards the foot; or the skirt as it is."""
    regions, outfit, scale = person.regions, person.outfit, person.scale
    if outfit.has_skirt:
        return Part(bodies.skirt_faces, person.vertices, "trousers")
    z, trunk = person.vertices[:, 2], regions.is_trunk
    worn = trunk & (z < regions.hip + 0.10 * scale) & (z > outfit.cuff)
    allowed = worn | (trunk & (z <= outfit.cuff) & (z > outfit.cuff - 0.08 * scale))
    flare = np.clip((regions.knee + 0.2 - z) / 0.6, 0, 1) * 0.012
    cloth = person.vertices + normals * (outfit.trouser_ease * 0.8 + folds + flare)[:, None]
    below = trunk & (z < outfit.cuff)
    cloth[below, 2] = (outfit.cuff + 0.15 * (z - outfit.cuff))[below]
    return Part(_touching(bodies.tights_faces, allowed, worn), cloth, "trousers")


def _hair(bodies: Bodies, person: Appearance) -> list[Part]:
    """Raise the scalp above a hairline that falls towards the back; long hair adds the helper mesh."""
    vertices, scale, phase = person.vertices, person.scale, person.outfit.fold_phases
    x, y, z = vertices.T
    is_head = person.regions.is_head
    is_skin = np.arange(len(vertices)) < NUM_SKIN_VERTICES
    head = vertices[is_head & is_skin]
    top, front, back = head[:, 2].max(), head[:, 1].min(), head[:, 1].max()
    towards_back = np.clip((y - front) / (back - front), 0, 1)
    hairline = top - (top - person.regions.neck) * (0.16 + 0.72 * towards_back**1.6)
    ear = (np.abs(x) > 0.072 * scale) & (z < top - 0.10 * scale) & (towards_back < 0.75)
    scalp = is_head & (z > hairline) & ~ear & is_skin
    rise = person.hair.volume * np.clip((z - hairline) / 0.03, 0.15, 1)
    rise = rise + 0.004 * np.sin(z * 190 + x * 120 + phase[4]) + 0.004 * np.sin(x * 260 + phase[5])
    raised = vertices + vertex_normals(vertices, bodies.skin_faces) * rise[:, None]
    parts = [] if person.hair.is_bald else [Part(_inside(bodies.skin_faces, scalp), raised, "hair")]
    if person.hair.is_long:
        eye = vertices[np.unique(bodies.left_eye_faces)].mean(0)
        middle = vertices[bodies.hair_faces].mean(1)
        off_face = (middle[:, 1] > eye[1] + 0.055 * scale) | (middle[:, 2] > eye[2] + 0.065 * scale)
        parts.append(Part(bodies.hair_faces[off_face], vertices, "hair"))
    return parts


def _eye(faces: Array, person: Appearance) -> list[Part]:
    """Split an eyeball into its white and a round iris in front."""
    middle = person.vertices[faces].mean(1)
    offset = middle - person.vertices[np.unique(faces)].mean(0)
    in_front = offset[:, 1] < -0.6 * np.abs(offset[:, 1]).max()
    iris = in_front & (np.hypot(offset[:, 0], offset[:, 2]) < 0.0065 * person.scale)
    return [Part(faces[~iris], person.vertices, "eye_white"), Part(faces[iris], person.vertices, "iris")]
