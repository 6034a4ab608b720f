"""Adapter files: rank-r LoRA weights in diffusers naming, with metadata that says what they are for.

Separate because an adapter is what people exchange: the file describes itself, and a loader refuses what does not fit.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from realmaster.config import Settings
from realmaster.errors import AdapterError, ConfigError

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
"""What a LoRA covers: the attention projections and both feed-forward layers (field practice, paper section 3.2)."""

_PREFIX = "transformer."
_KEY = "realmaster"


class AdapterMetadata(Settings):
    """What an adapter was trained on and how it has to be used."""

    base_model: str = Field(description="checkpoint that the LoRA was trained over")
    rank: int = Field(ge=1, description="rank of every matrix")
    alpha: int = Field(ge=1, description="scale: alpha / rank")
    reference: Literal["cached", "joint"] = Field(description="how the reference was read in training")
    reference_scale: int = Field(1, ge=1, description="how much smaller the reference's sides are")
    frame_rate: int = Field(16, ge=1, description="frames a second of the training clips")
    expert: Literal["transformer", "transformer_2"] = Field("transformer", description="the expert it belongs to")


def add_lora(transformer: Any, *, rank: int) -> None:
    """Add a trainable LoRA to a transformer; everything else keeps its `requires_grad`."""
    from peft import LoraConfig

    transformer.add_adapter(LoraConfig(r=rank, lora_alpha=rank, target_modules=list(TARGETS), lora_dropout=0.0))


def save_adapter(transformer: Any, path: Path, metadata: AdapterMetadata) -> None:
    """Write the transformer's LoRA as one safetensors file, whole or not at all."""
    from peft.utils import get_peft_model_state_dict
    from safetensors.torch import save_file

    state = get_peft_model_state_dict(transformer)
    tensors = {_PREFIX + name: tensor.detach().half().contiguous().cpu() for name, tensor in state.items()}
    temporary = path.with_name(path.name + ".partial")
    save_file(tensors, temporary, metadata={"format": "pt", _KEY: metadata.model_dump_json()})
    temporary.replace(path)


def read_metadata(path: Path) -> AdapterMetadata:
    """Read what an adapter says of itself.

    Raises:
        AdapterError: the file is missing, no safetensors file (pickled files are never opened), or has no metadata.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise AdapterError(f"expected an adapter (.safetensors) at {path}, found none: check the path")
    try:
        with safe_open(path, framework="pt") as file:
            stored = (file.metadata() or {}).get(_KEY)
    except (SafetensorError, OSError, ValueError) as error:
        raise AdapterError(
            f"{path}: expected a safetensors file, it is corrupt or of another kind ({error}); pickled adapters are "
            "never opened: convert it to safetensors"
        ) from error
    if stored is None:
        raise AdapterError(
            f"{path}: expected RealMaster's metadata (base model, reference mode) in the adapter, found none: "
            "use an adapter trained by `realmaster train`"
        )
    try:
        return AdapterMetadata.from_mapping(json.loads(stored), source=str(path))
    except (json.JSONDecodeError, ConfigError) as error:
        raise AdapterError(f"{path}: expected readable adapter metadata: {error}") from error


def load_adapter(transformer: Any, path: Path, *, base_model: str, reference: str | None) -> AdapterMetadata:
    """Check an adapter against a base and a reference mode (None takes the adapter's own), then load it.

    Raises:
        AdapterError: it is for another base or mode, corrupt, or its tensors do not fit.
    """
    from safetensors.torch import load_file

    metadata = read_metadata(path)
    if metadata.base_model != base_model:
        raise AdapterError(
            f"{path}: expected an adapter for the base {base_model!r}, got one for {metadata.base_model!r}: "
            "choose the profile it was trained for"
        )
    if reference is not None and metadata.reference != reference:
        raise AdapterError(
            f"{path}: expected an adapter trained with the {reference} reference, it was trained {metadata.reference}: "
            f"run with --reference {metadata.reference}"
        )
    tensors = load_file(path)
    add_lora(transformer, rank=metadata.rank)
    expected = {_PREFIX + name for name in _lora_state(transformer)}
    if set(tensors) != expected:
        odd = sorted(set(tensors) ^ expected)[0]
        raise AdapterError(f"{path}: expected the LoRA tensors of this base, {odd} does not fit: choose its own base")
    from peft.utils import set_peft_model_state_dict

    try:
        set_peft_model_state_dict(transformer, {name.removeprefix(_PREFIX): t.float() for name, t in tensors.items()})
    except RuntimeError as error:
        raise AdapterError(f"{path}: expected the sizes of this base: {str(error).splitlines()[-1].strip()}") from error
    return metadata


def _lora_state(transformer: Any) -> dict[str, Any]:
    from peft.utils import get_peft_model_state_dict

    state: dict[str, Any] = get_peft_model_state_dict(transformer)
    return state
