"""Random adapters for the tiny Wan transformers of `wan_layout`, made by our own training path: add, fill, save."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from realmaster.models.adapter import AdapterMetadata, add_lora, save_adapters
from realmaster.types import VideoShape
from wan_layout import tiny_transformer

METADATA = AdapterMetadata(
    base_model="Wan-AI/Wan2.2-T2V-A14B-Diffusers",
    base_revision="5be7df9619b54f4e2667b2755bc6a756675b5cd7",
    profile="wan2.2-a14b",
    rank=4,
    alpha=4,
    reference="joint",
    reference_scale=1,
    reference_adapted=False,
    frame_rate=16,
    sizes=(VideoShape(81, 480, 832), VideoShape(49, 832, 480)),
    data_digest="sha256:0123",
)


def random_lora(transformer: Any, *, rank: int = 4, alpha: float | None = None, seed: int = 0) -> Any:
    """Add a LoRA whose two matrices are random, in numbers that float16 holds; give the transformer."""
    add_lora(transformer, rank=rank, alpha=alpha)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in transformer.named_parameters():
            if "lora_" in name:
                parameter.copy_((0.3 * torch.randn(parameter.shape, generator=generator)).half())
    return transformer


def write_pair(path: Path, *, alpha: float = 4.0, rank: int = 4) -> list[Path]:
    """Write an adapter of two experts under the name `path`; give its files, high noise first."""
    experts = {
        name: random_lora(tiny_transformer(seed), rank=rank, alpha=alpha, seed=seed)
        for seed, name in enumerate(("transformer", "transformer_2"))
    }
    return save_adapters(experts, path, METADATA.model_copy(update={"alpha": alpha, "rank": rank}))


def write_single(path: Path, **changes: Any) -> Path:
    """Write an adapter of a base with one transformer; give its file."""
    metadata = METADATA.model_copy(
        update={
            "base_model": "Wan-AI/Wan2.1-T2V-1.3B-Diffusers",
            "base_revision": None,
            "profile": "wan2.1-1.3b",
            **changes,
        }
    )
    transformer = random_lora(tiny_transformer(0), rank=metadata.rank, alpha=metadata.alpha)
    return save_adapters({"transformer": transformer}, path, metadata)[0]
