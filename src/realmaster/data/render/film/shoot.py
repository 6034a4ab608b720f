"""Film one clip: build its stage, render each look frame by frame, write the videos and the labels."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import Bodies
from realmaster.data.render.assets.texture_library import TextureLibrary
from realmaster.data.render.film.labels import film_labels
from realmaster.data.render.film.lens import Lens, expose_sensor, reduce
from realmaster.data.render.film.light_rig import GRADES
from realmaster.data.render.film.looks import set_camera_look, set_engine_look
from realmaster.data.render.film.stage import Stage, build_stage
from realmaster.data.render.film.video import FOR_THE_REPOSITORY, FOR_TRAINING, write_video
from realmaster.data.render.settings import ClipSettings, Look, Weather
from realmaster.media.images import read_image

Frame = npt.NDArray[np.uint8]


def shoot(clip: ClipSettings, folder: Path, *, threads: int = 1) -> dict[str, Any]:
    """Render a clip into a folder: `engine.mp4`, `camera.mp4`, `labels/`; give what a record says about it.

    Raises:
        MissingExtraError, OutputError: textures or bodies cannot be had.
    """
    textures, bodies = TextureLibrary.open(), Bodies.open()
    weathers: dict[Look, Weather] = {"engine": clip.engine_weather, "camera": clip.camera_weather}
    encoding = FOR_THE_REPOSITORY if clip.scene == "demo" else FOR_TRAINING
    facts: dict[str, Any] = {"contrast": {}}
    stage: Stage | None = None
    for look in clip.looks:
        if stage is None or stage.builder.weather != weathers[look]:
            stage = build_stage(clip, weathers[look], textures, bodies)
            stage.builder.scene.render.threads_mode = "FIXED"
            stage.builder.scene.render.threads = threads
        frames = film_engine(stage) if look == "engine" else film_camera(stage)
        facts["contrast"][look] = round(write_video(folder / f"{look}.mp4", frames, clip, encoding), 2)
        if look == "camera":
            facts["exposure_stops"] = round(stage.builder.scene.view_settings.exposure, 3)
    assert stage is not None, "the settings ask for one look at least"
    if clip.labels:
        film_labels(stage, folder / "labels")
    return facts | {"camera_style": stage.path.style, "num_people": len(stage.builder.people)}


def film_engine(stage: Stage) -> Iterator[Frame]:
    """Render the engine look: uint8 [H, W, 3] RGB, frame by frame."""
    set_engine_look(stage)
    yield from _render(stage)


def film_camera(stage: Stage) -> Iterator[Frame]:
    """Render the camera look, reduced to the clip's size, through lens and sensor."""
    set_camera_look(stage)
    clip = stage.builder.clip
    averaged = clip.average_grades
    lens = Lens.middling() if averaged else Lens.draw(clip.seed, is_night=clip.camera_weather == "night")
    for number, graded in enumerate(_render_graded(stage, GRADES if averaged else (stage.rig.grade,)), start=1):
        seen = [expose_sensor(reduce(frame, clip.width, clip.height), lens, clip.seed, number) for frame in graded]
        yield np.rint(np.mean(seen, axis=0)).astype(np.uint8)


def _render_graded(stage: Stage, grades: Sequence[str]) -> Iterator[list[Frame]]:
    """Render each frame once and develop it in some grades."""
    scene = stage.builder.scene
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "graded.png")
        for _ in _render(stage):
            graded = []
            for grade in grades:
                scene.view_settings.look = grade
                bpy.data.images["Render Result"].save_render(path, scene=scene)
                graded.append(read_image(Path(path)))
            yield graded


def _render(stage: Stage) -> Iterator[Frame]:
    scene = stage.builder.scene
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "frame.png"
        for frame in range(stage.builder.first_frame, stage.builder.last_frame + 1):
            scene.frame_set(frame)
            scene.render.filepath = str(path)
            bpy.ops.render.render(write_still=True)
            yield read_image(path)
            path.unlink()
