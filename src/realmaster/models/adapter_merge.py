"""Add an adapter to its base for good: a transformer folder in diffusers layout that needs no LoRA any more.

Separate because it works on files alone: each shard of the base is read, changed and written before the next, so that
one shard is all that is ever in memory, however large the base.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from realmaster.errors import AdapterError, MissingWeightsError, OutputError
from realmaster.media.output import temporary
from realmaster.models.adapter_checks import check_lora
from realmaster.models.adapter_files import Lora, save_tensors
from realmaster.models.adapter_metadata import KEY
from realmaster.models.checkpoint import list_weights, read_header

if TYPE_CHECKING:
    from torch import Tensor

WEIGHT = ".weight"


def merge_lora(base: Path, lora: Lora, output: Path, *, strength: float = 1.0) -> None:
    """Write the transformer in `base` with a LoRA added: W + strength * alpha / rank * (up @ down).

    `base` holds config.json and safetensors weights, in one file or in shards with an index; `output` gets the same
    files. Sums are taken in float32 and written in the base's dtype, whole folder or none.

    Raises:
        MissingWeightsError: the base has no config or lacks a file. OutputError: too little room on the disk.
        AdapterError: the LoRA is for another transformer, or the base is stored in 8 bits.
    """
    if not (base / "config.json").is_file():
        raise MissingWeightsError(f"expected a transformer in diffusers layout in {base}, found no config.json there")
    files = list_weights(base, remedy="fetch the checkpoint again")
    sizes = {}
    for file in files:
        for name, value in read_header(file)[0].items():
            if len(value["shape"]) == 2 and name.endswith(WEIGHT):
                sizes[name.removesuffix(WEIGHT)] = (value["shape"][0], value["shape"][1])
                if value["dtype"] not in ("F64", "F32", "F16", "BF16"):
                    raise AdapterError(f"{file}: expected weights of 16 bits or more, {name} is {value['dtype']}")
    check_lora(lora, sizes)
    output.parent.mkdir(parents=True, exist_ok=True)
    needed, free = sum(file.stat().st_size for file in files), shutil.disk_usage(output.parent).free
    if needed > free:
        raise OutputError(
            f"expected {needed / 1e9:.1f} GB free at {output.parent} for the merged transformer, found "
            f"{free / 1e9:.1f}: free some, or write to another disk"
        )
    with temporary(output) as folder:
        folder.mkdir()
        for file in files:
            _merge_file(file, lora, folder / file.name, strength)
        for file in sorted(base.glob("*.json")):
            shutil.copy(file, folder)


def merged(weight: Tensor, lora: Lora, module: str, *, strength: float = 1.0) -> Tensor:
    """Add a module's LoRA to its weight [out, in], in the weight's dtype."""
    down, up = lora.pairs[module]
    change = up.float() @ down.float()
    return (weight.float() + strength * lora.scale * change).to(weight.dtype)


def _merge_file(file: Path, lora: Lora, output: Path, strength: float) -> None:
    from safetensors import safe_open

    tensors = {}
    with safe_open(file, framework="pt") as shard:
        for name in shard.keys():  # noqa: SIM118 - a safetensors file is no mapping
            module = name.removesuffix(WEIGHT)
            tensor = shard.get_tensor(name)
            tensors[name] = merged(tensor, lora, module, strength=strength) if module in lora.pairs else tensor
    header = {"format": "pt"}
    if lora.metadata is not None:
        header[KEY] = lora.metadata.model_dump_json(exclude_none=True)
    save_tensors(tensors, output, header)
