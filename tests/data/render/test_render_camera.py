"""The camera's path and the mathematics of the labels: projection, flow of what stands still."""

from __future__ import annotations

import numpy as np
import pytest

from realmaster.data.render.film.camera_path import CameraPath, Subject, draw_path, film_draws, look_at
from realmaster.data.render.film.geometry import camera_flow, intrinsics, pixel_centres, world_to_camera
from realmaster.data.render.film.light_rig import draw_light
from realmaster.data.render.settings import ClipSettings

FRAMES = range(15)
SUBJECT = Subject(np.array([4.0, 0.5, 0.9]), np.array([4.0, 0.5, 1.6]), np.pi)


def path_of(seed: int, **changes: object) -> CameraPath:
    values = {"seed": seed, "scene": "street", "engine_weather": "clear", "camera_weather": "clear"} | changes
    clip = ClipSettings.from_mapping(values, source="test")
    return draw_path(film_draws(clip), clip, FRAMES, (0, 0, 1.6), (5, 0, 1.4), [SUBJECT])


def test_a_seed_has_one_path_in_every_weather() -> None:
    clear, rain = path_of(5), path_of(5, engine_weather="rain", camera_weather="rain")
    np.testing.assert_array_equal(clear.positions, rain.positions)
    np.testing.assert_array_equal(clear.rotations, rain.rotations)
    assert not np.array_equal(path_of(6).positions, clear.positions)


def test_all_styles_and_lenses_occur() -> None:
    paths = [path_of(seed) for seed in range(60)]
    assert {path.style for path in paths} == {"dolly", "orbit", "pan", "handheld", "truck"}
    assert {path.lens_millimetres for path in paths} == {24, 28, 35, 50}
    assert {path_of(seed, scene="room").lens_millimetres for seed in range(40)} == {20, 24, 28}


@pytest.mark.parametrize("seed", range(8))
def test_the_camera_moves_smoothly_and_stays_upright(seed: int) -> None:
    path = path_of(seed)
    assert np.linalg.norm(np.diff(path.positions, axis=0), axis=1).max() < 0.1
    np.testing.assert_allclose(
        path.rotations @ path.rotations.transpose(0, 2, 1), np.eye(3)[None].repeat(15, 0), atol=1e-9
    )
    np.testing.assert_allclose(path.rotations[:, 2, 0], 0, atol=1e-9)  # its right-hand side is level
    assert (path.rotations[:, 2, 1] > 0.5).all()


def test_a_closeup_looks_into_the_face_from_a_metre_away() -> None:
    path = path_of(3, closeup="first")
    away = path.positions - SUBJECT.head
    np.testing.assert_allclose(np.linalg.norm(away, axis=1), 1.0, atol=0.05)
    facing = np.array([np.cos(SUBJECT.heading), np.sin(SUBJECT.heading), 0])
    assert (away @ facing > 0.9).all()
    assert abs(path.focus_metres - 1.0) < 0.5


def test_the_sun_shines_into_a_room_through_its_windows_and_down_a_street() -> None:
    for seed in range(40):
        clip = ClipSettings(seed=seed, scene="room", engine_weather="clear", camera_weather="clear")
        x, y, z = draw_light(film_draws(clip), "room").sun_direction
        assert y > 0.3  # the windows are in the +y wall
        assert z > 0.3
        np.testing.assert_allclose(x**2 + y**2 + z**2, 1)
        assert abs(draw_light(film_draws(clip), "street").sun_direction[0]) > 0.2


def test_the_middle_of_the_picture_is_where_the_camera_looks() -> None:
    camera = intrinsics(36.0, 64, 36)
    np.testing.assert_allclose(camera @ (0, 0, 5), np.array([32, 18, 1]) * 5)
    assert camera[0, 0] == 64  # 36 mm on a sensor of 36 mm: as wide as it is far
    path = path_of(1)
    matrix = world_to_camera(path)[0]
    ahead = path.positions[0] - 3 * path.rotations[0][:, 2]
    np.testing.assert_allclose(matrix @ [*ahead, 1], [0, 0, 3, 1], atol=1e-9)
    above = ahead + path.rotations[0][:, 1]
    np.testing.assert_allclose(matrix @ [*above, 1], [0, -1, 3, 1], atol=1e-9)


def test_moving_sideways_past_a_wall_shifts_it_by_focal_length_over_distance() -> None:
    one, other = np.eye(4), np.eye(4)
    other[0, 3] = -0.1  # the camera goes 10 cm to the right
    flow = camera_flow(np.full((4, 6), 2.0), intrinsics(36.0, 6, 4), one, other)
    np.testing.assert_allclose(flow[..., 0], -6 * 0.1 / 2)
    np.testing.assert_allclose(flow[..., 1], 0, atol=1e-12)


def test_the_sky_moves_only_when_the_camera_turns() -> None:
    sky, camera = np.full((4, 6), np.inf), intrinsics(36.0, 6, 4)
    moved = np.eye(4)
    moved[:3, 3] = (1, 2, 3)
    np.testing.assert_allclose(camera_flow(sky, camera, np.eye(4), moved), 0, atol=1e-12)
    turned = np.eye(4)
    turned[:3, :3] = look_at(np.array([0.1, 0, -1.0]))[[0, 1, 2]]
    assert np.abs(camera_flow(sky, camera, np.eye(4), turned)).max() > 0.1


def test_flow_leads_to_where_the_point_is_seen_next() -> None:
    path = path_of(2)
    matrices, camera = world_to_camera(path), intrinsics(path.lens_millimetres, 16, 9)
    depth = np.random.default_rng(0).uniform(2, 9, (9, 16))
    flow = camera_flow(depth, camera, matrices[3], matrices[4])
    places = pixel_centres(16, 9)
    row, column = 5, 11
    ray = np.linalg.inv(camera) @ [*places[row, column], 1]
    world = np.linalg.inv(matrices[3]) @ [*(ray * depth[row, column]), 1]
    x, y, z = camera @ (matrices[4] @ world)[:3]
    np.testing.assert_allclose(places[row, column] + flow[row, column], (x / z, y / z))
