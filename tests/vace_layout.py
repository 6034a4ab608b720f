"""Tiny VACE checkpoints in the exact layout of the published ones: `python tests/vace_layout.py FOLDER [14b]`.

Folders, class names and settings are those of Wan-AI/Wan2.1-VACE-1.3B-diffusers and Wan-AI/Wan2.1-VACE-14B-diffusers;
widths and depths are as small as the classes allow. Every weight is random: a new control branch's zeros would hide it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers import WanVACETransformer3DModel

from wan_layout import LATENT_CHANNELS, TEXT_WIDTH, write_common

CONDITION_CHANNELS = 2 * LATENT_CHANNELS + 64  # 96, as published: kept, changing, and a mask of 8 x 8 pixels


def write_vace(folder: Path, *, seed: int = 0, vace_layers: tuple[int, ...] = (0, 2)) -> Path:
    """Write a tiny VACE checkpoint; give the folder."""
    write_common(folder, seed=seed)
    tiny_vace(seed, vace_layers).save_pretrained(folder / "transformer", max_shard_size="200KB")
    index = {
        "_class_name": "WanVACEPipeline",
        "_diffusers_version": "0.34.0.dev0",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "WanVACETransformer3DModel"],
        "vae": ["diffusers", "AutoencoderKLWan"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return folder


def tiny_vace(seed: int, vace_layers: tuple[int, ...] = (0, 2)) -> WanVACETransformer3DModel:
    """The published transformer's settings but for width and depth."""
    torch.manual_seed(seed)
    model = WanVACETransformer3DModel(
        patch_size=(1, 2, 2),
        num_attention_heads=2,
        attention_head_dim=24,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        text_dim=TEXT_WIDTH,
        freq_dim=32,
        ffn_dim=64,
        num_layers=3,
        cross_attn_norm=True,
        qk_norm="rms_norm_across_heads",
        eps=1e-6,
        rope_max_seq_len=1024,
        vace_layers=list(vace_layers),
        vace_in_channels=CONDITION_CHANNELS,
    ).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.proj_out.weight.add_(0.1 * torch.randn_like(model.proj_out.weight))
    return model.requires_grad_(False)


if __name__ == "__main__":
    write_vace(Path(sys.argv[1]), vace_layers=(0, 1, 2) if "14b" in sys.argv[2:] else (0, 2))
