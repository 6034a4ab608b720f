"""The renderer with Blender: one geometry in every weather, labels that hold, the same pixels for the same seed.

Skipped where Blender, or the bodies that `anny` makes, are not installed. Pictures are tiny; each build takes seconds.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realmaster.data.pair_set import read_rows
from realmaster.data.render.assets.bodies import VERSION, Bodies
from realmaster.data.render.assets.texture_library import TextureLibrary
from realmaster.data.render.cache import cache_root
from realmaster.data.render.farm import render_pairs
from realmaster.data.render.film.geometry import camera_flow, intrinsics, world_to_camera
from realmaster.data.render.people.motion import Placement
from realmaster.data.render.settings import LABELS, ClipSettings, RenderSettings, Weather

pytestmark = [
    pytest.mark.skipif(find_spec("bpy") is None, reason="needs Blender: pip install 'realmaster[render]', Python 3.11"),
    pytest.mark.skipif(
        find_spec("anny") is None and not (cache_root() / VERSION).is_dir(),
        reason="needs bodies: neither cached nor `anny` installed (pip install 'realmaster[render]')",
    ),
]

WIDTH, HEIGHT = 64, 36


def clip(**changes: Any) -> ClipSettings:
    values = {
        "seed": 2008,
        "scene": "street",
        "engine_weather": "clear",
        "camera_weather": "clear",
        "closeup": "none",
        "num_frames": 2,
        "width": WIDTH,
        "height": HEIGHT,
        "labels": LABELS,
        "samples": 1,
    } | changes
    return ClipSettings.from_mapping(values, source="test")


@pytest.fixture(scope="module")
def blender() -> Iterator[None]:
    """Import Blender, whose own warnings are none of ours."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import bpy  # noqa: F401

        yield


@pytest.fixture(scope="module")
def assets() -> tuple[TextureLibrary, Bodies]:
    return TextureLibrary.open(), Bodies.open()


@pytest.fixture(scope="module")
def labels(blender: None, assets: Any, tmp_path_factory: pytest.TempPathFactory) -> dict[Weather, Any]:
    """Labels of one street in three weathers: arrays of the first frame, the description, the people."""
    from realmaster.data.render.film.labels import film_labels
    from realmaster.data.render.film.stage import build_stage

    found: dict[Weather, Any] = {}
    for weather in ("clear", "rain", "night"):
        folder = tmp_path_factory.mktemp("labels") / weather
        stage = build_stage(clip(), weather, *assets)
        film_labels(stage, folder)
        with np.load(folder / "0000.npz") as arrays:
            found[weather] = {
                "arrays": dict(arrays),
                "description": json.loads((folder / "labels.json").read_text()),
                "path": stage.path,
                "people": people_vertices(stage),
            }
    return found


def people_vertices(stage: Any) -> dict[int, tuple[np.ndarray, np.ndarray]]:
    """Vertices of every person in the first frame and in the next, by instance."""
    people = {}
    for thing in stage.builder.scene.objects:
        if thing.type == "MESH" and thing.data.shape_keys is not None:
            both = []
            for frame in (1, 2):
                vertices = np.empty(len(thing.data.vertices) * 3, np.float32)
                thing.data.shape_keys.key_blocks[f"frame {frame}"].data.foreach_get("co", vertices)
                both.append(vertices.reshape(-1, 3))
            people[thing.pass_index] = (both[0], both[1])
    return people


@pytest.mark.parametrize("weather", ["rain", "night"])
def test_every_label_is_the_same_in_every_weather(labels: dict[Weather, Any], weather: Weather) -> None:
    clear, other = labels["clear"], labels[weather]
    for name, array in clear["arrays"].items():
        np.testing.assert_array_equal(array, other["arrays"][name], err_msg=name)
    assert clear["description"] == other["description"]


def test_labels_have_the_units_they_say(labels: dict[Weather, Any]) -> None:
    arrays, description = labels["clear"]["arrays"], labels["clear"]["description"]
    depth, normal = arrays["depth"], arrays["normal"].astype(float)
    seen = np.isfinite(depth)
    assert depth.shape == (HEIGHT, WIDTH)
    assert 0.5 < depth[seen].min() < depth[seen].max() < 80
    np.testing.assert_allclose(np.linalg.norm(normal[seen], axis=-1), 1, atol=5e-3)
    categories = {int(number): entry["category"] for number, entry in description["instances"].items()}
    there = {categories[number] for number in np.unique(arrays["segmentation"])}
    assert {"ground", "building", "person"} <= there
    ground = np.isin(arrays["segmentation"], [n for n, category in categories.items() if category == "ground"])
    assert np.median(normal[ground][:, 2]) > 0.99  # the road faces up
    np.testing.assert_array_equal(arrays["segmentation"] == 0, ~seen)


