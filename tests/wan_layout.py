"""Tiny checkpoints in the exact layout of the published ones: `python tests/wan_layout.py FOLDER [1.3b]`.

Folders, file names, class names and settings are those of Wan-AI/Wan2.2-T2V-A14B-Diffusers (two experts) and
Wan-AI/Wan2.1-T2V-1.3B-Diffusers (one); widths and depths are as small as the classes allow. As published, the
transformers are float32 in shards with an index, the text encoder is bfloat16 in shards, the autoencoder float32 in one
file, and the scheduler's settings carry flow_shift 3.0, which RealMaster does not use.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch
from diffusers import AutoencoderKLWan, UniPCMultistepScheduler, WanTransformer3DModel
from transformers import UMT5Config, UMT5EncoderModel

from realmaster.models.text import build_tokenizer

TEXT_WIDTH, LATENT_CHANNELS = 32, 16
WORDS = ("overcast day, soft light", "heavy rain at night, wet ground with reflections", "a street", "blurred, static")
# Means and standard deviations of the published autoencoder (diffusers' own defaults have the same numbers)
LATENTS_MEAN = (
    -0.7571, -0.7089, -0.9113, 0.1075, -0.1745, 0.9653, -0.1517, 1.5508,
    0.4134, -0.0715, 0.5517, -0.3632, -0.1922, -0.9497, 0.2503, -0.2921,
)  # fmt: skip
LATENTS_STD = (
    2.8184, 1.4541, 2.3275, 2.6558, 1.2196, 1.7708, 2.6052, 2.0743,
    3.2687, 2.1526, 2.8652, 1.5579, 1.6382, 1.1253, 2.8251, 1.9160,
)  # fmt: skip


def write_wan22(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny Wan2.2-T2V-A14B: `transformer` for high noise, `transformer_2` for low; give the folder."""
    write_common(folder, seed=seed)
    for number, part in enumerate(("transformer", "transformer_2")):
        tiny_transformer(seed + number).save_pretrained(folder / part, max_shard_size="200KB")
    _write_index(folder, {"transformer_2": ["diffusers", "WanTransformer3DModel"], "boundary_ratio": 0.875})
    return folder


def write_wan21(folder: Path, *, seed: int = 0) -> Path:
    """Write a tiny Wan2.1-T2V-1.3B: one transformer; give the folder."""
    write_common(folder, seed=seed)
    tiny_transformer(seed).save_pretrained(folder / "transformer", max_shard_size="200KB")
    _write_index(folder, {})
    return folder


def tiny_transformer(seed: int, **changes: object) -> WanTransformer3DModel:
    """The published transformer's settings but for width and depth; every weight random, biases and norms too."""
    settings = {
        "patch_size": (1, 2, 2),
        "num_attention_heads": 2,
        "attention_head_dim": 24,
        "in_channels": LATENT_CHANNELS,
        "out_channels": LATENT_CHANNELS,
        "text_dim": TEXT_WIDTH,
        "freq_dim": 32,
        "ffn_dim": 64,
        "num_layers": 3,
        "cross_attn_norm": True,
        "qk_norm": "rms_norm_across_heads",
        "eps": 1e-6,
        "rope_max_seq_len": 1024,
    }
    torch.manual_seed(seed)
    model = WanTransformer3DModel(**{**settings, **changes}).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
        model.proj_out.weight.add_(0.1 * torch.randn_like(model.proj_out.weight))
    return model.requires_grad_(False)


def write_common(folder: Path, *, seed: int) -> None:
    """Write what all of them share: autoencoder, tokenizer, text encoder, scheduler."""
    torch.manual_seed(seed + 100)
    folder.mkdir(parents=True, exist_ok=True)
    AutoencoderKLWan(
        base_dim=4,
        z_dim=LATENT_CHANNELS,
        dim_mult=[1, 2, 4, 4],
        num_res_blocks=1,
        attn_scales=[],
        temperal_downsample=[False, True, True],
        latents_mean=list(LATENTS_MEAN),
        latents_std=list(LATENTS_STD),
    ).save_pretrained(folder / "vae")
    tokenizer = build_tokenizer(WORDS, vocab_size=300, max_length=512)
    tokenizer.save_pretrained(folder / "tokenizer")
    config = UMT5Config(
        vocab_size=300, d_model=TEXT_WIDTH, d_kv=8, d_ff=64, num_layers=2, num_heads=4, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", is_encoder_decoder=True, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    UMT5EncoderModel(config).to(torch.bfloat16).save_pretrained(folder / "text_encoder", max_shard_size="40KB")
    UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=3.0
    ).save_pretrained(folder / "scheduler")


def _write_index(folder: Path, more: dict[str, object]) -> None:
    index = {
        "_class_name": "WanPipeline",
        "_diffusers_version": "0.35.0.dev0",
        "boundary_ratio": None,
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "transformer": ["diffusers", "WanTransformer3DModel"],
        "transformer_2": [None, None],
        "vae": ["diffusers", "AutoencoderKLWan"],
        **more,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")


if __name__ == "__main__":
    (write_wan21 if "1.3b" in sys.argv[2:] else write_wan22)(Path(sys.argv[1]))
