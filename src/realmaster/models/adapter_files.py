"""LoRA files in the formats of the field: read any of them, write any of them, lose nothing.

Separate because it knows files and no models. In memory a LoRA is always in diffusers' names with its alpha beside
it: what it adds to a module's weight is alpha / rank * (up @ down). No format makes us multiply alpha into the tensors,
so a round trip returns the same bits. The reader opens safetensors alone and says in one line what does not belong.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmaster.errors import AdapterError, NumericalError
from realmaster.media.output import cannot_write, temporary
from realmaster.models.adapter_metadata import KEY, AdapterMetadata, read_header
from realmaster.models.adapter_names import DIFFUSERS_PREFIX, Format, LoraKey, Part, read_key, write_key

if TYPE_CHECKING:
    from torch import Tensor

DIFFUSERS_KEY = "lora_adapter_metadata"
"""Where diffusers keeps a LoRA's configuration in the header, and reads alpha from."""


@dataclass(frozen=True)
class Lora:
    """The weights of one expert's LoRA, and the file they came from or go to.

    `pairs` maps a module of the diffusers transformer to (down [rank, in], up [out, rank]).
    """

    path: Path
    pairs: dict[str, tuple[Tensor, Tensor]]
    rank: int
    alpha: float
    form: Format
    metadata: AdapterMetadata | None
    says_alpha: bool

    @property
    def scale(self) -> float:
        """Factor of up @ down."""
        return self.alpha / self.rank

    def diffusers_state(self) -> dict[str, Tensor]:
        """Give the tensors under diffusers' names, prefix included."""
        return _named(self.pairs, "diffusers")


def read_lora(path: Path) -> Lora:
    """Read a LoRA of a Wan transformer in any format.

    Raises:
        AdapterError: the file is no safetensors file, holds tensors that are no LoRA of Wan, lacks half of a pair,
            mixes ranks or alphas, or its numbers are not finite.
    """
    from safetensors.torch import load_file

    header = read_header(path)
    metadata = None
    if KEY in header:
        metadata = AdapterMetadata.from_header(header[KEY], path)
    parts: dict[str, dict[Part, Tensor]] = {}
    forms: Counter[Format] = Counter()
    foreign = []
    for name, tensor in load_file(path).items():
        known = read_key(name)
        if known is None:
            foreign.append(name)
            continue
        key, form = known
        forms[form] += 1
        if key.part in parts.setdefault(key.module, {}):
            raise AdapterError(
                f"{path}: expected each tensor once, {name} is there under two names: get the file again"
            )
        parts[key.module][key.part] = tensor
    if foreign or not parts:
        what = (
            f"got {min(foreign)!r}" + (f" and {len(foreign) - 1} more" if foreign[1:] else "")
            if foreign
            else "got none"
        )
        raise AdapterError(
            f"{path}: expected the LoRA tensors of a Wan transformer alone, {what}, which does not fit: "
            "choose a LoRA of Wan that changes linear layers only"
        )
    if len(forms) > 1:
        raise AdapterError(f"{path}: expected one way of naming tensors, got {' and '.join(sorted(forms))}: convert it")
    form = next(iter(forms))
    pairs = _pairs(path, parts)
    rank = _one(path, "rank", {module: down.shape[0] for module, (down, _) in pairs.items()})
    alphas = {module: float(found["alpha"]) for module, found in parts.items() if "alpha" in found}
    if alphas or (form != "diffusers" and metadata is not None):  # where it is absent it is the rank
        alphas = {module: alphas.get(module, float(rank)) for module in pairs}
    stored = _one(path, "alpha", alphas) if alphas else _alpha_of_header(path, header, rank)
    if metadata is not None and (metadata.rank != rank or stored not in (None, metadata.alpha)):
        raise AdapterError(
            f"{path}: expected rank {metadata.rank} and alpha {metadata.alpha:g} as the metadata says, the tensors "
            f"have {rank} and {rank if stored is None else stored:g}: the file was changed, get it again"
        )
    known_alpha = metadata.alpha if metadata is not None else stored
    alpha = float(rank) if known_alpha is None else known_alpha
    return Lora(path, pairs, rank, alpha, form, metadata, says_alpha=known_alpha is not None)


def write_lora(lora: Lora, path: Path, form: Format) -> None:
    """Write a LoRA in a format, with its metadata in the header, whole or not at all.

    In `diffusers` alpha stands in the header, where diffusers' own loader finds it; in `comfyui` and `kohya` it is a
    tensor beside each pair (ComfyUI's is left out where it equals the rank, which is what its absence means).
    """
    import torch

    tensors = _named(lora.pairs, form)
    header = {"format": "pt"}
    if form == "diffusers":
        config = {"r": lora.rank, "lora_alpha": lora.alpha, "target_modules": sorted(lora.pairs)}
        header[DIFFUSERS_KEY] = json.dumps({DIFFUSERS_PREFIX + name: value for name, value in config.items()})
    elif form == "kohya" or lora.alpha != lora.rank:
        for module in lora.pairs:
            exact = torch.float32 if torch.tensor(lora.alpha).item() == lora.alpha else torch.float64
            tensors[write_key(LoraKey(module, "alpha"), form)] = torch.tensor(lora.alpha, dtype=exact)
    if form == "kohya":
        header |= {"ss_network_module": "networks.lora_wan", "ss_network_dim": str(lora.rank)}
        header["ss_network_alpha"] = f"{lora.alpha:g}"
    if lora.metadata is not None:
        header[KEY] = lora.metadata.model_dump_json(exclude_none=True)
    write_tensors(tensors, path, header)