def test_flow_of_what_stands_still_is_depth_moved_by_the_camera(labels: dict[Weather, Any]) -> None:
    arrays, description = labels["clear"]["arrays"], labels["clear"]["description"]
    camera, matrices = np.array(description["intrinsics"]), np.array(description["world_to_camera"])
    flow = camera_flow(arrays["depth"], camera, matrices[0], matrices[1])
    moving = [int(number) for number, entry in description["instances"].items() if entry["is_moving"]]
    still = ~np.isin(arrays["segmentation"], moving)
    assert np.abs(flow).max() > 0.1
    assert np.abs(flow - arrays["flow"])[still].max() < 2e-3
    assert np.abs(flow - arrays["flow"])[~still].max() > 0.1  # people walk


def test_flow_of_people_is_where_their_skin_goes(labels: dict[Weather, Any]) -> None:
    arrays, path = labels["clear"]["arrays"], labels["clear"]["path"]
    camera, matrices = intrinsics(path.lens_millimetres, WIDTH, HEIGHT), world_to_camera(path)
    errors = []
    for instance, (now, later) in labels["clear"]["people"].items():
        here, depth = project(now, camera, matrices[1])
        there, _ = project(later, camera, matrices[2])
        column, row = np.floor(here).astype(int).T
        inside = (column >= 0) & (column < WIDTH) & (row >= 0) & (row < HEIGHT)
        column, row = np.clip(column, 0, WIDTH - 1), np.clip(row, 0, HEIGHT - 1)
        in_front = np.abs(arrays["depth"][row, column] - depth) < 0.02
        seen = inside & in_front & (arrays["segmentation"][row, column] == instance)
        errors.append(np.linalg.norm((there - here - arrays["flow"][row, column])[seen], axis=-1))
    assert sum(map(len, errors)) > 100
    assert np.median(np.concatenate(errors)) < 0.05  # a pixel's middle and a vertex in it move a little differently


