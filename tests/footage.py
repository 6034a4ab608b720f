"""Small footage in the layouts that datasets and engines leave on a disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import OpenEXR
from PIL import Image

from sample_clips import scene


def sail_vos(
    root: Path, videos: tuple[str, ...] = ("ah_3a_ext", "fam_6_mcs_1"), *, num_frames: int = 6, digits: int = 18
) -> Path:
    """SAIL-VOS 3D as it is unpacked, at 32x20: BMP with a meaningless alpha, visible, depth and matrices as arrays."""
    for video in videos:
        for folder in ("images", "visible", "depth", "rage_matrices", "camera"):
            (root / video / folder).mkdir(parents=True)
        for index, frame in enumerate(scene(num_frames, 32, 20)):
            name = f"{index:0{digits}d}"
            alpha = np.zeros((20, 32, 1), np.uint8)  # as captured: nothing to be seen by it
            cv2.imwrite(str(root / video / "images" / f"{name}.bmp"), np.dstack([frame[..., ::-1], alpha]))
            np.save(root / video / "visible" / f"{name}.npy", np.full((20, 32), 7, np.int32))
            depth = np.full((20, 32), 24e-5)
            depth[10:] = 6 * (0.02 + 4e-5)
            np.save(root / video / "depth" / f"{name}.npy", depth)
            np.savez(root / video / "rage_matrices" / f"{name}.npz", P_inv=projection_inverse())
    return root


def projection_inverse(near: float = 0.1) -> np.ndarray:
    """A camera whose device depth is near / distance, for row vectors: 0.02 is 5 m."""
    projection = np.array([[1.0, 0, 0, 0], [0, 1.6, 0, 0], [0, 0, 0, -1], [0, 0, near, 0]])
    return np.linalg.inv(projection)


def carla(root: Path, *, num_frames: int = 4) -> Path:
    """One recording of CARLA with raw depth, tags and instances; 5 m everywhere but at the sky in the top row."""
    metres = np.full((20, 32), 5.0)
    metres[0] = 1000.0
    code = np.round(metres / 1000 * (2**24 - 1)).astype(np.uint32)
    depth = np.stack([code & 255, (code >> 8) & 255, code >> 16], axis=-1).astype(np.uint8)
    tags = np.zeros((20, 32, 3), np.uint8)
    tags[..., 0] = 14
    instances = tags.copy()
    instances[..., 1], instances[..., 2] = 3, 1
    passes = {"depth": depth, "semantic_segmentation": tags, "instance_segmentation": instances}
    for index, frame in enumerate(scene(num_frames, 32, 20)):
        for folder, picture in {"rgb": frame, **passes}.items():
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / folder / f"{100 + index:08d}.png")
    return root


def unreal(root: Path, *, num_frames: int = 4) -> Path:
    """Movie Render Queue: a picture and a depth for each frame in one folder, in centimetres."""
    root.mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(scene(num_frames, 32, 20)):
        Image.fromarray(frame).save(root / f"Shot.FinalImage.{index:04d}.png")
        write_exr(root / f"Shot.WorldDepth.{index:04d}.exr", {"R": np.full((20, 32), 500, np.float32)})
        Image.fromarray(frame).save(root / f"Shot.WorldNormal.{index:04d}.png")
    return root


def unity(root: Path, *, num_frames: int = 4) -> Path:
    """Perception's SOLO: steps of a sequence with labels beside them."""
    folder = root / "sequence.0"
    folder.mkdir(parents=True)
    for index, frame in enumerate(scene(num_frames, 32, 20)):
        Image.fromarray(frame).save(folder / f"step{index}.camera.png")
        labels = np.zeros((20, 32, 3), np.uint8)
        labels[5:, :, 1] = 200
        Image.fromarray(labels).save(folder / f"step{index}.camera.instance segmentation.png")
    return root


def blender(root: Path, *, num_frames: int = 4) -> Path:
    """A render to layered EXR: the picture, Z and object indices in one file, in parts named as Blender's layers."""
    root.mkdir(parents=True, exist_ok=True)
    depth = np.full((20, 32), 5, np.float32)
    depth[0] = 1e10
    for index, frame in enumerate(scene(num_frames, 32, 20)):
        linear = (frame / 255.0).astype(np.float32) ** 2.2
        channels = {f"ViewLayer.Combined.{name}": linear[..., i].copy() for i, name in enumerate("RGB")}
        channels |= {"ViewLayer.Depth.Z": depth, "ViewLayer.IndexOB.X": np.full((20, 32), 3, np.float32)}
        write_exr(root / f"{index + 1:04d}.exr", channels)
    return root


def write_exr(path: Path, channels: dict[str, np.ndarray]) -> None:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    with OpenEXR.File(header, {name: OpenEXR.Channel(plane) for name, plane in channels.items()}) as file:
        file.write(str(path))
