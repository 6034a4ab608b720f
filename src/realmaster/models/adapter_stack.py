"""Stack further LoRAs, as few-step distilled ones, on a transformer with or without an adapter.

Separate because these files are other people's: they are read by diffusers' own converter, say nothing of a reference,
and may change layers that an adapter does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realmaster.errors import AdapterError
from realmaster.models.adapter import NAME
from realmaster.models.adapter_checks import linear_sizes
from realmaster.models.adapter_metadata import TAGS, find_adapter, read_header
from realmaster.models.adapter_names import DIFFUSERS_PREFIX

if TYPE_CHECKING:
    from torch import Tensor


def stack_loras(experts: Mapping[str, Any], loras: Sequence[tuple[Path | Mapping[str, Path], float]]) -> None:
    """Stack further LoRAs, as few-step distilled ones, on what the experts carry: (files, weight) each.

    Call it once with all of them, after `load_adapters`; the adapter keeps weight 1. Files are named by expert, or by
    one path: two files that differ by high_noise and low_noise in their names go to their experts, any other file to
    every expert. Read by diffusers' own converter, so every LoRA of Wan that diffusers loads can be stacked.

    Raises:
        AdapterError: a file is missing, pickled, no LoRA of Wan, or of other sizes.
    """
    from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin

    names = {expert: [NAME] if NAME in getattr(model, "peft_config", {}) else [] for expert, model in experts.items()}
    weights = {expert: [1.0] * len(mine) for expert, mine in names.items()}
    for number, (files, weight) in enumerate(loras):
        for expert, file in (files if isinstance(files, Mapping) else _files_for(experts, files)).items():
            read_header(file)
            try:
                state, config = WanLoraLoaderMixin.lora_state_dict(
                    str(file), use_safetensors=True, local_files_only=True, return_lora_metadata=True
                )
                _check_state(file, state, linear_sizes(experts[expert]))
                with warnings.catch_warnings():
                    warnings.filterwarnings("ignore", "Already found a `peft_config` attribute")  # it is meant
                    experts[expert].load_lora_adapter(
                        state, prefix="transformer", adapter_name=f"stacked_{number}", metadata=config
                    )
            except (ValueError, KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
                reason = str(error).strip().splitlines()
                raise AdapterError(
                    f"{file}: expected a LoRA of Wan that diffusers reads, got {type(error).__name__} "
                    f"({reason[-1].strip() if reason else 'no reason'}): choose another"
                ) from error
            names[expert].append(f"stacked_{number}")
            weights[expert].append(weight)
    for expert, model in experts.items():
        if names[expert]:
            model.set_adapters(names[expert], weights[expert])


def _files_for(experts: Mapping[str, Any], path: Path) -> dict[str, Path]:
    if len(experts) == 1 or not any(tag in path.name for tag in TAGS.values()):
        return dict.fromkeys(experts, path)
    found = find_adapter(path)
    for expert in experts:
        if expert not in found:
            missing = path.name
            for tag in TAGS.values():
                missing = missing.replace(tag, TAGS[expert])  # type: ignore[index]
            raise AdapterError(f"expected {missing} beside {path}, found none: a base of two experts needs both")
    return {expert: file for expert, file in found.items() if expert in experts}


def _check_state(file: Path, state: Mapping[str, Tensor], sizes: Mapping[str, tuple[int, int]]) -> None:
    for name, tensor in state.items():
        module, _, part = name.removeprefix(DIFFUSERS_PREFIX).partition(".lora_")
        axis = {"A.weight": (1, 1), "B.weight": (0, 0)}.get(part)
        if module not in sizes:
            raise AdapterError(f"{file}: expected a LoRA of this base, {module} does not fit: choose one made for it")
        if axis is not None and tensor.shape[axis[0]] != sizes[module][axis[1]]:
            raise AdapterError(
                f"{file}: expected the sizes of this base, {module} has {tensor.shape[axis[0]]} instead of "
                f"{sizes[module][axis[1]]}: choose one made for it"
            )
