"""Write the accepted clips of a set for another trainer: its columns, its files, its config.

Separate from `webdataset`, which packs clips into archives, because here clips stay files. What each trainer reads was
taken from its own documentation (docs/pair-files.md names the pages):

| format | list | target | reference | caption |
|---|---|---|---|---|
| ltx-trainer | dataset.jsonl | `video` | `reference_video` | `caption` |
| diffsynth | metadata.csv | `video` | `vace_video` | `prompt` |
| musubi | <frames>.jsonl and dataset.toml | `video_path` | `control_path` | `caption` |
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from realmaster.errors import DataError, OutputError
from realmaster.media.output import check_output, put_in_place, remove, temporary_path
from realmaster.pairs.record import Record, Split, read_records
from realmaster.pairs.store import Place, Store, open_store
from realmaster.pairs.webdataset import write_shards

Format = Literal["ltx-trainer", "diffsynth", "musubi", "webdataset"]
FORMATS: tuple[Format, ...] = ("ltx-trainer", "diffsynth", "musubi", "webdataset")
LOOKS = ("engine", "camera", "control")


@dataclass(frozen=True)
class Exported:
    """What was written: clips, the list that a trainer is given, and what it may not like."""

    num_clips: int
    index: Path
    warnings: tuple[str, ...]


def export_set(
    place: Place,
    output: Path,
    form: Format,
    *,
    split: Split | None = None,
    hardlinks: bool = False,
    overwrite: bool = False,
    shard_bytes: int = 1_000_000_000,
) -> Exported:
    """Write the accepted clips of a set into the new folder `output`, whole or not at all.

    Args:
        place: a set of pairs.
        output: a new folder.
        form: whose conventions; see `FORMATS`.
        split: the clips of this split; None takes all of them.
        hardlinks: share the files with the set instead of copying them; both must be on one disk.
        overwrite: replace a folder that exists.
        shard_bytes: webdataset: largest archive.

    Raises:
        DataError: there is no set, a record cannot be read, a file is gone, or no clip is left to export.
        OutputError: the output exists, cannot be written, or cannot share files with the set.
    """
    records = [r for r in read_records(place) if r.accepted and (split is None or r.clip.split == split)]
    if not records:
        of = f" of the split {split}" if split else ""
        raise DataError(f"{place}: expected accepted clips{of} to export, found none: lower a threshold, or build more")
    store = open_store(place)
    if hardlinks and store.folder is None:
        raise OutputError(f"{store.root}: expected a set in a folder to share its files, got an address: copy them")
    for record in records:
        for look in LOOKS:
            if look in record.files and not store.exists(record.files[look]):
                raise DataError(
                    f"{store.root}/{record.files[look]}: expected this file, found none: remove "
                    f"records/{record.id}.json and build again"
                )
    check_output(output, overwrite=overwrite, inputs=[] if store.folder is None else [store.folder])
    part = temporary_path(output)
    try:
        part.mkdir()
        if form == "webdataset":
            index = write_shards(store, records, part, shard_bytes=shard_bytes)
        else:
            for record in records:
                _place(store, record, part, hardlinks=hardlinks)
            index = _LISTS[form](records, part)
        put_in_place(part, output, overwrite=overwrite)
    finally:
        remove(part)
    return Exported(len(records), output / index, _warnings(records, form))


def _place(store: Store, record: Record, output: Path, *, hardlinks: bool) -> None:
    for look in LOOKS:
        if look not in record.files:
            continue
        target = output / record.files[look]
        target.parent.mkdir(parents=True, exist_ok=True)
        file = store.reading(record.files[look])
        if not hardlinks:
            shutil.copyfile(file, target)
            continue
        try:
            os.link(file, target)
        except OSError as error:
            raise OutputError(
                f"{output}: expected a place that can share files with {store.root}, it cannot ({error.strerror}): "
                "export without --hardlinks"
            ) from error
    store.forget(f"videos/{record.id}")


def _ltx(records: Sequence[Record], output: Path) -> str:
    _write_rows(
        output / "dataset.jsonl",
        [
            {"caption": r.clip.caption, "video": r.files["camera"], "reference_video": r.files["engine"]}
            for r in records
        ],
    )
    return "dataset.jsonl"


def _diffsynth(records: Sequence[Record], output: Path) -> str:
    """An empty prompt is written as a space: its reader takes an empty cell for a missing number."""
    text = io.StringIO()
    table = csv.writer(text, lineterminator="\n")
    table.writerow(["video", "prompt", "vace_video"])
    table.writerows([r.files["camera"], r.clip.caption or " ", r.files["engine"]] for r in records)
    (output / "metadata.csv").write_text(text.getvalue(), encoding="utf-8")
    return "metadata.csv"


def _musubi(records: Sequence[Record], output: Path) -> str:
    """One list for each size and length: a dataset of its config has one resolution and one number of frames."""
    groups: dict[tuple[int, int, int], list[Record]] = defaultdict(list)
    for record in records:
        cut = record.clip.cut
        groups[cut.width, cut.height, cut.num_frames].append(record)
    lines = ["# Run the trainer from this folder: the paths are relative to it.", "[general]", "batch_size = 1"]
    lines += ["enable_bucket = true", "bucket_no_upscale = true"]
    for (width, height, num_frames), same in sorted(groups.items()):
        name = f"{width}x{height}x{num_frames}"
        _write_rows(
            output / f"{name}.jsonl",
            [
                {"video_path": r.files["camera"], "control_path": r.files["engine"], "caption": r.clip.caption}
                for r in same
            ],
        )
        lines += ["", "[[datasets]]", f"resolution = [{width}, {height}]", f'video_jsonl_file = "{name}.jsonl"']
        lines += [f'cache_directory = "cache/{name}"', f"target_frames = [{num_frames}]", 'frame_extraction = "head"']
    (output / "dataset.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return "dataset.toml"


_LISTS: dict[str, Callable[[Sequence[Record], Path], str]] = {
    "ltx-trainer": _ltx,
    "diffsynth": _diffsynth,
    "musubi": _musubi,
}


def _write_rows(path: Path, rows: Sequence[dict[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _warnings(records: Sequence[Record], form: Format) -> tuple[str, ...]:
    """Say what the trainer will cut: its autoencoder wants other lengths or sides."""
    time, space = (8, 32) if form == "ltx-trainer" else (4, 16)
    cuts = {(r.clip.cut.width, r.clip.cut.height, r.clip.cut.num_frames) for r in records}
    odd = sorted(c for c in cuts if (c[2] - 1) % time or c[0] % space or c[1] % space)
    if form == "webdataset" or not odd:
        return ()
    shapes = ", ".join(f"{width}x{height}x{frames}" for width, height, frames in odd)
    return (f"{form} wants {time}n+1 frames and sides in multiples of {space}: it will cut {shapes}",)
