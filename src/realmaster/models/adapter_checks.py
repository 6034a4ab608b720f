"""Whether an adapter fits: its words against a profile, its tensors against a transformer.

Separate because the loader asks before it touches a transformer, and `realmaster adapter inspect` asks without one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from realmaster.errors import AdapterError
from realmaster.models.adapter_files import Lora
from realmaster.models.adapter_metadata import AdapterMetadata

_BLOCK = re.compile(r"^blocks\.(\d+)\.")


def check_metadata(
    path: Path,
    metadata: AdapterMetadata,
    *,
    base_model: str,
    reference: str | None = None,
    reference_scale: int | None = None,
    expert: str | None = None,
) -> None:
    """Check what an adapter says of itself against a base (profile or hub id), a mode, a scale and an expert.

    Raises:
        AdapterError: it is for another one; None is not checked.
    """
    if base_model not in metadata.bases:
        raise AdapterError(
            f"{path}: expected an adapter for the base {base_model!r}, got one for "
            f"{metadata.profile or metadata.base_model!r}: choose the profile it was trained for"
        )
    if reference is not None and metadata.reference != reference:
        raise AdapterError(
            f"{path}: expected an adapter trained with the {reference} reference, it was trained {metadata.reference}: "
            f"run with --reference {metadata.reference}"
        )
    if reference_scale is not None and metadata.reference_scale != reference_scale:
        raise AdapterError(
            f"{path}: expected a reference at 1/{reference_scale} of the size, the adapter was "
            f"trained at 1/{metadata.reference_scale}: choose another profile"
        )
    if expert is not None and metadata.expert != expert:
        raise AdapterError(
            f"{path}: expected the adapter of the {spoken(expert)} expert, it says it is the one of the "
            f"{spoken(metadata.expert)} expert: give each file its own name"
        )


def linear_sizes(transformer: Any) -> dict[str, tuple[int, int]]:
    """List the linear layers of a transformer: module -> (out, in)."""
    return {
        name: (module.out_features, module.in_features)
        for name, module in transformer.named_modules()
        if hasattr(module, "in_features") and hasattr(module, "out_features")
    }


def check_lora(lora: Lora, sizes: Mapping[str, tuple[int, int]]) -> None:
    """Check that a LoRA covers every block of a transformer alike and has its sizes (of `linear_sizes`).

    Raises:
        AdapterError: it is for another transformer; the message names the first module that does not fit.
    """
    blocks = {match[0] for name in sizes if (match := _BLOCK.match(name))}
    kinds = {_BLOCK.sub("", name) for name in lora.pairs if _BLOCK.match(name)}
    outside = {name for name in lora.pairs if not _BLOCK.match(name)}
    expected = {block + kind for block in blocks for kind in kinds} | outside & sizes.keys()
    if odd := sorted(lora.pairs.keys() ^ expected):
        raise AdapterError(
            f"{lora.path}: expected the LoRA tensors of this base, {odd[0]} does not fit: choose its own base"
        )
    for module, (down, up) in lora.pairs.items():
        got = (up.shape[0], down.shape[1])
        if module not in sizes or sizes[module] != got:
            what = f"{sizes[module][0]} x {sizes[module][1]}" if module in sizes else "no such layer"
            raise AdapterError(
                f"{lora.path}: expected the sizes of this base, {module} is {got[0]} x {got[1]} here and {what} there, "
                "which does not fit: choose its own base"
            )


def spoken(expert: str) -> str:
    """Name an expert in a sentence."""
    return {"transformer": "high-noise (or only)", "transformer_2": "low-noise"}[expert]
