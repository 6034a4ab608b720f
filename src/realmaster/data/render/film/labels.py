"""Ground truth for every frame: depth, normals, instances, flow and the camera. They hold for both looks.

Each frame is one `NNNN.npz` (from 0000); `labels.json` beside them names the instances and holds the cameras. Units:
depth float32 metres along the camera's axis, infinite for the sky; normal float16 in world axes, zero for the sky;
segmentation uint16 instance, 0 for the sky; flow float32 pixels to the next frame, x right and y down, hidden or not.
One ray through the middle of each pixel decides, without motion blur, depth of field or anti-aliasing.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
import numpy as np
import numpy.typing as npt

from realmaster.data.render.film.geometry import camera_flow, intrinsics, world_to_camera
from realmaster.data.render.film.layers import read_layers
from realmaster.data.render.film.stage import Stage
from realmaster.data.render.settings import Label

Array = npt.NDArray[Any]

# Blender's switch for each pass, and the channels it is stored in
PASSES: dict[Label, tuple[str, tuple[str, ...]]] = {
    "depth": ("use_pass_z", ("Depth.Z",)),
    "normal": ("use_pass_normal", ("Normal.X", "Normal.Y", "Normal.Z")),
    "segmentation": ("use_pass_object_index", ("IndexOB.X",)),
    "flow": ("use_pass_vector", ("Vector.Z", "Vector.W")),
}
BEYOND = 1e9  # Cycles writes 1e10 metres where there is nothing


def film_labels(stage: Stage, folder: Path) -> None:
    """Render and write the labels that the clip asks for into a new folder."""
    clip = stage.builder.clip
    folder.mkdir(parents=True)
    wanted = [label for label in PASSES if label in clip.labels]
    if wanted:
        _set_label_look(stage, wanted)
        with tempfile.TemporaryDirectory() as scratch:
            path = Path(scratch) / "passes.exr"
            for index, frame in enumerate(range(stage.builder.first_frame, stage.builder.last_frame + 1)):
                stage.builder.scene.frame_set(frame)
                stage.builder.scene.render.filepath = str(path)
                bpy.ops.render.render(write_still=True)
                arrays = _arrays(stage, read_layers(path), index)
                chosen: dict[str, Any] = {label: arrays[label] for label in wanted}
                np.savez_compressed(folder / f"{index:04d}.npz", **chosen)
    (folder / "labels.json").write_text(json.dumps(_description(stage), indent=1), encoding="utf-8")


def _needed(wanted: Sequence[Label]) -> list[Label]:
    """Passes to render: flow has to know where the sky is."""
    return [label for label in PASSES if label in wanted or (label == "depth" and "flow" in wanted)]


def _arrays(stage: Stage, layers: dict[str, Array], index: int) -> dict[Label, Array]:
    """Turn a frame's passes into labels."""
    by_pass = {name.split(".", 1)[1]: channel for name, channel in layers.items() if "." in name}
    passes = {
        label: np.stack([by_pass[channel] for channel in channels], axis=-1)
        for label, (_, channels) in PASSES.items()
        if channels[0] in by_pass
    }
    arrays: dict[Label, Array] = {}
    if "depth" in passes:
        depth = passes["depth"][..., 0]
        arrays["depth"] = np.where(depth > BEYOND, np.inf, depth).astype(np.float32)
    if "normal" in passes:
        arrays["normal"] = passes["normal"].astype(np.float16)
    if "segmentation" in passes:
        arrays["segmentation"] = np.rint(passes["segmentation"][..., 0]).astype(np.uint16)
    if "flow" in passes:
        flow = passes["flow"] * (-1.0, 1.0)  # Cycles: here minus there in the next frame, y up
        clip, matrices = stage.builder.clip, world_to_camera(stage.path)
        camera = intrinsics(stage.path.lens_millimetres, clip.width, clip.height)
        turning = camera_flow(arrays["depth"], camera, matrices[index + 1], matrices[index + 2])
        is_sky = ~np.isfinite(arrays["depth"])  # which Cycles takes to stand still in the picture
        arrays["flow"] = np.where(is_sky[..., None], turning, flow).astype(np.float32)
    return arrays


def _description(stage: Stage) -> dict[str, Any]:
    clip = stage.builder.clip
    instances = {
        instance.number: {"name": instance.name, "category": instance.category, "is_moving": instance.is_moving}
        for instance in stage.builder.instances
    }
    description: dict[str, Any] = {"labels": list(clip.labels), "num_frames": clip.num_frames}
    if "segmentation" in clip.labels:
        description["instances"] = {0: {"name": "sky", "category": "sky", "is_moving": False}, **instances}
    if "camera" in clip.labels:
        description["intrinsics"] = intrinsics(stage.path.lens_millimetres, clip.width, clip.height).tolist()
        # the path begins one frame before the clip
        description["world_to_camera"] = world_to_camera(stage.path)[1 : clip.num_frames + 1].tolist()
        description["axes"] = "camera x right, y down, z forward; world z up; metres"
    return description


def _set_label_look(stage: Stage, wanted: Sequence[Label]) -> None:
    """One ray through the middle of each pixel, nothing blurred, the passes stored with every digit."""
    stage.builder.wear("engine")
    clip, scene = stage.builder.clip, stage.builder.scene
    render, cycles, image = scene.render, scene.cycles, scene.render.image_settings
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = clip.width, clip.height, 100
    render.use_motion_blur = False  # Blender gives motion vectors only without it
    render.use_persistent_data = False
    stage.camera.data.dof.use_dof = False
    cycles.device = "CPU"
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = 1, False, False
    cycles.max_bounces = 0
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01
    image.file_format, image.color_depth, image.exr_codec = "OPEN_EXR_MULTILAYER", "32", "NONE"
    layer = scene.view_layers[0]
    for label in wanted:
        setattr(layer, PASSES[label][0], True)
    layer.use_pass_z = True  # flow has to know where the sky is
