"""Set the exposure as a camera's meter does: once, from a small render of the middle frame.

Separate because it is the one look setting that depends on what the picture shows.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import bpy
import numpy as np
import numpy.typing as npt

from realmaster.data.render.film.metering import choose_exposure
from realmaster.data.render.film.stage import Stage

METER_WIDTH = 89.6  # pixels
METER_SAMPLES = 4


def expose(stage: Stage) -> None:
    """Measure the stage as it is now lit, and set its exposure."""
    scene = stage.builder.scene
    render, image = scene.render, scene.render.image_settings
    samples, file_format = scene.cycles.samples, image.file_format
    image.file_format, scene.cycles.samples = "OPEN_EXR", METER_SAMPLES
    render.resolution_percentage = max(10, int(METER_WIDTH * 100 / render.resolution_x))
    scene.frame_set((stage.builder.first_frame + stage.builder.last_frame) // 2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "meter.exr"
        render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        picture = read_image(path)
    image.file_format, scene.cycles.samples = file_format, samples
    image.color_depth = "8"  # the other format has changed it
    render.resolution_percentage = 100
    scene.view_settings.exposure = choose_exposure(picture, stage.builder.weather)


def read_image(path: Path) -> npt.NDArray[np.float32]:
    """Read an image file's colour channels through Blender: float32 [H, W, 3], rows from the top."""
    image = bpy.data.images.load(str(path))
    try:
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1, :, :3].copy()