def project(points: np.ndarray, camera: np.ndarray, matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    inside = points @ matrix[:3, :3].T + matrix[:3, 3]
    image = inside @ camera.T
    return image[:, :2] / image[:, 2:], inside[:, 2]


def test_the_same_seed_gives_the_same_pixels_in_both_looks(blender: None, assets: Any) -> None:
    from realmaster.data.render.film.shoot import film_camera, film_engine
    from realmaster.data.render.film.stage import build_stage

    runs = []
    for _ in range(2):
        stage = build_stage(clip(scene="room", seed=2000), "clear", *assets)
        stage.builder.scene.render.threads_mode, stage.builder.scene.render.threads = "FIXED", 1
        runs.append((np.stack(list(film_engine(stage))), np.stack(list(film_camera(stage)))))
    np.testing.assert_array_equal(runs[0][0], runs[1][0])
    np.testing.assert_array_equal(runs[0][1], runs[1][1])
    assert runs[0][0].shape == runs[0][1].shape == (2, HEIGHT, WIDTH, 3)
    assert np.abs(runs[0][0].astype(float) - runs[0][1]).mean() > 5  # the looks differ


def test_the_average_of_the_grades_is_one_picture_whatever_the_seed_drew(blender: None, assets: Any) -> None:
    from realmaster.data.render.film.light_rig import GRADES
    from realmaster.data.render.film.shoot import film_camera
    from realmaster.data.render.film.stage import build_stage

    def film(grade: str, *, average: bool) -> np.ndarray:
        stage = build_stage(clip(scene="room", seed=2000, num_frames=1, average_grades=average), "clear", *assets)
        stage.builder.scene.render.threads_mode, stage.builder.scene.render.threads = "FIXED", 1
        return next(film_camera(replace(stage, rig=replace(stage.rig, grade=grade)))).astype(float)

    average, again = film(GRADES[0], average=True), film(GRADES[1], average=True)
    np.testing.assert_array_equal(average, again)
    graded = [film(grade, average=False) for grade in GRADES]
    assert np.abs(average - np.mean(graded, axis=0)).mean() < 3  # lens and grain differ
    assert min(np.abs(average - one).mean() for one in graded[:3]) > 1


def test_a_set_is_rendered_by_processes_and_read_back_as_pairs(tmp_path: Path) -> None:
    settings = RenderSettings(
        seeds=(2007, 2008), scene="room", weathers=("overcast",), num_frames=2, width=WIDTH, height=HEIGHT, samples=1
    )
    tally = render_pairs(settings, tmp_path / "set", workers=2)
    assert (tally.num_accepted, tally.reasons) == (2, {})
    (row,) = read_rows(tmp_path / "set", "train")
    assert row.name == "02008_room_overcast"
    assert row.engine_frames().shape == row.camera_frames().shape == (2, HEIGHT, WIDTH, 3)
    assert render_pairs(settings, tmp_path / "set").num_skipped == 2


@pytest.mark.dev
def test_a_seed_of_the_pairs_beside_the_checkout_comes_out_as_it_was(blender: None, assets: Any, shared: Path) -> None:
    from realmaster.data.render.film.shoot import film_engine
    from realmaster.data.render.film.stage import build_stage

    stage = build_stage(clip(seed=1131, scene="room", num_frames=13, width=256, height=144), "overcast", *assets)
    (row,) = [row for row in read_rows(shared / "pairs", "test") if row.name == "01131_room_overcast"]
    error = np.stack(list(film_engine(stage))).astype(float) - row.engine_frames()
    assert 10 * np.log10(255**2 / (error**2).mean()) > 40  # what H.264 at crf 10 leaves


@pytest.fixture
def crate(blender: None) -> Any:
    """A box of 2 x 2 x 2 m on the ground, in an otherwise empty scene."""
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add(size=2, location=(0, 0, 1))
    bpy.context.view_layer.update()
    return bpy.context.object


def test_who_stands_in_a_thing_is_moved_beside_it_and_who_does_not_stays(crate: Any) -> None:
    from realmaster.data.render.world.clearance import BODY_RADIUS, Clearance

    clearance = Clearance(clip(keep_clear=True), [crate])
    free = Placement(5.0, 0.0, 0.0, "walk", 1.3)
    assert clearance.place(free) == free
    moved = clearance.place(Placement(0.8, 0.2, 0.0, "stand", 1.0))
    assert max(abs(moved.x), abs(moved.y)) > 1 + 0.9 * BODY_RADIUS
    assert max(abs(moved.x), abs(moved.y)) < 3


def test_nobody_is_moved_into_another_or_out_of_the_room(crate: Any) -> None:
    from realmaster.data.render.world.clearance import APART, BODY_RADIUS, Clearance

    clearance = Clearance(clip(keep_clear=True), [crate], ((-3.0, 3.0), (-3.0, 3.0)))
    people = [clearance.place(Placement(2.0, 0.0, 0.0, "stand", 1.0)) for _ in range(5)]
    for number, one in enumerate(people):
        assert max(abs(one.x), abs(one.y)) < 3 - 0.9 * BODY_RADIUS
        for other in people[:number]:
            assert np.hypot(one.x - other.x, one.y - other.y) >= APART


def test_a_camera_in_a_thing_is_shifted_until_it_sees(crate: Any) -> None:
    from realmaster.data.render.world.clearance import OPEN_VIEW, Clearance

    clearance = Clearance(clip(keep_clear=True), [crate])
    path, forward = np.tile([-2.0, 0.0, 1.5], (5, 1)), np.array([1.0, 0.0, 0.0])
    x, y, z = path[0] + clearance.shift_camera(path, forward)
    assert z == 1.5
    assert abs(y) > 1 or x > 1 or x < -1 - OPEN_VIEW
    far = path + np.array([0, 20, 0])
    np.testing.assert_array_equal(clearance.shift_camera(far, forward), 0)


def test_keeping_clear_leaves_everything_but_people_and_camera_alone(blender: None, assets: Any) -> None:
    from realmaster.data.render.film.stage import build_stage

    stages = []
    for keep_clear in (False, True):
        stage = build_stage(clip(scene="room", seed=2026, keep_clear=keep_clear), "clear", *assets)
        places = [person.centre for person in stage.builder.people]
        stages.append((stage.builder.instances, places, stage.path.style))
    assert stages[0][0] == stages[1][0]
    assert stages[0][2] == stages[1][2]
    assert np.abs(np.array(stages[0][1]) - stages[1][1]).max() > 0.3  # someone stood in the sofa
