"""Small sets of pairs as the pipeline leaves them: clips, controls, anchors, records, manifests."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from realmaster.media.writer import ClipWriter
from realmaster.pairs.record import Record, write_manifests, write_record
from realmaster.pairs.thresholds import Thresholds, decide, in_words
from realmaster.types import ClipInfo
from sample_clips import scene

SCORES = {"identity": 0.62, "num_faces": 3.0, "num_faces_found": 3.0, "structure": 0.71, "flicker": 1.2}


def write_frames(path: Path, frames: np.ndarray, rate: int = 16) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with ClipWriter(path, ClipInfo(frames.shape[2], frames.shape[1], Fraction(rate)), codec="lossless") as writer:
        writer.write(frames)


def record_of(name: str, scores: dict[str, float] | None = None, **changes: Any) -> Record:
    """A record of 5 frames of 64x48 that the default thresholds have judged."""
    scores = {} if changes.get("files") == {} else {**SCORES, **(scores or {})}
    reasons = decide(scores, Thresholds())
    cut = {"source": "town", "video": name.partition("-")[0], "first_frame": 4, "source_rate": "8", "frame_rate": 16}
    values = {
        "clip": {
            "id": name,
            "split": "train",
            "seed": 7,
            "caption": f"a street, {name}",
            "cut": cut | {"num_frames": 5, "height": 48, "width": 64},
        },
        "settings": "d" * 16,
        "anchors": [0, 4],
        "models": {"editor": {"name": "nano"}},
        "scores": scores,
        "accepted": not reasons,
        "reason": in_words(reasons),
        "files": {
            **{look: f"videos/{name}/{look}.mp4" for look in ("engine", "camera", "control")},
            "anchor_0000": f"videos/{name}/anchor_0000.png",
            "anchor_0004": f"videos/{name}/anchor_0004.png",
        },
    }
    split = changes.pop("split", None)
    if split:
        values["clip"]["split"] = split
    return Record.model_validate(values | changes)


def write_clip_files(folder: Path, record: Record) -> None:
    frames = scene(5, 64, 48)
    for look, shown in (("engine", frames), ("camera", 255 - frames), ("control", np.full_like(frames, 250))):
        if look in record.files:
            write_frames(folder / record.files[look], shown)
    for name, path in record.files.items():
        if name.startswith("anchor_"):
            cv2.imwrite(str(folder / path), 255 - frames[int(name[-4:]), ..., ::-1])


def make_set(folder: Path, *records: Record) -> Path:
    """Write a set of these records; without any, two that are kept (one for validation) and one that is dropped."""
    chosen = records or (
        record_of("alley-0001"),
        record_of("alley-0002", {"identity": 0.21}),
        record_of("bridge-0001", {"flicker": 2.5}, split="validation"),
    )
    for record in chosen:
        write_clip_files(folder, record)
        write_record(folder, record)
    write_manifests(folder)
    return folder
