"""An editor and a propagator in numpy, so that the pipeline can be run in a moment, killed, and made to fail."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from media_files import write_video
from realmaster.errors import NumericalError
from realmaster.pairs.settings import PairSettings

Frames = np.ndarray


def shift(frames: Frames, seed: int) -> Frames:
    """Warmer, and a little otherwise for each seed; shapes stay."""
    change = np.array([24, 6 + seed % 3, -12])
    return np.clip(frames.astype(np.int16) + change, 0, 255).astype(np.uint8)


class WarmEditor:
    name = "warm"

    def describe(self) -> dict[str, Any]:
        return {"editor": self.name}

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        note("edit")
        if prompt == "fails":
            raise NumericalError("expected finite pixels, got NaN: this is a test")
        if prompt == "breaks":
            raise KeyError("a defect")
        return shift(frames, seed)


class WarmPropagator:
    name = "warm"

    def describe(self) -> dict[str, Any]:
        return {"propagator": self.name}

    def propagate(
        self, source: Frames, anchors: Mapping[int, Frames], control: Frames | None, *, prompt: str, seed: int
    ) -> Frames:
        note("propagate")
        pause = os.environ.get("PAIR_MAKING_SECONDS")
        if pause:
            time.sleep(float(pause))
        die_once()
        if prompt == "full":
            raise OSError(28, "No space left on device")
        made = shift(source, seed)
        for index, anchor in anchors.items():
            made[index] = anchor
        return made


def editor(settings: PairSettings) -> WarmEditor:
    return WarmEditor()


def propagator(settings: PairSettings) -> WarmPropagator:
    return WarmPropagator()


def nano_propagator(settings: PairSettings) -> Any:
    """Nano's own, in a process that dies once where the variable says so."""
    from realmaster.pipelines.propagate_vace import VacePropagator

    class Mortal(VacePropagator):
        def propagate(self, *clip: Any, **asked: Any) -> Frames:
            die_once()
            return super().propagate(*clip, **asked)

    return Mortal.from_profile("nano", model_dir=settings.model_dir)


def nothing(settings: PairSettings) -> str:
    return "no editor"


def die_once() -> None:
    """End this process as `kill -9` does, unless the file that the variable names is there already."""
    kill_at = os.environ.get("PAIR_MAKING_KILL")
    if kill_at and not Path(kill_at).exists():
        Path(kill_at).touch()
        os.kill(os.getpid(), 9)


def note(what: str) -> None:
    """Count what is done, across processes: a line in the file that the variable names."""
    file = os.environ.get("PAIR_MAKING_NOTES")
    if file:
        with Path(file).open("a") as notes:
            notes.write(what + "\n")


def footage(folder: Path, num_videos: int = 3, *, num_frames: int = 12, rate: int = 8) -> Path:
    """Videos of soft patterns that a camera pans over: no cut, nothing still."""
    folder.mkdir(exist_ok=True)
    for video in range(num_videos):
        generator = np.random.default_rng(video)
        coarse = generator.integers(40, 220, (6, 16, 3)).astype(np.float32)
        wide = np.kron(coarse, np.ones((8, 8, 1), np.float32)).astype(np.uint8)
        write_video(folder / f"video_{video}.mp4", [wide[:, 2 * i : 2 * i + 64] for i in range(num_frames)], rate=rate)
    return folder


def settings_for(root: Path, **changes: Any) -> PairSettings:
    """Settings of a small set of 64x48 clips of five frames over `footage`, with the pieces above."""
    if not (root / "footage").is_dir() and "sources" not in changes:
        footage(root / "footage")
    values: dict[str, Any] = {
        "output": str(root / "set"),
        "seed": 5,
        "caption": "a street",
        "sources": [{"kind": "video", "path": str(root / "footage")}],
        "sample": {"train": 4, "validation": 1, "num_frames": 5, "buckets": ["64x48"], "scan": {"detector": "none"}},
        "edit": {"editor": "pair_making:editor", "check": None},
        "propagate": {"propagator": "pair_making:propagator"},
        "scoring": {"identity": {"model": "none"}, "num_frames": 4},
    }
    for name, value in changes.items():
        group, _, last = name.partition("__")
        if last:
            values.setdefault(group, {})[last] = value
        else:
            values[group] = value
    return PairSettings.from_mapping(values, source="test")


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a finished set, without what is under way."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".work" not in path.relative_to(folder).parts
    }


def records(folder: Path) -> dict[str, dict[str, Any]]:
    return {path.stem: json.loads(path.read_text()) for path in sorted((folder / "records").glob("*.json"))}


class OtherPicture(WarmEditor):
    """Draws something else altogether with the first seeds, and behaves from the third on."""

    name = "other"

    def __init__(self, num_bad: int) -> None:
        self.num_bad, self.num_calls = num_bad, 0

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        self.num_calls += 1
        if self.num_calls <= self.num_bad:
            return np.random.default_rng(seed).integers(0, 255, frames.shape, dtype=np.uint8)
        return shift(frames, seed)


def bad_twice(settings: PairSettings) -> OtherPicture:
    return OtherPicture(2)


def always_bad(settings: PairSettings) -> OtherPicture:
    return OtherPicture(10**9)
