"""The record of one clip: where it came from, what made it, every score, kept or not and why.

Separate from the stages that fill it, because filter, inspection, export and import know a set by its records alone. A
record is written last, by rename: what has one is whole. It holds no times and no host, so the same clip made twice is
the same bytes.

    records/<clip>.json   videos/<clip>/{engine,camera,control}.mp4   videos/<clip>/anchor_0000.png
    manifest.jsonl   train.jsonl   validation.jsonl
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, Literal, Self

from pydantic import Field, field_validator

from realmaster.config import Settings
from realmaster.errors import ConfigError, DataError
from realmaster.pairs.store import Place, Store, folder_of, open_store, read_text, write_text

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
        DataError: it is no record, was edited into nonsense (NaN and infinity are), or names a file outside the set.
    """
    try:
        values = json.loads(text, parse_constant=_finite, parse_float=_finite)
        return Record.from_mapping(values, source=where)
    except (ValueError, ConfigError) as error:
        reason = str(error).splitlines()[0].removeprefix(f"{where}: ")
        raise DataError(
            f"{where}: expected the record of a clip ({reason}): remove it, and the clip is made again"
        ) from error


def _finite(written: str) -> float:
    number = float(written)
    if not math.isfinite(number):
        raise ValueError(f"found {written} where a number belongs")
    return number


def record_file(clip: str) -> str:
    """Name the file of a clip's record within a set."""
    return f"{RECORDS}/{clip}.json"


def read_record(place: Place, clip: str) -> Record:
    """Read the record of a clip.

    Raises:
        DataError: it cannot be read, or is no record of that clip; the message names the file.
    """
    store = open_store(place)
    name = record_file(clip)
    where = f"{store.root}/{name}"
    try:
        text = read_text(store, name)
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8 text"
        raise DataError(f"{where}: expected the record of a clip, could not read it ({reason})") from error
    record = parse_record(text, where)
    if record.id != clip:
        raise DataError(f"{where}: expected the record of {clip}, found that of {record.id}: restore its name")
    return record


def existing_set(place: Place) -> Store:
    """Open a set that is there already.

    Raises:
        DataError: there is none.
    """
    folder = folder_of(place)
    if not (open_store(place).names(RECORDS) if folder is None else (folder / RECORDS).is_dir()):
        raise DataError(f"{place}: expected a set of pairs with a folder {RECORDS}/, found none: name the set's folder")
    return open_store(place)


def read_records(place: Place) -> list[Record]:
    """Read all records of a set, by name.

    Raises:
        DataError: there is no set, or a record cannot be read.
    """
    store = existing_set(place)
    names = [Path(name) for name in store.names(RECORDS)]  # without hidden ones, which are being written
    return [read_record(store, name.stem) for name in names if name.suffix == ".json"]


def write_record(place: Place, record: Record) -> None:
    """Put a record in place.

    Raises:
        OutputError: it cannot be written.
    """
    write_text(open_store(place), record_file(record.id), record.as_json())


def write_manifests(place: Place, records: Iterable[Record] | None = None) -> dict[str, int]:
    """Rebuild the manifests from the accepted records; give the rows of each file.

    `manifest.jsonl` has every row; each split has a file of its own, which exists when it has a row.

    Raises:
        DataError: a record cannot be read. OutputError: a manifest cannot be written.
    """
    store = open_store(place)
    kept = [record for record in (read_records(store) if records is None else records) if record.accepted]
    chosen = {MANIFEST: kept} | {f"{split}.jsonl": [r for r in kept if r.clip.split == split] for split in SPLITS}
    for name, found in chosen.items():
        if found or name == MANIFEST:
            lines = [json.dumps(record.row(), ensure_ascii=False) + "\n" for record in found]
            write_text(store, name, "".join(lines))
        else:
            store.remove(name)
    return {name: len(found) for name, found in chosen.items()}
