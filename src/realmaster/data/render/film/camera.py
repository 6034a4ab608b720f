"""The camera path as Blender's camera: keys in every frame, changing evenly between them."""

from __future__ import annotations

from typing import Any

import bpy
from mathutils import Matrix

from realmaster.data.render.film.camera_path import SENSOR_MILLIMETRES, CameraPath
from realmaster.data.render.world.builder import SceneBuilder
from realmaster.data.render.world.cars import make_linear


def add_camera(builder: SceneBuilder, path: CameraPath) -> Any:
    """Add the camera, make it the scene's, and move it along its path; give the camera object."""
    camera = bpy.data.cameras.new("camera")
    camera.sensor_width = SENSOR_MILLIMETRES
    camera.lens = path.lens_millimetres
    camera.dof.focus_distance = path.focus_metres
    camera.dof.aperture_fstop = path.f_number
    thing = bpy.data.objects.new("camera", camera)
    builder.scene.collection.objects.link(thing)
    builder.scene.camera = thing
    thing.rotation_mode = "QUATERNION"
    previous = None
    for frame, position, rotation in zip(builder.animated_frames, path.positions, path.rotations, strict=True):
        quaternion = Matrix(rotation.tolist()).to_quaternion()
        if previous is not None and quaternion.dot(previous) < 0:
            quaternion.negate()  # the same turn; the other sign would spin the camera between the keys
        previous = quaternion.copy()
        thing.location = position.tolist()
        thing.rotation_quaternion = quaternion
        thing.keyframe_insert("location", frame=frame)
        thing.keyframe_insert("rotation_quaternion", frame=frame)
    make_linear(thing)
    return thing
