"""The record of one clip: where it came from, what made it, every score, kept or not and why.

Separate from the stages that fill it, because filter, inspection, export and import know a set by its records alone. A
record is written last, by rename: what has one is whole. It holds no times and no host, so the same clip made twice is
the same bytes.

    records/<clip>.json   videos/<clip>/{engine,camera,control}.mp4   videos/<clip>/anchor_0000.png
    manifest.jsonl   train.jsonl   validation.jsonl
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from realmaster.config import Settings
from realmaster.errors import ConfigError, DataError
from realmaster.media.output import temporary

Split = Literal["train", "validation"]
SPLITS: tuple[Split, ...] = ("train", "validation")
RECORDS = "records"
MANIFEST = "manifest.jsonl"


class ClipSource(Settings):
    """Where a clip was cut from, and how it is shown."""

    source: str = Field(description="name of the source in the set's settings")
    video: str = Field(description="name of the video in the source")
    first_frame: int = Field(ge=0, description="first frame, counted in the source's own frames")
    source_rate: str = Field(description="frames a second of the source, as a fraction")
    frame_rate: int = Field(ge=1, description="frames a second of the clip; frames are repeated up to it")
    num_frames: int = Field(ge=1, description="frames of the clip")
    height: int = Field(ge=1, description="pixels")
    width: int = Field(ge=1, description="pixels")


class PlannedClip(Settings):
    """One clip of the plan: everything that decides it, beside the set's settings."""

    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=160, description="name of its files")
    split: Split
    seed: int = Field(ge=0, lt=2**32, description="shared by its edits and its propagation")
    caption: str = Field(description="what is to be seen; the manifest's caption")
    cut: ClipSource


class Record(Settings):
    """What became of one clip."""

    clip: PlannedClip
    settings: str = Field(description="digest of the settings that decide pictures")
    prompts: Mapping[str, str] = Field({}, description="what the editor and the propagator were asked for")
    anchors: tuple[int, ...] = Field((), description="frames that were edited")
    models: Mapping[str, Any] = Field({}, description="editor, propagator and scorer as they describe themselves")
    facts: Mapping[str, Any] = Field({}, description="what the stages found, by stage; no times")
    scores: Mapping[str, float] = Field({}, description="every score, so that a threshold can change later")
    accepted: bool
    reason: str | None = Field(None, description="why not, in one line")
    rejected_at: str | None = Field(None, description="the stage that gave up; None where only filters spoke")
    files: Mapping[str, str] = Field({}, description="engine, camera, control, anchor_0000, ...: paths within the set")

    @field_validator("files")
    @classmethod
    def _stay_within(cls, files: Mapping[str, str]) -> Mapping[str, str]:
        for name, path in files.items():
            if not is_within(path):
                raise ValueError(f"expected a path within the set for {name}, got {path!r}")
        return files

    @property
    def id(self) -> str:
        """Name of the clip."""
        return self.clip.id

    @property
    def is_scored(self) -> bool:
        """Whether there is a result whose scores thresholds can judge again."""
        return "camera" in self.files

    def decided(self, accepted: bool, reason: str | None) -> Self:
        """Give this record with another decision."""
        return self.model_copy(update={"accepted": accepted, "reason": reason})

    def as_json(self) -> str:
        """Write the record as text, always alike."""
        return json.dumps(self.model_dump(mode="json"), indent=1, sort_keys=True, ensure_ascii=False) + "\n"

    def row(self) -> dict[str, Any]:
        """Give its row of the manifest, in the columns that `realmaster train` and LTX-2's trainer read."""
        cut = self.clip.cut
        row: dict[str, Any] = {
            "id": self.id,
            "video": self.files["camera"],
            "reference_video": self.files["engine"],
            "caption": self.clip.caption,
        }
        if "control" in self.files:
            row["control_video"] = self.files["control"]
        return row | {
            "split": self.clip.split,
            "num_frames": cut.num_frames,
            "fps": cut.frame_rate,
            "width": cut.width,
            "height": cut.height,
        }


def is_within(path: str) -> bool:
    """Say whether a path, written with slashes, stays within the folder it is relative to."""
    parts = PurePosixPath(path).parts
    return bool(parts) and not path.startswith("/") and ".." not in parts and "\\" not in path and ":" not in parts[0]


def parse_record(text: str, where: str) -> Record:
    """Read a record from its text.

    Raises:
        DataError: it is no record, was edited into nonsense, or names a file outside the set.
    """
    try:
        return Record.from_mapping(json.loads(text), source=where)
    except (ValueError, ConfigError) as error:
        reason = str(error).splitlines()[0].removeprefix(f"{where}: ")
        raise DataError(
            f"{where}: expected the record of a clip ({reason}): remove it, and the clip is made again"
        ) from error


def record_file(folder: Path, clip: str) -> Path:
    """Name the file of a clip's record."""
    return folder / RECORDS / f"{clip}.json"


def read_record(path: Path) -> Record:
    """Read one record.

    Raises:
        DataError: it cannot be read, or is no record; the message names the file.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{path}: expected the record of a clip, could not read it ({reason})") from error
    record = parse_record(text, str(path))
    if record.id != path.stem:
        raise DataError(f"{path}: expected the record of {path.stem}, found that of {record.id}: restore its name")
    return record


def read_records(folder: Path) -> list[Record]:
    """Read all records of a set, by name.

    Raises:
        DataError: the folder is no set, or a record cannot be read.
    """
    records = folder / RECORDS
    if not records.is_dir():
        raise DataError(
            f"{folder}: expected a set of pairs with a folder {RECORDS}/, found none: name the set's folder"
        )
    return [read_record(path) for path in sorted(records.glob("[!.]*.json"))]  # a hidden one is being written


def write_record(folder: Path, record: Record) -> None:
    """Put a record in place.

    Raises:
        OutputError: it cannot be written.
    """
    path = record_file(folder, record.id)
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path) as part:
        part.write_text(record.as_json(), encoding="utf-8")


def write_manifests(folder: Path, records: list[Record] | None = None) -> dict[str, int]:
    """Rebuild the manifests from the accepted records; give the rows of each file.

    `manifest.jsonl` has every row; each split has a file of its own, which exists when it has a row.

    Raises:
        DataError: a record cannot be read. OutputError: a manifest cannot be written.
    """
    manifests = manifests_of(read_records(folder) if records is None else records)
    for name, lines in manifests.items():
        if lines or name == MANIFEST:
            with temporary(folder / name) as part:
                part.write_text("".join(lines), encoding="utf-8")
        else:
            (folder / name).unlink(missing_ok=True)
    return {name: len(lines) for name, lines in manifests.items()}


def manifests_of(records: Iterable[Record]) -> dict[str, list[str]]:
    """Give the lines of each manifest, ends of line included."""
    kept = [record for record in records if record.accepted]
    chosen = {MANIFEST: kept} | {f"{split}.jsonl": [r for r in kept if r.clip.split == split] for split in SPLITS}
    return {
        name: [json.dumps(record.row(), ensure_ascii=False) + "\n" for record in found]
        for name, found in chosen.items()
    }
