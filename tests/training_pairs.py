"""Tiny pairs with a manifest, and nano's own autoencoder and text encoder to encode them with."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from media_files import write_video
from realmaster.data.manifest import read_manifest
from realmaster.models.loading import Models, load_profile_models
from realmaster.models.profiles import load_profile
from realmaster.training.cache import build_cache
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.dataset import CachedDataset
from sample_clips import scene


@dataclass
class PairFolder:
    """A folder with clips and a manifest that grows row by row."""

    folder: Path

    @property
    def manifest(self) -> Path:
        return self.folder / "manifest.jsonl"

    def add(
        self,
        name: str,
        *,
        caption: str = "a street",
        num_frames: int = 5,
        engine_frames: int | None = None,
        size: tuple[int, int] = (48, 64),
        engine_size: tuple[int, int] | None = None,
        rate: int = 16,
    ) -> None:
        """Write both looks, the engine's in inverted colours, and the row."""
        camera = scene(num_frames, size[1], size[0])
        engine = 255 - scene(engine_frames or num_frames, *(engine_size or size)[::-1])
        write_video(self.folder / f"{name}_camera.mp4", list(camera), rate=rate)
        write_video(self.folder / f"{name}_engine.mp4", list(engine), rate=rate)
        self.write({"video": f"{name}_camera.mp4", "reference_video": f"{name}_engine.mp4", "caption": caption})

    def write(self, row: dict[str, Any] | str) -> None:
        """Add one line to the manifest."""
        with self.manifest.open("a", encoding="utf-8") as manifest:
            manifest.write((row if isinstance(row, str) else json.dumps(row)) + "\n")

    def damage(self, name: str) -> None:
        """Put noise in place of the camera clip of a pair."""
        (self.folder / f"{name}_camera.mp4").write_bytes(np.random.default_rng(0).bytes(2000))


def pairs_in(folder: Path, num_pairs: int = 0, **shape: Any) -> PairFolder:
    """A folder with pairs "0", "1", ... of 5, 6, ... frames: entries are told apart by content, not by name."""
    folder.mkdir(exist_ok=True)
    pairs = PairFolder(folder)
    for index in range(num_pairs):
        pairs.add(str(index), **{"num_frames": 5 + index, "caption": f"a street, number {index}", **shape})
    return pairs


@cache
def nano() -> Models:
    """The shipped nano; the tests do not change it."""
    return load_profile_models(load_profile("nano"))[0]


def halve(frames: np.ndarray, generator: np.random.Generator, amount: float) -> np.ndarray:
    """An augmentation that does what none may."""
    return frames[::2]


def darken(frames: np.ndarray, generator: np.random.Generator, amount: float) -> np.ndarray:
    """An augmentation of the user's own."""
    return (frames * (1 - 0.5 * amount)).astype(np.uint8)


def settings_of(**values: Any) -> CacheSettings:
    return CacheSettings.from_mapping({"buckets": ["64x48x5"], **values}, source="test")


def build(pairs: PairFolder, folder: Path, settings: CacheSettings | None = None, **more: Any) -> CachedDataset:
    rows = read_manifest(pairs.manifest)
    return build_cache(rows, nano(), settings or settings_of(), folder, **{"workers": 0, **more})


def entries(folder: Path) -> dict[Path, int]:
    """Every latent and text of a cache, with the time it was written."""
    return {path.relative_to(folder): path.stat().st_mtime_ns for path in folder.rglob("*.safetensors")}
