"""Tiny checkpoints in the published layout of the methods that are compared with: Lucy-Edit, Cosmos-Transfer2.5, Ditto.

Class names, folders and the settings that decide the layout are those of decart-ai/Lucy-Edit-Dev and of
nvidia/Cosmos-Transfer2.5-2B (revision diffusers/general, and the control branch of its own revision); widths and depths
are as small as the classes allow. Ditto's LoRA has the names that DiffSynth writes for `vace_blocks`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from diffusers import (
    AutoencoderKLWan,
    CosmosControlNetModel,
    CosmosTransformer3DModel,
    UniPCMultistepScheduler,
)
from safetensors.torch import save_file

from realmaster.models.text import build_tokenizer
from wan_layout import WORDS, tiny_transformer, write_wan21

_IN_LORA = {
    "self_attn.q": (48, 48),
    "self_attn.o": (48, 48),
    "cross_attn.k": (48, 48),
    "ffn.0": (48, 64),
    "ffn.2": (64, 48),
}


def write_lucy(folder: Path) -> Path:
    """Write a tiny Lucy-Edit: 48 latent channels, patches of two pixels, twice the channels in, timesteps by token."""
    _write_texts(folder)
    torch.manual_seed(1)
    AutoencoderKLWan(
        base_dim=8, decoder_base_dim=8, z_dim=48, dim_mult=[1, 2, 4, 4], num_res_blocks=1, attn_scales=[],
        temperal_downsample=[False, True, True], is_residual=True, in_channels=12, out_channels=12, patch_size=2,
        latents_mean=[0.1] * 48, latents_std=[1.5] * 48, scale_factor_spatial=16, scale_factor_temporal=4,
    ).save_pretrained(folder / "vae")  # fmt: skip
    tiny_transformer(2, in_channels=96, out_channels=48).save_pretrained(folder / "transformer")
    _scheduler(flow_shift=5.0).save_pretrained(folder / "scheduler")
    _write_index(
        folder,
        "LucyEditPipeline",
        {
            "transformer": ["diffusers", "WanTransformer3DModel"],
            "transformer_2": [None, None],
            "boundary_ratio": None,
            "expand_timesteps": True,
        },
    )
    return folder


def write_cosmos(folder: Path, branch: Path) -> None:
    """Write a tiny Cosmos-Transfer2.5 and, in a folder of its own, its control branch."""
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    folder.mkdir(parents=True)
    torch.manual_seed(3)
    common: dict[str, Any] = {
        "num_attention_heads": 2, "attention_head_dim": 16, "mlp_ratio": 2, "text_embed_dim": 32, "adaln_lora_dim": 4,
        "max_size": (24, 64, 64), "patch_size": (1, 2, 2), "rope_scale": (1.0, 3.0, 3.0), "extra_pos_embed_type": None,
        "img_context_dim_in": 32, "img_context_dim_out": 32, "use_crossattn_projection": True,
        "crossattn_proj_in_channels": 32, "encoder_hidden_states_channels": 32,
    }  # fmt: skip
    transformer = CosmosTransformer3DModel(
        in_channels=17, out_channels=16, num_layers=2, concat_padding_mask=True, controlnet_block_every_n=1,
        img_context_num_tokens=4, **common,
    )  # fmt: skip
    control = CosmosControlNetModel(
        n_controlnet_blocks=2, in_channels=18, latent_channels=18, model_channels=32, **common
    )
    with torch.no_grad():
        for model in (transformer, control):
            for parameter in model.parameters():
                parameter.add_(0.02 * torch.randn_like(parameter))
    transformer.save_pretrained(folder / "transformer")
    control.save_pretrained(branch)
    _tiny_autoencoder().save_pretrained(folder / "vae")
    UniPCMultistepScheduler(
        use_karras_sigmas=True, use_flow_sigmas=True, prediction_type="flow_prediction", sigma_max=200.0, sigma_min=0.01
    ).save_pretrained(folder / "scheduler")
    tokenizer = build_tokenizer(WORDS, vocab_size=300, max_length=512)
    tokenizer.chat_template = (
        "{% for message in messages %}{{ message['role'] }}: "
        "{% for part in message['content'] %}{{ part['text'] }}{% endfor %}\n{% endfor %}"
    )
    tokenizer.save_pretrained(folder / "tokenizer")
    config = Qwen2_5_VLConfig(
        text_config={
            "vocab_size": 300, "hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 2,
            "num_attention_heads": 2, "num_key_value_heads": 2, "bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 0,
            "rope_parameters": {"mrope_section": [1, 1, 2], "rope_type": "default", "rope_theta": 1e6},
        },
        vision_config={"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16},
        image_token_id=290, video_token_id=291, vision_start_token_id=292, vision_end_token_id=293,
    )  # fmt: skip
    Qwen2_5_VLForConditionalGeneration(config).to(torch.bfloat16).save_pretrained(folder / "text_encoder")
    _write_index(
        folder,
        "Cosmos2_5_TransferPipeline",
        {
            "text_encoder": ["transformers", "Qwen2_5_VLForConditionalGeneration"],
            "transformer": ["diffusers", "CosmosTransformer3DModel"],
            "controlnet": ["diffusers", "CosmosControlNetModel"],
            "safety_checker": [None, None],
        },
    )


def write_ditto(file: Path, *, rank: int = 2, scale: float = 0.3) -> dict[str, torch.Tensor]:
    """Write a LoRA on both control blocks in DiffSynth's names, and give its tensors."""
    torch.manual_seed(5)
    tensors = {}
    for block in (0, 1):
        for module, (wide, out) in _IN_LORA.items():
            key = f"vace_blocks.{block}.{module}"
            tensors[f"{key}.lora_A.default.weight"] = scale * torch.randn(rank, wide)
            tensors[f"{key}.lora_B.default.weight"] = scale * torch.randn(out, rank)
    file.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, file)
    return tensors


def _tiny_autoencoder() -> AutoencoderKLWan:
    torch.manual_seed(6)
    return AutoencoderKLWan(
        base_dim=4, z_dim=16, dim_mult=[1, 2, 4, 4], num_res_blocks=1, attn_scales=[],
        temperal_downsample=[False, True, True],
    )  # fmt: skip


def _write_texts(folder: Path) -> None:
    """Write tokenizer and text encoder as Wan's."""
    write_wan21(folder)
    for part in ("vae", "transformer", "scheduler"):
        shutil.rmtree(folder / part)


def _scheduler(flow_shift: float) -> UniPCMultistepScheduler:
    return UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, num_train_timesteps=1000, flow_shift=flow_shift
    )


def _write_index(folder: Path, name: str, more: dict[str, object]) -> None:
    index = {
        "_class_name": name,
        "_diffusers_version": "0.36.0.dev0",
        "scheduler": ["diffusers", "UniPCMultistepScheduler"],
        "text_encoder": ["transformers", "UMT5EncoderModel"],
        "tokenizer": ["transformers", "PreTrainedTokenizerFast"],
        "vae": ["diffusers", "AutoencoderKLWan"],
        **more,
    }
    (folder / "model_index.json").write_text(json.dumps(index, indent=2), encoding="utf-8")
