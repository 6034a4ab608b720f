"""A training run in miniature: pairs of clips made here, a tiny Wan checkpoint in the published layout, a config.

`python tests/tiny_run.py CONFIG` runs a config in a process of its own: to be killed, or to be one of several.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.media.writer import ClipWriter
from realmaster.types import ClipInfo

Frames = npt.NDArray[np.uint8]
WIDTH, HEIGHT, FRAMES = 48, 32, 5


def write_pairs(folder: Path, count: int = 6) -> Path:
    """Write pairs whose camera look is the engine look darkened; give the manifest."""
    generator = np.random.default_rng(0)
    rows = []
    for index in range(count):
        frames = generator.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
        for look, clip in (("engine", frames), ("camera", frames // 2)):
            write_clip(folder / f"videos/{index}/{look}.mkv", clip)
        rows.append({
            "reference_video": f"videos/{index}/engine.mkv", "video": f"videos/{index}/camera.mkv",
            "caption": "a street" if index % 2 else "overcast day, soft light",
        })  # fmt: skip
    manifest = folder / "manifest.jsonl"
    manifest.write_text("\n".join(map(json.dumps, rows)))
    return manifest


def write_clip(path: Path, frames: Frames) -> None:
    """Write frames uint8 [F, H, W, 3] without loss, in a folder made for them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with ClipWriter(path, ClipInfo(WIDTH, HEIGHT, Fraction(16)), codec="lossless") as writer:
        writer.write(frames)


def config(manifest: Path, checkpoint: Path, output: Path, **changes: Any) -> dict[str, Any]:
    """Give a config's values: four steps of each expert, two clips a step, in float32 on the CPU."""
    values: dict[str, Any] = {
        "profile": "wan2.2-a14b",
        "model_dir": str(checkpoint),
        "profile_changes": {"size": {"width": WIDTH, "height": HEIGHT}, "window": {"num_frames": 5, "overlap": 1}},
        "output": str(output),
        "device": "cpu",
        "data": {
            "manifest": str(manifest), "workers": 0, "batch_size": 1, "accumulation": 2,
            "cache": str(manifest.parent / "cache"), "encode": {"buckets": [f"{WIDTH}x{HEIGHT}x{FRAMES}"]},
        },
        "adapter": {"rank": 4, "alpha": 4},
        "experts": {"transformer": {"num_steps": 4, "learning_rate": 0.01}},
        "optimizer": {"warmup_steps": 0},
        "memory": {"dtype": "float32"},
        "checkpoints": {"every": 2},
        "trackers": [],
    }  # fmt: skip
    return _merge(values, changes)


def losses(output: Path) -> list[tuple[int, str, float]]:
    """Read (step, expert, loss) of every step from a run's log."""
    lines = [json.loads(line) for line in (output / "log.jsonl").read_text().splitlines()]
    return [(line["step"], line["expert"], line["loss"]) for line in lines if "loss" in line]


def _merge(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(values)
    for key, change in changes.items():
        before = merged.get(key)
        merged[key] = _merge(before, change) if isinstance(before, dict) and isinstance(change, dict) else change
    return merged


def main(path: Path) -> None:
    """Run a config; the variable KILL_AFTER_STEP has the process killed, as by power failure, after that step."""
    from realmaster.training.run import Run, train
    from realmaster.training.settings import TrainSettings

    last = int(os.environ.get("KILL_AFTER_STEP", "0"))
    take_step = Run.take_step

    def take_and_die(self: Run, *arguments: Any) -> None:
        take_step(self, *arguments)
        if self.step == last:
            os.kill(os.getpid(), signal.SIGKILL)

    Run.take_step = take_and_die  # type: ignore[method-assign]
    train(TrainSettings.from_yaml(path))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
