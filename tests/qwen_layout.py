"""Tiny Qwen-Image-Edit checkpoints in the layout of the published ones: `python tests/qwen_layout.py FOLDER [2509]`.

Folders, class names and settings are those of Qwen/Qwen-Image-Edit-2509 and -2511 (which differ by `zero_cond_t`);
widths and depths are as small as the classes allow, the vocabulary is the bytes and the special tokens.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLQwenImage,
    FlowMatchEulerDiscreteScheduler,
    QwenImageTransformer2DModel,
)
from tokenizers import pre_tokenizers
from transformers import (
    BatchFeature,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2Tokenizer,
    Qwen2VLImageProcessorPil,
)

WIDTH = 32
SPECIAL = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|vision_start|>", "<|vision_end|>",
    "<|image_pad|>", "<|video_pad|>",
)  # fmt: skip


def write_qwen_edit(folder: Path, *, seed: int = 0, zero_cond_t: bool = True) -> Path:
    """Write a tiny Qwen-Image-Edit-2511, or 2509 without `zero_cond_t`; give the folder."""
    torch.manual_seed(seed)
    tokenizer = _tokenizer(folder / "tokenizer")
    ids = {name: tokenizer.convert_tokens_to_ids(name) for name in SPECIAL}
    scheduler = FlowMatchEulerDiscreteScheduler(
        base_shift=0.5, max_shift=0.9, base_image_seq_len=256, max_image_seq_len=8192, shift=1.0,
        shift_terminal=0.02, time_shift_type="exponential", use_dynamic_shifting=True,
    )  # fmt: skip
    autoencoder = AutoencoderKLQwenImage(
        base_dim=4, z_dim=4, dim_mult=[1, 1, 1, 1], num_res_blocks=1, temperal_downsample=[False, True, True],
        latents_mean=[0.0] * 4, latents_std=[1.0] * 4,
    )  # fmt: skip
    transformer = QwenImageTransformer2DModel(
        patch_size=2, in_channels=16, out_channels=4, num_layers=2, attention_head_dim=16, num_attention_heads=2,
        joint_attention_dim=WIDTH, axes_dims_rope=(4, 6, 6), zero_cond_t=zero_cond_t,
    )  # fmt: skip
    parts: dict[str, Any] = {
        "scheduler": scheduler,
        "vae": autoencoder,
        "text_encoder": Qwen2_5_VLForConditionalGeneration(_text_config(ids, len(tokenizer))).eval(),
        "tokenizer": tokenizer,
        "processor": Qwen2VLImageProcessorPil(),
        "transformer": transformer,
    }
    for name, part in parts.items():
        part.save_pretrained(folder / name)
    index = {
        "_class_name": "QwenImageEditPlusPipeline",
        "_diffusers_version": "0.36.0.dev0",
        "processor": ["transformers", "Qwen2VLProcessor"],
        "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
        "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
        "tokenizer": ["transformers", "Qwen2Tokenizer"],
        "transformer": ["diffusers", "QwenImageTransformer2DModel"],
        "vae": ["diffusers", "AutoencoderKLQwenImage"],
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
    return folder


class PilProcessor:
    """What `Qwen2VLProcessor` does with pictures and text, without the video part, which needs torchvision."""

    def __init__(self, tokenizer: Qwen2Tokenizer) -> None:
        self.tokenizer, self.image_processor = tokenizer, Qwen2VLImageProcessorPil()

    def __call__(self, *, text: list[str], images: list[object], padding: bool, return_tensors: str) -> BatchFeature:
        pictures = self.image_processor(images=images, return_tensors=return_tensors)
        counts = [int(grid.prod()) // self.image_processor.merge_size**2 for grid in pictures["image_grid_thw"]]
        for count in counts:
            text = [words.replace("<|image_pad|>", "<|placeholder|>" * count, 1) for words in text]
        text = [words.replace("<|placeholder|>", "<|image_pad|>") for words in text]
        tokens = self.tokenizer(text, padding=padding, return_tensors=return_tensors)
        return BatchFeature({**tokens, **pictures})


def _text_config(ids: dict[str, int], vocab_size: int) -> Qwen2_5_VLConfig:
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocab_size, "hidden_size": WIDTH, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "max_position_embeddings": 2048,
            "bos_token_id": ids["<|im_start|>"], "eos_token_id": ids["<|im_end|>"],
            "rope_parameters": {"rope_type": "default", "mrope_section": [2, 3, 3], "rope_theta": 1000000.0},
        },
        vision_config={
            "depth": 2, "hidden_size": WIDTH, "intermediate_size": 32, "num_heads": 2, "out_hidden_size": WIDTH,
            "fullatt_block_indexes": [1],
        },
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
    )  # fmt: skip


def _tokenizer(folder: Path) -> Qwen2Tokenizer:
    folder.mkdir(parents=True, exist_ok=True)
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    (folder / "vocab.json").write_text(json.dumps({letter: index for index, letter in enumerate(letters)}))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    return Qwen2Tokenizer.from_pretrained(
        folder, pad_token="<|endoftext|>", eos_token="<|im_end|>", extra_special_tokens=list(SPECIAL)
    )


if __name__ == "__main__":
    write_qwen_edit(Path(sys.argv[1]), zero_cond_t="2509" not in sys.argv[2:])
