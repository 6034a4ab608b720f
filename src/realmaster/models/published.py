"""The settings of the published checkpoints, so that they can be counted before a byte of them is fetched.

Separate because these are facts about other people's files: `config.json` of every part, as published. A checkpoint on
this machine is asked for its own files instead. Nothing here loads torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realmaster.errors import ConfigError
from realmaster.models.checkpoint import read_config
from realmaster.models.profiles import Profile

_WAN: dict[str, Any] = {
    "patch_size": [1, 2, 2],
    "attention_head_dim": 128,
    "in_channels": 16,
    "out_channels": 16,
    "text_dim": 4096,
    "freq_dim": 256,
    "cross_attn_norm": True,
    "qk_norm": "rms_norm_across_heads",
    "eps": 1e-6,
    "rope_max_seq_len": 1024,
}
WAN_14B: dict[str, Any] = {**_WAN, "num_attention_heads": 40, "num_layers": 40, "ffn_dim": 13824}
WAN_1_3B: dict[str, Any] = {**_WAN, "num_attention_heads": 12, "num_layers": 30, "ffn_dim": 8960}
_VACE: dict[str, Any] = {"_class_name": "WanVACETransformer3DModel", "vace_in_channels": 96}

TRANSFORMERS: dict[str, dict[str, Any]] = {
    "Wan-AI/Wan2.2-T2V-A14B-Diffusers": WAN_14B,  # each of the two experts
    "Wan-AI/Wan2.1-T2V-1.3B-Diffusers": WAN_1_3B,
    "Wan-AI/Wan2.1-VACE-14B-diffusers": {**WAN_14B, **_VACE, "vace_layers": list(range(0, 40, 5))},
    "Wan-AI/Wan2.1-VACE-1.3B-diffusers": {**WAN_1_3B, **_VACE, "vace_layers": list(range(0, 30, 2))},
}
AUTOENCODER: dict[str, Any] = {  # the same in all of them
    "base_dim": 96,
    "z_dim": 16,
    "dim_mult": [1, 2, 4, 4],
    "num_res_blocks": 2,
    "attn_scales": [],
    "temperal_downsample": [False, True, True],
    "dropout": 0.0,
}
TEXT_ENCODER: dict[str, Any] = {  # UMT5-XXL, the encoder alone
    "vocab_size": 256384,
    "d_model": 4096,
    "d_kv": 64,
    "d_ff": 10240,
    "num_layers": 24,
    "num_heads": 64,
    "feed_forward_proj": "gated-gelu",
}


@dataclass(frozen=True)
class Parts:
    """Settings of a checkpoint's parts, as their classes take them, and how many experts and text tokens there are."""

    transformer: dict[str, Any]
    autoencoder: dict[str, Any]
    text_encoder: dict[str, Any]
    num_experts: int
    num_text_tokens: int
    refiner: dict[str, Any] | None = None


def read_parts(profile: Profile) -> Parts:
    """Read the settings of a profile's parts: from its folder if it is here, else as published.

    Raises:
        MissingWeightsError: a file of the folder cannot be read.
        ConfigError: the checkpoint is neither here nor one whose settings are known.
    """
    folder, num_experts = profile.folder, len(profile.transformers)
    if (folder / profile.checkpoint.transformer / "config.json").is_file():
        tokenizer = _read(folder / "tokenizer" / "tokenizer_config.json")
        length = profile.text.max_length or int(tokenizer.get("model_max_length", 512))
        return Parts(
            transformer=_read(
                folder / profile.checkpoint.transformer / "config.json",
                *("patch_size", "num_layers", "in_channels", "text_dim"),
            ),
            autoencoder=_read(folder / "vae" / "config.json"),
            text_encoder=_read(folder / "text_encoder" / "config.json"),
            num_experts=num_experts,
            num_text_tokens=min(length, 512),
            refiner=None if profile.refiner is None else _read(folder / profile.refiner.part / "config.json"),
        )
    hub = profile.checkpoint.hub
    if hub not in TRANSFORMERS:
        raise ConfigError(
            f"profile {profile.name!r}: expected a checkpoint in {folder}, or one of {', '.join(TRANSFORMERS)}, "
            f"got {hub or 'no hub id'}: fetch it, or give its folder with --model-dir"
        )
    return Parts(TRANSFORMERS[hub], AUTOENCODER, TEXT_ENCODER, num_experts, profile.text.max_length or 512)


def _read(path: Path, *needs: str) -> dict[str, Any]:
    values = read_config(path, needs=needs)
    return {key: value for key, value in values.items() if key == "_class_name" or not key.startswith("_")}
