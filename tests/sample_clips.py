"""Small clips made on the spot, for any test that needs a file."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np


def scene(num_frames: int, width: int, height: int) -> np.ndarray:
    """A ramp with a square that moves: uint8 [F, H, W, 3]."""
    ramp = np.linspace(40, 200, width, dtype=np.uint8)[None, None, :, None]
    frames = np.broadcast_to(ramp, (num_frames, height, width, 3)).copy()
    side = max(min(height, width) // 4, 1)
    for index in range(num_frames):
        left = (index * 4) % max(width - side, 1)
        frames[index, height // 4 : height // 4 + side, left : left + side] = (200, 60, 40)
    return frames


def write_clip(path: Path, *, num_frames: int = 9, width: int = 64, height: int = 48, rate: int = 16) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(rate), options={"crf": "18", "g": "4"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv444p" if width % 2 or height % 2 else "yuv420p"
        for frame in scene(num_frames, width, height):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "rgb24")))
        container.mux(stream.encode(None))
    return path


def count_frames(path: Path) -> int:
    with av.open(str(path)) as container:
        return sum(1 for _ in container.decode(video=0))


def write_images(folder: Path, frames: np.ndarray) -> Path:
    folder.mkdir()
    for index, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{index:04d}.png"), frame[..., ::-1])
    return folder


def frames_of(path: Path) -> np.ndarray:
    """Every frame of a file or of a folder of images: uint8 [F, H, W, 3]."""
    if path.is_dir():
        images = [cv2.imread(str(image)) for image in sorted(path.iterdir())]
        return np.stack([image[..., ::-1] for image in images if image is not None])
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
