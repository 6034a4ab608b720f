"""Find a checkpoint on this machine, and see from its files' headers whether it is whole and the right one.

Separate from `loading` because none of this reads weights or loads torch: what is missing, cut short or of another
revision is refused in milliseconds, with the name of the file.
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from realmaster.errors import MissingWeightsError

MODEL_DIR = "REALMASTER_MODEL_DIR"
FETCH = "fetch this file again with `realmaster models download`"


def find_checkpoint(name: str, *, folder: Path | None, hub: str | None, revision: str | None) -> Path:
    """Find a profile's checkpoint: `folder`, else REALMASTER_MODEL_DIR, else the hub's cache.

    The variable names a folder with a subfolder of the profile's name, or the checkpoint itself (it then holds
    model_index.json). Where nothing is on this machine yet, the place is returned at which it would be looked for.
    """
    if folder is not None:
        return folder
    named = os.environ.get(MODEL_DIR)
    if named:
        within = Path(named).expanduser().absolute()
        return within if (within / "model_index.json").is_file() else within / name
    from huggingface_hub.constants import HF_HUB_CACHE

    assert hub is not None, "a checkpoint has a folder or is on the hub"
    assert revision is not None, "a checkpoint on the hub has a revision"
    return Path(HF_HUB_CACHE) / f"models--{hub.replace('/', '--')}" / "snapshots" / revision


def read_revision(folder: Path) -> str | None:
    """Read which commit of a hub's repository a folder holds; None where nothing says so.

    A snapshot of the hub's cache is named by it; a folder that the hub's client filled keeps it beside each file.
    """
    if folder.parent.name == "snapshots":
        return folder.name
    for record in sorted((folder / ".cache" / "huggingface" / "download").rglob("*.metadata")):
        lines = record.read_text(encoding="utf-8").splitlines()
        if lines and lines[0]:
            return lines[0].strip()
    return None


def check_revision(folder: Path, *, hub: str | None, revision: str | None) -> None:
    """Refuse a checkpoint of another revision than the profile's, where the folder says which it is.

    Raises:
        MissingWeightsError: with both revisions.
    """
    found = read_revision(folder)
    if hub is None or revision is None or found is None or found == revision:
        return
    raise MissingWeightsError(
        f"{folder}: expected revision {revision} of {hub}, got {found}: fetch it again with `realmaster models "
        f"download`, or accept this one with --set checkpoint.revision={found} (`train`: under profile_changes)"
    )


def check_parts(folder: Path, parts: Iterable[str], *, remedy: str) -> None:
    """Refuse a checkpoint with a part missing, a damaged `config.json`, or a file cut short.

    Raises:
        MissingWeightsError: naming every part that is not there, or the first file that is missing, damaged or cut.
    """
    parts = list(parts)
    absent = [part for part in parts if not (folder / part).is_dir()]
    if absent:
        raise MissingWeightsError(f"expected the weights of {', '.join(absent)} in {folder}, found none: {remedy}")
    for part in parts:
        if not any((folder / part).glob("*.json")):
            raise MissingWeightsError(
                f"expected the settings (*.json) of {part} in {folder / part}, found none: {remedy}"
            )
        if part == "tokenizer":
            continue
        read_config(folder / part / "config.json", remedy=remedy)
        for file in list_weights(folder / part, remedy=remedy):
            _check_whole(file, remedy)


def read_config(path: Path, *, needs: Iterable[str] = (), remedy: str = FETCH) -> dict[str, Any]:
    """Read the settings of a part of a checkpoint (`config.json`); those in `needs` have to be there.

    Raises:
        MissingWeightsError: the file is missing or damaged; the message names it and says `remedy`.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        reason = (getattr(error, "strerror", None) or str(error)).lower()
        raise MissingWeightsError(f"{path}: expected readable settings, got none ({reason}): {remedy}") from error
    if not isinstance(values, dict):
        raise MissingWeightsError(f"{path}: expected settings, NAME: VALUE, got a {type(values).__name__}: {remedy}")
    if absent := [name for name in needs if name not in values]:
        raise MissingWeightsError(f"{path}: expected settings with {absent[0]}, there is none: {remedy}")
    return values


@contextmanager
def readable(folder: Path, parts: Sequence[str], *, remedy: str) -> Iterator[None]:
    """Read parts of a checkpoint within: what the libraries cannot read becomes one line with the damaged file.

    Raises:
        MissingWeightsError: naming the settings that are damaged, else the folder, and saying `remedy`.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, ValueError, SafetensorError) as error:
        for file in (file for part in parts for file in sorted((folder / part).glob("*.json"))):
            read_config(file, remedy=remedy)
        where = folder / parts[0] if len(parts) == 1 else folder
        reason = (str(error) or repr(error)).splitlines()[0]
        raise MissingWeightsError(
            f"expected whole weights in {where}, could not read them ({reason}): {remedy}"
        ) from error


def list_weights(part: Path, *, remedy: str) -> list[Path]:
    """List the safetensors files of one part: those its index names, or the one there is.

    Raises:
        MissingWeightsError: a file that the index names is not there, or there is none at all.
    """
    for index in sorted(part.glob("*.safetensors.index.json")):
        try:
            names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (ValueError, KeyError, AttributeError) as error:
            raise MissingWeightsError(f"{index}: expected an index of weights, could not read it: {remedy}") from error
        files = [part / str(name) for name in names]
        absent = [file.name for file in files if not file.is_file()]
        if absent:
            raise MissingWeightsError(
                f"{part}: expected the {len(files)} files of {index.name}, {absent[0]} is missing "
                f"({len(absent)} of them are): {remedy}"
            )
        return files
    files = sorted(part.glob("*.safetensors"))
    if not files:
        raise MissingWeightsError(f"expected weights (.safetensors) in {part}, found none: {remedy}")
    return files


def read_header(file: Path) -> tuple[dict[str, Any], int]:
    """Read a safetensors file's header: dtype, shape and place of every tensor, and the byte at which tensors begin.

    Raises:
        MissingWeightsError: the file has no such header.
    """
    try:
        with file.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            header = json.loads(stream.read(min(length, 100_000_000)))
    except (OSError, ValueError, struct.error) as error:
        raise MissingWeightsError(
            f"could not read {file}: expected a safetensors file ({error}): fetch it again"
        ) from error
    return {name: value for name, value in header.items() if name != "__metadata__"}, 8 + length


def _check_whole(file: Path, remedy: str) -> None:
    tensors, begin = read_header(file)
    expected = begin + max((value["data_offsets"][1] for value in tensors.values()), default=0)
    size = file.stat().st_size
    if size != expected:
        raise MissingWeightsError(f"could not read {file}: expected {expected} bytes, got {size}: {remedy}")
