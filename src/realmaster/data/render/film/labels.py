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
from realmaster.data.render.film.stage import Stage
from realmaster.data.render.settings import Label

Array = npt.NDArray[Any]

# Blender's render layer outputs, and the switch of each
PASSES: dict[Label, tuple[str, str]] = {
    "depth": ("Depth", "use_pass_z"),
    "normal": ("Normal", "use_pass_normal"),
    "segmentation": ("IndexOB", "use_pass_object_index"),
    "flow": ("Vector", "use_pass_vector"),
}
BEYOND = 1e9  # Cycles writes 1e10 metres where there is nothing


def film_labels(stage: Stage, folder: Path) -> None:
    """Render and write the labels that the clip asks for into a new folder."""
    clip = stage.builder.clip
    folder.mkdir(parents=True)
    wanted = [label for label in PASSES if label in clip.labels]
    if wanted:
        _set_label_look(stage)
        with tempfile.TemporaryDirectory() as scratch:
            _write_passes_to(stage, wanted, Path(scratch))
            for index, frame in enumerate(range(stage.builder.first_frame, stage.builder.last_frame + 1)):
                stage.builder.scene.frame_set(frame)
                bpy.ops.render.render()
                passes = {name: _read(Path(scratch) / f"{name}{frame:04d}.exr") for name in _needed(wanted)}
                arrays = _arrays(stage, passes, index)
                chosen: dict[str, Any] = {label: arrays[label] for label in wanted}
                np.savez_compressed(folder / f"{index:04d}.npz", **chosen)
                for file in Path(scratch).iterdir():
                    file.unlink()
    (folder / "labels.json").write_text(json.dumps(_description(stage), indent=1), encoding="utf-8")


def _needed(wanted: Sequence[Label]) -> list[Label]:
    """Passes to render: flow has to know where the sky is."""
    return [label for label in PASSES if label in wanted or (label == "depth" and "flow" in wanted)]


def _arrays(stage: Stage, passes: dict[Label, Array], index: int) -> dict[Label, Array]:
    arrays: dict[Label, Array] = {}
    if "depth" in passes:
        depth = passes["depth"][..., 0]
        arrays["depth"] = np.where(depth > BEYOND, np.inf, depth).astype(np.float32)
    if "normal" in passes:
        arrays["normal"] = passes["normal"][..., :3].astype(np.float16)
    if "segmentation" in passes:
        arrays["segmentation"] = np.rint(passes["segmentation"][..., 0]).astype(np.uint16)
    if "flow" in passes:
        # Cycles: z, w = here minus there in the next frame, y up
        flow = passes["flow"][..., 2:4] * (-1.0, 1.0)
        clip, matrices = stage.builder.clip, world_to_camera(stage.path)
        camera = intrinsics(stage.path.lens_millimetres, clip.width, clip.height)
        turning = camera_flow(arrays["depth"], camera, matrices[index + 1], matrices[index + 2])
        is_sky = ~np.isfinite(arrays["depth"])
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


def _set_label_look(stage: Stage) -> None:
    """One ray through the middle of each pixel, nothing blurred."""
    stage.builder.wear("engine")
    clip, scene = stage.builder.clip, stage.builder.scene
    render, cycles = scene.render, scene.cycles
    render.engine = "CYCLES"
    render.resolution_x, render.resolution_y, render.resolution_percentage = clip.width, clip.height, 100
    render.use_motion_blur = False  # Blender gives motion vectors only without it
    render.use_persistent_data = False
    stage.camera.data.dof.use_dof = False
    cycles.device = "CPU"
    cycles.samples, cycles.use_adaptive_sampling, cycles.use_denoising = 1, False, False
    cycles.max_bounces = 0
    cycles.pixel_filter_type, cycles.filter_width = "BOX", 0.01


def _write_passes_to(stage: Stage, wanted: Sequence[Label], folder: Path) -> None:
    """Let Blender's compositor write each pass as a 32-bit EXR file of its own."""
    scene = stage.builder.scene
    layer = scene.view_layers[0]
    scene.use_nodes = True
    tree = scene.node_tree
    tree.nodes.clear()
    source = tree.nodes.new("CompositorNodeRLayers")
    output = tree.nodes.new("CompositorNodeOutputFile")
    output.base_path = str(folder)
    output.format.file_format, output.format.color_mode, output.format.color_depth = "OPEN_EXR", "RGBA", "32"
    output.file_slots.clear()
    for label in _needed(wanted):
        socket, switch = PASSES[label]
        setattr(layer, switch, True)
        output.file_slots.new(label)
        tree.links.new(source.outputs[socket], output.inputs[label])


def _read(path: Path) -> Array:
    """Read an EXR file as stored: float32 [H, W, 4], rows from the top."""
    image = bpy.data.images.load(str(path))
    try:
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED"  # the fourth channel is a number like the others
        width, height = image.size
        pixels = np.empty(width * height * 4, np.float32)
        image.pixels.foreach_get(pixels)
    finally:
        bpy.data.images.remove(image)
    return pixels.reshape(height, width, 4)[::-1].copy()
