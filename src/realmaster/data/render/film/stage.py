"""A scene ready to be filmed: built in one weather, with its camera and its light.

Separate because the two looks of a clip may have different weathers, and then the scene is built twice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from realmaster.data.render.assets.bodies import Bodies
from realmaster.data.render.assets.texture_library import TextureLibrary
from realmaster.data.render.film.camera import add_camera
from realmaster.data.render.film.camera_path import CameraPath, Subject, draw_path, film_draws
from realmaster.data.render.film.light_rig import LightRig, draw_light
from realmaster.data.render.settings import ClipSettings, Weather
from realmaster.data.render.world.builder import SceneBuilder
from realmaster.data.render.world.scenes import build_scene


@dataclass(frozen=True)
class Stage:
    """Everything that a look needs."""

    builder: SceneBuilder
    path: CameraPath
    camera: Any  # Blender's camera object
    rig: LightRig


def build_stage(clip: ClipSettings, weather: Weather, textures: TextureLibrary, bodies: Bodies) -> Stage:
    """Build a clip's scene in a weather, discarding whatever Blender held before."""
    builder = SceneBuilder.empty(clip, weather, textures, bodies)
    view = build_scene(builder)
    subjects = [Subject(person.centre, person.head, person.heading) for person in builder.people]
    frames = list(builder.animated_frames)
    draws = film_draws(clip)
    path = draw_path(draws, clip, frames, view.position, view.target, subjects)
    if builder.clearance is not None and clip.closeup == "none":
        shift = builder.clearance.shift_camera(path.positions, -path.rotations[len(frames) // 2][:, 2])
        position, target = (np.array(place) + shift for place in (view.position, view.target))
        draws = film_draws(clip)  # the same draws about another place
        path = draw_path(draws, clip, frames, position, target, subjects)
    return Stage(builder, path, add_camera(builder, path), draw_light(draws, clip.scene))
