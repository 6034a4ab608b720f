"""People as arrays: poses, joints and skinning on a small made-up body."""

from __future__ import annotations

import numpy as np
import pytest

from realmaster.data.render.assets.bodies import Bodies
from realmaster.data.render.people.gait import about_x, about_z, pose_at
from realmaster.data.render.people.motion import joint_transforms, skin

from realmaster.data.render.people.appearance import Manner  # isort: skip

MANNER = Manner(stride=1.0, phase=0.2, arm_swing=0.9, elbow_degrees=3.0, habits=(0.1,) * 12, is_talking=False)


@pytest.fixture
def arm() -> Bodies:
    """Three joints in a row along x, one vertex at each and one between the last two."""
    none = np.zeros((0, 4), np.int32)
    return Bodies(
        vertices=np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0], [1.5, 0, 0]]], np.float32),
        joints=np.array([[[0, 0, 0], [1, 0, 0], [2, 0, 0]]], np.float32),
        genders=np.zeros(1),
        ages=np.ones(1),
        ancestry=np.ones((1, 3)) / 3,
        joint_names=np.array(["shoulder", "elbow", "wrist"]),
        parents=np.array([-1, 0, 1]),
        weights=np.array([[1, 0], [1, 0], [1, 0], [0.5, 0.5]]),
        weight_joints=np.array([[0, 0], [1, 0], [2, 0], [1, 2]]),
        lips=np.zeros(4),
        skin_faces=none,
        tights_faces=none,
        skirt_faces=none,
        hair_faces=none,
        left_eye_faces=none,
        right_eye_faces=none,
    )


def test_bodies_survive_being_written(arm: Bodies, tmp_path) -> None:
    arm.save(tmp_path / "bodies.npz")
    again = Bodies.load(tmp_path / "bodies.npz")
    np.testing.assert_array_equal(again.vertices, arm.vertices)
    assert again.joint("wrist") == 2


def test_at_rest_nothing_moves(arm: Bodies) -> None:
    rotations, offsets = joint_transforms(arm, arm.joints[0], {})
    np.testing.assert_allclose(rotations, np.eye(3)[None].repeat(3, 0))
    np.testing.assert_allclose(offsets, 0)


def test_a_bent_elbow_takes_the_hand_along_and_leaves_the_shoulder(arm: Bodies) -> None:
    rotations, offsets = joint_transforms(arm, arm.joints[0], {"elbow": about_z(np.pi / 2)})
    weights = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0.5, 0.5]])
    posed = skin(weights, rotations, offsets, arm.vertices[0])
    np.testing.assert_allclose(posed, [[0, 0, 0], [1, 0, 0], [1, 1, 0], [1, 0.5, 0]], atol=1e-12)


def test_skinning_is_the_weighted_mean_of_what_each_joint_does(arm: Bodies) -> None:
    generator = np.random.default_rng(0)
    rotations = np.stack([about_x(angle) for angle in (0.2, -0.4, 1.0)])
    offsets, weights = generator.normal(size=(3, 3)), generator.dirichlet(np.ones(3), 4)
    plain = np.zeros((4, 3))
    for vertex, weight in enumerate(weights):
        for joint in range(3):
            plain[vertex] += weight[joint] * (rotations[joint] @ arm.vertices[0, vertex] + offsets[joint])
    np.testing.assert_allclose(skin(weights, rotations, offsets, arm.vertices[0]), plain)


def test_a_walk_repeats_and_its_legs_are_half_a_cycle_apart() -> None:
    period = 1 / 0.95  # at the pace of 1.3 m/s
    now, later = pose_at(0.3, "walk", MANNER, 1.3), pose_at(0.3 + period, "walk", MANNER, 1.3)
    half = pose_at(0.3 + period / 2, "walk", MANNER, 1.3)
    for joint in now:
        np.testing.assert_allclose(now[joint], later[joint], atol=1e-9)
    np.testing.assert_allclose(now["upperleg01.L"], half["upperleg01.R"], atol=1e-9)
    np.testing.assert_allclose(now["lowerleg01.R"], half["lowerleg01.L"], atol=1e-9)


@pytest.mark.parametrize("gait", ["walk", "stand"])
def test_poses_are_turns_and_change_little_from_frame_to_frame(gait) -> None:
    before = pose_at(1.0, gait, MANNER, 1.3)
    after = pose_at(1.0 + 1 / 24, gait, MANNER, 1.3)
    for joint, turn in before.items():
        np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-12)
        assert np.linalg.det(turn) > 0
        assert np.abs(turn - after[joint]).max() < 0.35
