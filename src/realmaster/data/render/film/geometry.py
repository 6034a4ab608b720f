"""Camera matrices, projection, and what they say about flow. Pure numpy: this is the mathematics of the labels.

Conventions are OpenCV's: pixels from the top left corner of the image, the centre of the first pixel at (0.5, 0.5);
camera axes x right, y down, z forward. Letters: T frames, H, W pixels.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.render.film.camera_path import SENSOR_MILLIMETRES, CameraPath

Array = npt.NDArray[Any]


def intrinsics(lens_millimetres: float, width: int, height: int) -> Array:
    """Give K [3, 3] in pixels; the sensor's 36 mm span the longer side of the image."""
    focal = lens_millimetres / SENSOR_MILLIMETRES * max(width, height)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def world_to_camera(path: CameraPath) -> Array:
    """Give the matrices [T, 4, 4] that take world metres into camera metres, one for every frame of the path."""
    flip = np.diag([1.0, -1.0, -1.0])  # the path's cameras look along -z with y up
    matrices = np.tile(np.eye(4), (len(path.positions), 1, 1))
    for matrix, position, rotation in zip(matrices, path.positions, path.rotations, strict=True):
        turn = flip @ rotation.T
        matrix[:3, :3] = turn
        matrix[:3, 3] = -turn @ position
    return matrices


def pixel_centres(width: int, height: int) -> Array:
    """Give the position of every pixel's centre: [H, W, 2], x and y."""
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    return np.stack([x, y], axis=-1)


def camera_flow(depth: Array, camera: Array, one: Array, other: Array) -> Array:
    """Flow of what stands still, by moving the camera: `project(P other one^-1 (z K^-1 x)) - x`.

    Args:
        depth: [H, W] metres along the camera's axis; infinite for the sky, which only turns.
        camera: K [3, 3].
        one, other: world to camera [4, 4] of the frame and of the next one.

    Returns:
        float [H, W, 2] in pixels, x to the right and y down.
    """
    height, width = depth.shape
    places = pixel_centres(width, height)
    rays = np.concatenate([places, np.ones((height, width, 1))], axis=-1) @ np.linalg.inv(camera).T
    between = other @ np.linalg.inv(one)
    is_far = ~np.isfinite(depth)
    moved = rays * np.where(is_far, 1.0, depth)[..., None] @ between[:3, :3].T
    moved = moved + np.where(is_far[..., None], 0.0, between[:3, 3])
    projected = moved @ camera.T
    return np.asarray(projected[..., :2] / projected[..., 2:] - places)