def write_tensors(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write a safetensors file under a temporary name, then rename it.

    Raises:
        NumericalError: a tensor holds NaN or infinity. OutputError: the disk is full. Nothing is left in either case.
    """
    for name, tensor in tensors.items():
        if not tensor.isfinite().all():
            raise NumericalError(
                f"{path}: expected finite numbers, {name} holds NaN or infinity: go back to an earlier checkpoint"
            )
    path.parent.mkdir(parents=True, exist_ok=True)
    with temporary(path) as part:
        save_tensors({name: tensor.contiguous().cpu() for name, tensor in tensors.items()}, part, header)


def save_tensors(tensors: dict[str, Tensor], path: Path, header: dict[str, str]) -> None:
    """Write a safetensors file with the permissions that any new file here gets (the library's own are its owner's).

    Raises:
        OutputError: the disk is full, or the file cannot be written.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(tensors, path, metadata=header)
    except SafetensorError as error:
        raise cannot_write(path, error) from error
    path.chmod(mode)


def _named(pairs: dict[str, tuple[Tensor, Tensor]], form: Format) -> dict[str, Tensor]:
    parts: tuple[Part, Part] = ("down", "up")
    return {
        write_key(LoraKey(module, part), form): tensor
        for module, both in pairs.items()
        for part, tensor in zip(parts, both, strict=True)
    }


def _pairs(path: Path, parts: dict[str, dict[Part, Tensor]]) -> dict[str, tuple[Tensor, Tensor]]:
    pairs = {}
    for module, found in parts.items():
        for part, name in (("down", "lora_A"), ("up", "lora_B")):
            if part not in found:
                raise AdapterError(
                    f"{path}: expected pairs of lora_A and lora_B, {module} without {name} does not fit: get it again"
                )
        down, up = found["down"], found["up"]
        if "alpha" in found and found["alpha"].numel() != 1:
            raise AdapterError(f"{path}: expected one number as the alpha of {module}, got several: get it again")
        if down.ndim != 2 or up.ndim != 2 or down.shape[0] != up.shape[1]:
            raise AdapterError(
                f"{path}: expected [rank, in] and [out, rank] at {module}, got {list(down.shape)} and "
                f"{list(up.shape)}, which does not fit: get it again"
            )
        if 0 in (*down.shape, *up.shape):
            raise AdapterError(
                f"{path}: expected a rank and sizes of at least 1 at {module}, got {list(down.shape)} and "
                f"{list(up.shape)}: get it again"
            )
        if not all(tensor.float().isfinite().all() for tensor in found.values()):
            raise AdapterError(
                f"{path}: expected finite numbers, {module} holds NaN or infinity: train or get it again"
            )
        pairs[module] = (down, up)
    return pairs


def _one(path: Path, what: str, values: dict[str, Any]) -> Any:
    """Give the one value that all modules share."""
    if len(set(values.values())) > 1:
        first, other = Counter(values.values()).most_common(2)
        odd = next(module for module, value in values.items() if value == other[0])
        raise AdapterError(
            f"{path}: expected one {what} in all modules, {odd} has {other[0]:g} and most have {first[0]:g}: such a "
            "LoRA can be stacked on an adapter, not be one"
        )
    return next(iter(values.values()))


def _alpha_of_header(path: Path, header: dict[str, str], rank: int) -> float | None:
    """Read alpha where diffusers writes it; None where the header says nothing."""
    if DIFFUSERS_KEY not in header:
        return None
    try:
        config = {
            name.removeprefix(DIFFUSERS_PREFIX): value for name, value in json.loads(header[DIFFUSERS_KEY]).items()
        }
        special = [name for name in ("rank_pattern", "alpha_pattern", "use_dora", "use_rslora") if config.get(name)]
        alpha, stored_rank = float(config["lora_alpha"]), int(config["r"])
    except (ValueError, KeyError, AttributeError, TypeError) as error:
        raise AdapterError(
            f"{path}: expected a LoRA's configuration in the header, got {error!r}: get it again"
        ) from error
    if special or stored_rank != rank:
        what = special[0] if special else f"r = {stored_rank} over tensors of rank {rank}"
        raise AdapterError(f"{path}: expected a plain LoRA of one rank, its header has {what}: save it as a plain LoRA")
    return alpha
