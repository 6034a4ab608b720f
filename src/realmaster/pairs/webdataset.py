"""Archives of clips in WebDataset's layout, written and read: `<clip>.camera.mp4`, `<clip>.engine.mp4`, `<clip>.json`.

Separate from the other formats because clips are packed, not listed. Archives hold no times and no owners: the same
clips give the same bytes. Files of a clip stand together, as streaming readers want them; what they share is the name
up to its first dot, so a dot within a clip's own name becomes "_".
"""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from realmaster.errors import DataError
from realmaster.pairs.record import Record
from realmaster.pairs.store import Store

_MEMBER = re.compile(r"^([A-Za-z0-9][A-Za-z0-9_-]*)\.((?:engine|camera|control)\.[a-z0-9]+|txt|json)$")
_MOST_TEXT = 10_000_000  # bytes of a text member


@dataclass(frozen=True)
class PackedClip:
    """One clip of an archive, unpacked into files."""

    id: str
    engine: Path
    camera: Path
    caption: str
    split: object = None  # as it was written


def write_shards(store: Store, records: Sequence[Record], output: Path, *, shard_bytes: int) -> str:
    """Pack clips into `pairs-000000.tar`, ... of at most `shard_bytes` (one clip at least); give the pattern's name."""
    number, size = -1, shard_bytes
    archive: tarfile.TarFile | None = None
    try:
        for record in records:
            name = record.id.replace(".", "_")
            members = {
                f"{name}.{look}{Path(record.files[look]).suffix}": store.reading(record.files[look])
                for look in ("camera", "control", "engine")
                if look in record.files
            }
            length = sum(path.stat().st_size for path in members.values())
            if archive is None or size + length > shard_bytes:
                if archive is not None:
                    archive.close()
                number, size = number + 1, 0
                archive = tarfile.open(output / f"pairs-{number:06d}.tar", "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115, closed below
            for member, path in members.items():
                with path.open("rb") as stream:
                    archive.addfile(_entry(member, path.stat().st_size), stream)
            row = record.row() | {"scores": dict(record.scores)}
            for ending, text in (("txt", record.clip.caption), ("json", _json(row))):
                data = text.encode()
                archive.addfile(_entry(f"{name}.{ending}", len(data)), io.BytesIO(data))
            size += length
            store.forget(f"videos/{record.id}")
    finally:
        if archive is not None:
            archive.close()
    return "pairs-000000.tar" if number == 0 else f"pairs-{{000000..{number:06d}}}.tar"


def read_shard(path: Path, folder: Path) -> Iterator[PackedClip | DataError]:
    """Unpack an archive clip by clip into `folder`; members of other names are passed over.

    An error stands in place of a clip that lacks a look, and at the end of an archive that ends early or is none.
    """
    try:
        with tarfile.open(path) as archive:
            clip = ""
            members: dict[str, Path] = {}
            for member in archive:
                found = _MEMBER.match(PurePosixPath(member.name).name)
                if found is None or not member.isfile():
                    continue
                if found[1] != clip and clip:
                    yield _clip(clip, members, path)
                    members = {}
                clip = found[1]
                stream = archive.extractfile(member)
                assert stream is not None  # it is a file
                if found[2] in ("txt", "json") and member.size > _MOST_TEXT:
                    yield DataError(f"{path}: expected a short text {member.name}, got {member.size} bytes: remove it")
                    continue
                target = folder / f"{clip}.{found[2]}"
                with target.open("wb") as file:
                    while chunk := stream.read(1 << 20):
                        file.write(chunk)
                members[found[2]] = target
            if clip:
                yield _clip(clip, members, path)
    except (tarfile.TarError, EOFError) as error:
        yield DataError(f"{path}: expected a whole tar archive, could not read it ({error}): export it again")


def _clip(name: str, members: dict[str, Path], archive: Path) -> PackedClip | DataError:
    looks = {look: file for kind, file in members.items() for look in ("engine", "camera") if kind.startswith(look)}
    missing = [look for look in ("engine", "camera") if look not in looks]
    if missing:
        return DataError(f"{archive}: expected {name}.{missing[0]}.mp4 in it, found none: pack both looks of a clip")
    try:
        values = json.loads(members["json"].read_text(encoding="utf-8")) if "json" in members else {}
        caption = members["txt"].read_text(encoding="utf-8") if "txt" in members else None
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        return DataError(f"{archive}: expected a caption as text or JSON, could not read it ({error}): mend it")
    values = values if isinstance(values, dict) else {}
    caption = str(values.get("caption", "")) if caption is None else caption
    return PackedClip(name, looks["engine"], looks["camera"], caption.strip(), values.get("split"))


def _entry(name: str, size: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)  # time 0, owner 0
    entry.size = size
    entry.mode = 0o644
    return entry


def _json(row: dict[str, object]) -> str:
    return json.dumps(row, sort_keys=True, ensure_ascii=False)
