"""Colour of the skin, vertex by vertex: tone, brows, shaded eyes, lips and cheeks.

Separate from the clothes because this is the part of a person that a better skin will replace first.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import Bodies
from realmaster.data.render.people.appearance import Appearance

Array = npt.NDArray[Any]


def skin_colours(bodies: Bodies, person: Appearance) -> Array:
    """Paint the skin: float32 [V, 3], linear."""
    vertices, scale = person.vertices, person.scale
    colours = np.tile(person.skin_tone, (len(vertices), 1)).astype(np.float32)
    left_eye, right_eye = (
        vertices[np.unique(faces)].mean(0) for faces in (bodies.left_eye_faces, bodies.right_eye_faces)
    )
    for eye in (left_eye, right_eye):
        x, y, z = (vertices - eye).T
        arch = 0.021 * scale - (np.abs(x) / 0.03) ** 2 * 0.003
        brow = (np.abs(z - arch) < 0.0045 * scale) & (np.abs(x) < 0.024 * scale) & (y < 0.02)
        colours[brow] = colours[brow] * 0.35 + 0.4 * np.array(person.hair.colour)
        colours[np.linalg.norm(vertices - eye, axis=1) < 0.019 * scale] *= 0.78
    lips = np.clip(bodies.lips, 0, 1)[:, None]
    colours = colours * (1 - lips) + colours * np.array([0.92, 0.55, 0.55]) * lips
    x, y, z = vertices.T
    cheek = ((np.abs(x) - 0.042 * scale) / 0.022) ** 2 + ((z - (left_eye[2] - 0.045 * scale)) / 0.025) ** 2
    blush = np.exp(-cheek) * (y < left_eye[1] + 0.04) * person.regions.is_head
    return np.asarray(colours * (1 + blush[:, None] * np.array([0.06, -0.14, -0.12])), np.float32)
