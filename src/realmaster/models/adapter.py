"""The LoRA on a transformer: add it, save it, load it.

The files themselves are `adapter_files`, what they say of themselves is `adapter_metadata`, what is stacked on them is
`adapter_stack`. An adapter is what people exchange: the loader checks base, reference mode, expert and every size
before it touches a transformer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmaster import __version__
from realmaster.errors import AdapterError
from realmaster.models.adapter_checks import check_lora, check_metadata, linear_sizes, spoken
from realmaster.models.adapter_files import Lora, read_lora, write_lora
from realmaster.models.adapter_metadata import (
    TAGS,
    AdapterMetadata,
    expert_path,
    find_adapter,
    read_metadata,
)
from realmaster.models.adapter_names import DIFFUSERS_PREFIX

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "NAME",
    "TARGETS",
    "AdapterMetadata",
    "add_lora",
    "load_adapter",
    "load_adapters",
    "read_metadata",
    "save_adapter",
    "save_adapters",
    "write_adapter",
]

TARGETS = ("to_q", "to_k", "to_v", "to_out.0", "ffn.net.0.proj", "ffn.net.2")
"""What a LoRA covers: the attention projections and both feed-forward layers (field practice, paper section 3.2)."""
NAME = "default"
"""The name of the adapter inside the transformer; those stacked on it are called stacked_0, stacked_1, ..."""


def add_lora(
    transformer: Any, *, rank: int, alpha: float | None = None, targets: Sequence[str] = TARGETS, dropout: float = 0.0
) -> None:
    """Add a trainable LoRA to a transformer; everything else keeps its `requires_grad`.

    The LoRA has the base's dtype: a trainer of a bfloat16 base casts its parameters up. `alpha` is `rank` if absent.
    """
    from peft import LoraConfig

    scale = rank if alpha is None else alpha
    config = LoraConfig(r=rank, lora_alpha=scale, target_modules=list(targets), lora_dropout=dropout)
    transformer.add_adapter(config, adapter_name=NAME)


def save_adapter(transformer: Any, path: Path, metadata: AdapterMetadata, *, dtype: torch.dtype | None = None) -> None:
    """Write the transformer's LoRA as one safetensors file, whole or not at all.

    Raises:
        AdapterError: the transformer has none. NumericalError: it holds NaN or infinity.
    """
    from peft.utils import get_peft_model_state_dict

    if NAME not in getattr(transformer, "peft_config", {}):
        raise AdapterError(f"expected a transformer with a LoRA to write to {path}, this one has none: add it first")
    write_adapter(get_peft_model_state_dict(transformer, adapter_name=NAME), path, metadata, dtype=dtype)


def save_adapters(
    experts: Mapping[str, Any], path: Path, metadata: AdapterMetadata, *, dtype: torch.dtype | None = None
) -> list[Path]:
    """Write the LoRA of every expert that has one: one file for a base with one transformer, else one an expert.

    `path` is the name that they share (`runs/x/adapter.safetensors`); gives the files written.

    Raises:
        AdapterError: no expert has a LoRA. NumericalError: one holds NaN or infinity.
    """
    trained = [expert for expert in TAGS if NAME in getattr(experts.get(expert), "peft_config", {})]
    if not trained:
        raise AdapterError(f"expected an expert with a LoRA to write to {path}, none has one: add it first")
    files = []
    for expert in trained:
        files.append(expert_path(path, expert, tagged=len(experts) > 1))
        mine = metadata.model_copy(update={"expert": expert, "experts": tuple(trained)})
        save_adapter(experts[expert], files[-1], mine, dtype=dtype)
    return files


def write_adapter(
    state: Mapping[str, Tensor], path: Path, metadata: AdapterMetadata, *, dtype: torch.dtype | None = None
) -> None:
    """Write LoRA tensors under PEFT's names (`blocks.0.attn1.to_q.lora_A.weight`), for weights held outside a model.

    Numbers are written in `dtype`, float16 by default (finer than bfloat16, and LoRA weights are small).
    """
    import torch

    pairs = {}
    for name, down in state.items():
        module, middle, _ = name.partition(".lora_A.")
        if middle:
            up = state[f"{module}.lora_B.weight"]
            pairs[module] = (down.detach().to(dtype or torch.float16), up.detach().to(dtype or torch.float16))
    assert len(state) == 2 * len(pairs), "a LoRA is pairs of lora_A and lora_B, without biases"
    mine = metadata.model_copy(update={"realmaster_version": __version__})
    lora = Lora(path, pairs, metadata.rank, metadata.alpha, "diffusers", mine, says_alpha=True)
    write_lora(lora, path, "diffusers")


def load_adapter(
    transformer: Any, path: Path, *, base_model: str, reference: str | None, reference_scale: int | None = None
) -> AdapterMetadata:
    """Check one adapter file against a base and a reference mode (None takes the adapter's own), then load it.

    Raises:
        AdapterError: it is for another base or mode, corrupt, or its tensors do not fit; the transformer is untouched.
    """
    metadata = read_metadata(path)
    check_metadata(path, metadata, base_model=base_model, reference=reference, reference_scale=reference_scale)
    _attach(transformer, _checked(path, transformer), NAME)
    return metadata


def load_adapters(
    experts: Mapping[str, Any],
    path: Path,
    *,
    base_model: str,
    reference: str | None = None,
    reference_scale: int | None = None,
) -> AdapterMetadata:
    """Load an adapter onto the experts it was trained for: `path` is a file of it, the shared name, or its folder.

    An expert that the run did not train stays plain; one that it trained must be there. Gives what the first file says.

    Raises:
        AdapterError: it does not fit, or a file of it is missing; no transformer has been touched.
    """
    files = find_adapter(path)
    loras = {}
    for expert, file in files.items():
        mine = read_metadata(file)
        check_metadata(
            file,
            mine,
            base_model=base_model,
            reference=reference,
            reference_scale=reference_scale,
            expert=expert,
        )
        if expert not in experts:
            raise AdapterError(
                f"{file}: expected an adapter for a base with one transformer, got the one of the {spoken(expert)} "
                "expert: choose the profile it was trained for"
            )
        for other in set(mine.all_experts) - files.keys():
            raise AdapterError(
                f"expected {expert_path(file, other, tagged=True)} beside {file.name}, which was trained with it, "
                "found none: put both files into one folder"
            )
        loras[expert] = _checked(file, experts[expert])
    told = {(lora.metadata.reference, lora.metadata.reference_scale) for lora in loras.values() if lora.metadata}
    if len(told) > 1:
        raise AdapterError(
            f"{path}: expected two experts trained with one reference, got {sorted(told)}: use one run's"
        )
    for expert, lora in loras.items():
        _attach(experts[expert], lora, NAME)
    return read_metadata(next(iter(files.values())))


def _checked(path: Path, transformer: Any) -> Lora:
    lora = read_lora(path)
    check_lora(lora, linear_sizes(transformer))
    return lora


def _attach(transformer: Any, lora: Lora, name: str) -> None:
    """Load a checked LoRA through diffusers, with its alpha."""
    config = {"r": lora.rank, "lora_alpha": lora.alpha, "target_modules": sorted(lora.pairs)}
    metadata = {DIFFUSERS_PREFIX + key: value for key, value in config.items()}
    transformer.load_lora_adapter(lora.diffusers_state(), prefix="transformer", adapter_name=name, metadata=metadata)
