from __future__ import annotations

import pytest
import torch
from diffusers import AutoencoderKLWan, WanTransformer3DModel

from realmaster.models.arithmetic import Work, count_work
from realmaster.types import VideoShape

LAYERS, HEADS, HEAD_DIM, FFN, CHANNELS, TEXT = 2, 2, 12, 64, 16, 32


@pytest.fixture(scope="module")
def models() -> tuple[AutoencoderKLWan, WanTransformer3DModel]:
    with torch.device("meta"):
        autoencoder = AutoencoderKLWan(
            base_dim=8, z_dim=CHANNELS, dim_mult=[1, 1, 1, 1], num_res_blocks=1, latents_mean=[0.0], latents_std=[1.0]
        )
        transformer = WanTransformer3DModel(
            patch_size=(1, 2, 2),
            num_attention_heads=HEADS,
            attention_head_dim=HEAD_DIM,
            in_channels=CHANNELS,
            out_channels=CHANNELS,
            text_dim=TEXT,
            freq_dim=16,
            ffn_dim=FFN,
            num_layers=LAYERS,
        )
    return autoencoder, transformer


def count(models: tuple[AutoencoderKLWan, WanTransformer3DModel], shape: VideoShape, reference: str) -> Work:
    return count_work(*models, shape, num_text_tokens=4, reference=reference)


def test_a_step_costs_what_the_formula_of_a_transformer_says(models) -> None:
    shape = VideoShape(9, 64, 96)
    n, d = 3 * 4 * 6, HEADS * HEAD_DIM
    self_attention = 2 * n * d * d * 4 + 4 * n * n * d
    cross_attention = 2 * n * d * d * 2 + 2 * 4 * d * d * 2 + 4 * n * 4 * d
    feed_forward = 2 * n * d * FFN * 2
    patches = 2 * n * d * CHANNELS * 4 * 2
    blocks = LAYERS * (self_attention + cross_attention + feed_forward) + patches
    work = count(models, shape, "cached")
    assert work.reference == pytest.approx(blocks, rel=0.02)  # the rest is embeddings of time and text
    assert work.step - work.reference == LAYERS * 4 * n * n * d


def test_joint_costs_what_the_same_model_costs_on_twice_the_tokens(models) -> None:
    once, twice = VideoShape(5, 64, 64), VideoShape(13, 64, 64)  # 2 and 4 latent frames
    joint = count(models, once, "joint")
    assert joint.reference == 0
    assert joint.step == pytest.approx(count(models, twice, "cached").reference, rel=0.03)


def test_guidance_doubles_what_the_transformer_does_and_nothing_else() -> None:
    work = Work(encode=1, reference=10, step=100, decode=1000)
    assert work.total(num_steps=3, num_branches=1) == 1311
    assert work.total(num_steps=3, num_branches=2) == 1621
