from __future__ import annotations

import json
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.media.writer import ClipWriter
from realmaster.types import ClipInfo


def scene(*, num_frames: int = 5, height: int = 72, width: int = 128, speed: float = 0.0) -> npt.NDArray[np.uint8]:
    """Return a smooth textured scene with boxes, [F, H, W, 3], moving right by `speed` pixels a frame."""
    rng = np.random.default_rng(7)
    margin = 40
    noise = rng.uniform(0, 255, (height, width + 2 * margin, 3)).astype(np.float32)
    wall = cv2.GaussianBlur(noise, (0, 0), 2.0)
    wall = 60.0 + 120.0 * (wall - wall.min()) / (wall.max() - wall.min())
    for x, y in ((50, 10), (90, 30), (130, 20), (160, 44)):
        cv2.rectangle(wall, (x, y), (x + 18, y + 20), (230.0, 210.0 - y, 40.0 + x), -1)
    frames = []
    for index in range(num_frames):
        shift = np.array([[1.0, 0.0, index * speed - margin], [0.0, 1.0, 0.0]], np.float32)
        frames.append(cv2.warpAffine(wall, shift, (width, height), flags=cv2.INTER_CUBIC))
    return np.clip(np.rint(np.stack(frames)), 0, 255).astype(np.uint8)


@pytest.fixture
def still() -> npt.NDArray[np.uint8]:
    return scene()


@pytest.fixture
def moving() -> npt.NDArray[np.uint8]:
    return scene(speed=2.0)


@pytest.fixture
def make_scene() -> Callable[..., npt.NDArray[np.uint8]]:
    return scene


def write_clip(path: Path, frames: npt.NDArray[np.uint8], rate: int = 16) -> Path:
    """Write frames without loss."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _, height, width, _ = frames.shape
    with ClipWriter(path, ClipInfo(width, height, Fraction(rate)), codec="lossless") as writer:
        writer.write(frames)
    return path


def camera_look(frames: npt.NDArray[np.uint8], weather: str) -> npt.NDArray[np.uint8]:
    """Film a scene: an affine change of colour, its own for each weather."""
    gain, bias = {"clear": (0.8, (30, 20, 5)), "rain": (0.4, (10, 25, 45))}[weather]
    return np.clip(np.rint(frames * gain + np.array(bias)), 0, 255).astype(np.uint8)


@pytest.fixture(scope="session")
def pair_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scenes for training and two for testing, each asked for in clear weather and in rain."""
    folder = tmp_path_factory.mktemp("pairs")
    for split, speeds in {"train": (0.5, 1.5), "test": (1.0, 2.0)}.items():
        rows = []
        for speed in speeds:
            engine = scene(num_frames=3, speed=speed, height=64, width=96)
            for weather in ("clear", "rain"):
                name = f"{split}_{speed}_{weather}"
                write_clip(folder / name / "engine.mkv", engine)
                write_clip(folder / name / "camera.mkv", camera_look(engine, weather))
                row = {"id": name, "reference_video": f"{name}/engine.mkv", "video": f"{name}/camera.mkv"}
                row |= {"caption": f"a wall, {weather}", "engine_weather": "clear", "camera_weather": weather}
                rows.append(json.dumps(row))
        (folder / f"{split}.jsonl").write_text("\n".join(rows) + "\n")
    return folder


@pytest.fixture
def film() -> Callable[[npt.NDArray[np.uint8], str], npt.NDArray[np.uint8]]:
    """A translation that knows the truth of `pair_folder`."""
    return lambda frames, prompt: camera_look(frames, prompt.split(", ")[1])


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """Write frames under a name in the test's folder."""
    return lambda name, frames, rate=16: write_clip(tmp_path / name, frames, rate)
