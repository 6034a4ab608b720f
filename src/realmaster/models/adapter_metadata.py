"""What an adapter says of itself, and where the files of its experts are.

Separate because it is read before anything heavy is loaded: a command refuses a wrong adapter in its first second.
An adapter is one file for a base with one transformer, and two for a base with a high-noise and a low-noise expert:
`NAME_high_noise.safetensors` and `NAME_low_noise.safetensors`, each whole in itself.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field

from realmaster.config import Settings
from realmaster.errors import AdapterError, ConfigError
from realmaster.types import VideoShape

Expert = Literal["transformer", "transformer_2"]
TAGS: dict[Expert, str] = {"transformer": "high_noise", "transformer_2": "low_noise"}
"""How the files of a two-expert base are told apart (names of the field)."""
KEY = "realmaster"
"""Where the metadata lives in the header of a safetensors file."""


class AdapterMetadata(Settings):
    """What an adapter was trained on and how it has to be used."""

    base_model: str = Field(description="checkpoint that the LoRA was trained over: hub id, or name of a shipped one")
    base_revision: str | None = Field(None, description="revision of that checkpoint; None where it has none")
    profile: str | None = Field(None, description="profile that it was trained with")
    rank: int = Field(ge=1, description="rank of every matrix")
    alpha: float = Field(gt=0, description="scale: alpha / rank")
    reference: Literal["cached", "joint"] = Field(description="how the reference was read in training")
    reference_scale: int = Field(1, ge=1, description="how much smaller the reference's sides are")
    reference_adapted: bool = Field(True, description="whether the LoRA is on while a cached reference is read")
    frame_rate: int = Field(16, ge=1, description="frames a second of the training clips")
    sizes: tuple[VideoShape, ...] = Field((), description="sizes of the training clips, in pixels")
    expert: Expert = Field("transformer", description="the expert it belongs to")
    experts: tuple[Expert, ...] = Field((), description="every expert that the run trained; () is this one alone")
    data_digest: str | None = Field(None, description="digest of the training data")
    realmaster_version: str | None = Field(None, description="version of RealMaster that wrote the file")

    @property
    def scale(self) -> float:
        """Factor of the product of the two matrices."""
        return self.alpha / self.rank

    @property
    def all_experts(self) -> tuple[Expert, ...]:
        """Every expert of the adapter, this one among them."""
        return self.experts or (self.expert,)

    @property
    def bases(self) -> set[str]:
        """The names under which its base is known: the checkpoint's and the profile's."""
        return {name for name in (self.base_model, self.profile) if name is not None}

    @classmethod
    def from_header(cls, stored: str, path: Path) -> Self:
        """Read the words in a file's header.

        Raises:
            AdapterError: they are broken, or of a later version that says more.
        """
        try:
            values: Any = json.loads(stored)
            return cls.from_mapping(values, source=str(path))
        except (json.JSONDecodeError, ConfigError) as error:
            raise AdapterError(f"{path}: expected adapter metadata that this version reads: {error}") from error


def expert_path(path: Path, expert: Expert, *, tagged: bool) -> Path:
    """Name an expert's file: `adapter.safetensors` -> `adapter_low_noise.safetensors` where experts are `tagged`."""
    stem = path.with_suffix("") if path.suffix == ".safetensors" else path
    if tagged:
        for tag in TAGS.values():
            stem = stem.with_name(stem.name.removesuffix(f"_{tag}"))
        stem = stem.with_name(f"{stem.name}_{TAGS[expert]}")
    return stem.with_name(stem.name + ".safetensors")


def find_adapter(path: Path) -> dict[Expert, Path]:
    """Find the files of an adapter: give the expert of each.

    `path` is one of the files (its sibling is found by the name), the name that both share, or a folder with one
    adapter. A file whose name holds neither high_noise nor low_noise belongs to the expert that its metadata names, as
    does one that is alone in the folder and was trained alone: `my_low_noise_scene.safetensors` may be of either.

    Raises:
        AdapterError: there is no such adapter, or the folder holds several.
    """
    if path.is_dir():
        return _only_adapter(path)
    for tag in TAGS.values():
        if tag in path.name:
            stored = read_header(path).get(KEY)
            siblings = {expert: path.with_name(path.name.replace(tag, other)) for expert, other in TAGS.items()}
            found = {expert: file for expert, file in siblings.items() if file.is_file()}
            if len(found) == 1 and stored is not None:
                told = AdapterMetadata.from_header(stored, path)
                return {told.expert: path} if told.all_experts == (told.expert,) else found
            return found
    pair = {expert: expert_path(path, expert, tagged=True) for expert in TAGS}
    if not path.is_file() and (found := {expert: file for expert, file in pair.items() if file.is_file()}):
        return found
    stored = read_header(path).get(KEY)
    return {AdapterMetadata.from_header(stored, path).expert if stored is not None else "transformer": path}


def read_metadata(path: Path) -> AdapterMetadata:
    """Read what an adapter says of itself; of two files, what the high-noise expert's says.

    Raises:
        AdapterError: the file is missing, no safetensors file (pickled files are never opened), or has no metadata.
    """
    if not path.is_file():
        path = next(iter(find_adapter(path).values()))
    stored = read_header(path).get(KEY)
    if stored is None:
        raise AdapterError(
            f"{path}: expected RealMaster's metadata (base model, reference mode) in the adapter, found none: "
            "use an adapter trained by `realmaster train`, or add what it lacks with `realmaster adapter import`"
        )
    return AdapterMetadata.from_header(stored, path)


def read_header(path: Path) -> dict[str, str]:
    """Read the free text in the header of a safetensors file.

    Raises:
        AdapterError: the file is missing, or no safetensors file; it is never unpickled.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise AdapterError(f"expected an adapter (.safetensors) at {path}, found none: check the path")
    try:
        with safe_open(path, framework="pt") as file:
            header: dict[str, str] = file.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(
            f"{path}: expected a safetensors file, it is corrupt or of another kind ({error}); pickled adapters are "
            "never opened: convert it to safetensors"
        ) from error
    return header


def _only_adapter(folder: Path) -> dict[Expert, Path]:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        raise AdapterError(f"expected an adapter (.safetensors) in the folder {folder}, found none: check the path")
    found = find_adapter(files[0])
    if others := [file.name for file in files if file not in found.values()]:
        raise AdapterError(
            f"expected one adapter in the folder {folder}, found {files[0].name} and {others[0]}: name the file"
        )
    return found
