"""The published models at full size, on the meta device: sizes, names and what an adapter adds."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel, WanVACETransformer3DModel

from realmaster.errors import ConfigError
from realmaster.models.adapter import add_lora
from realmaster.models.arithmetic import build_transformer, count_parameters, weigh_transformer
from realmaster.models.arithmetic_parts import build_autoencoder, build_text_encoder
from realmaster.models.profiles import load_profile
from realmaster.models.published import AUTOENCODER, TEXT_ENCODER, TRANSFORMERS, WAN_14B, read_parts

A14B, SMALL, VACE_14B, VACE_SMALL = TRANSFORMERS


def build(hub: str) -> Any:
    config = TRANSFORMERS[hub]
    with torch.device("meta"):
        return (WanVACETransformer3DModel if "vace_layers" in config else WanTransformer3DModel)(**config)


@pytest.mark.parametrize(
    ("hub", "parameters"),
    [(A14B, 14_288_491_584), (SMALL, 1_418_996_800)],
)
def test_a_transformer_has_its_published_number_of_parameters(hub: str, parameters: int) -> None:
    assert count_parameters(build(hub)) == parameters


@pytest.mark.parametrize(("hub", "plain", "num_control_blocks"), [(VACE_14B, A14B, 8), (VACE_SMALL, SMALL, 15)])
def test_vace_is_the_plain_transformer_with_control_blocks(hub: str, plain: str, num_control_blocks: int) -> None:
    model, width = build(hub), 128 * TRANSFORMERS[hub]["num_attention_heads"]
    square = width * width + width
    control = num_control_blocks * (count_parameters(model.blocks[0]) + square) + square + 96 * 4 * width + width
    assert len(model.vace_blocks) == num_control_blocks
    assert count_parameters(model) == count_parameters(build(plain)) + control


def test_an_expert_has_the_bytes_and_the_tensors_of_its_published_index() -> None:
    """`diffusion_pytorch_model.safetensors.index.json`: total_size 57153966336 in float32, 1,095 names."""
    state = build(A14B).state_dict()
    assert sum(tensor.nbytes for tensor in state.values()) == 57_153_966_336
    assert len(state) == 1095


def test_the_names_are_those_of_the_published_layout() -> None:
    attention = [f"{name}.{kind}" for name in ("to_q", "to_k", "to_v", "to_out.0") for kind in ("weight", "bias")]
    attention += ["norm_q.weight", "norm_k.weight"]
    block = [f"{which}.{name}" for which in ("attn1", "attn2") for name in attention]
    block += [f"{name}.{kind}" for name in ("ffn.net.0.proj", "ffn.net.2", "norm2") for kind in ("weight", "bias")]
    block.append("scale_shift_table")
    outside = [
        f"{name}.{kind}"
        for name in (
            "condition_embedder.time_embedder.linear_1", "condition_embedder.time_embedder.linear_2",
            "condition_embedder.time_proj", "condition_embedder.text_embedder.linear_1",
            "condition_embedder.text_embedder.linear_2", "patch_embedding", "proj_out",
        )
        for kind in ("weight", "bias")
    ]  # fmt: skip
    expected = {f"blocks.{index}.{name}" for index in range(40) for name in block} | {*outside, "scale_shift_table"}
    assert set(build(A14B).state_dict()) == expected


def test_the_text_encoder_and_the_autoencoder_have_their_published_sizes() -> None:
    encoder = build_text_encoder(TEXT_ENCODER)
    assert 2 * count_parameters(encoder) == 11_361_820_672  # the index's total_size in bfloat16
    assert len({id(tensor) for tensor in encoder.parameters()}) == 242
    autoencoder = build_autoencoder(AUTOENCODER)
    assert count_parameters(autoencoder) == 126_892_531
    assert (autoencoder.config.scale_factor_temporal, autoencoder.config.scale_factor_spatial) == (4, 8)


def test_a_lora_of_rank_32_adds_153_million_parameters_to_an_expert() -> None:
    model = build_transformer(WAN_14B, "float32", num_layers=1)
    add_lora(model, rank=32)
    one = sum(p.numel() for p in model.parameters() if p.requires_grad)
    width, ffn = 5120, 13824
    assert one == 32 * (8 * 2 * width + 2 * (width + ffn))  # q, k, v, o of both attentions; both feed-forward layers
    assert 40 * one == 153_354_240
    bare, with_lora = (weigh_transformer(WAN_14B, "float32", layerwise_fp8=False, rank=rank).total for rank in (0, 32))
    assert with_lora - bare == 4 * 40 * one


def test_a_profile_whose_weights_are_not_here_is_described_as_published(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(tmp_path))
    parts = read_parts(load_profile("wan2.2-a14b"))
    assert (parts.num_experts, parts.num_text_tokens, parts.transformer) == (2, 512, WAN_14B)
    assert read_parts(load_profile("wan2.1-1.3b")).num_experts == 1


def test_a_profile_of_unknown_weights_that_are_not_here_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(tmp_path))
    profile = load_profile("wan2.1-1.3b", changes={"checkpoint.hub": "someone/else"})
    with pytest.raises(ConfigError, match="got someone/else"):
        read_parts(profile)


def test_the_parts_of_a_folder_are_those_of_its_files() -> None:
    profile = load_profile("nano")
    parts = read_parts(profile)
    assert parts.transformer["num_layers"] == 6
    assert parts.num_text_tokens == 48
