"""What is counted without computing is what the formula says, what torch counts, and what torch allocates."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from realmaster.models import arithmetic
from realmaster.models.adapter import add_lora
from realmaster.models.arithmetic import (
    Work,
    building,
    count_denoising,
    count_plain,
    count_training_step,
    keep_float32,
    weigh_transformer,
)
from realmaster.models.arithmetic_parts import count_decoding, count_encoding
from realmaster.models.metering import meter
from realmaster.models.reference import ReferenceAttention, joint_velocity
from realmaster.models.reference_one_way import OneWayReading
from realmaster.types import LatentShape, VideoShape
from tiny_wan import CONFIG, tiny_wan

SETTINGS = {**CONFIG, "patch_size": [1, 2, 2]}
SIZE, TEXT = LatentShape(3, 8, 12), 5
N, D, FFN, LAYERS = 3 * 4 * 6, 2 * 24, 64, 3
AUTOENCODER = {"base_dim": 8, "z_dim": 16, "dim_mult": [1, 1, 1, 1], "num_res_blocks": 1}


def inputs(frames: int = 3) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.randn(1, 4, frames, 8, 12), torch.tensor([500.0]), torch.randn(1, TEXT, 16)


def counted_by_torch(call: Callable[[], Any]) -> float:
    # written out as two products: the counter does not know the CPU's fused kernel
    with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        call()
    return float(counter.get_total_flops())


def test_a_forward_costs_what_the_formula_of_a_transformer_says() -> None:
    self_attention = 2 * N * D * D * 4 + 4 * N * N * D
    cross_attention = 2 * N * D * D * 2 + 2 * TEXT * D * D * 2 + 4 * N * TEXT * D
    feed_forward = 2 * N * D * FFN * 2
    patches = 2 * N * D * 4 * 4 * 2
    blocks = LAYERS * (self_attention + cross_attention + feed_forward) + patches
    plain = count_plain(SETTINGS, SIZE, num_text_tokens=TEXT)
    assert plain.flops == pytest.approx(blocks, rel=0.02)  # the rest is embeddings of time and text
    reference, step = count_denoising(SETTINGS, SIZE, num_text_tokens=TEXT, mode="cached")
    assert reference.flops == plain.flops
    assert step.flops - plain.flops == LAYERS * 4 * N * N * D


@pytest.mark.parametrize("scale", [1, 2])
def test_both_readings_cost_what_torch_counts_while_they_are_computed(scale: int) -> None:
    wan, (noisy, timesteps, text) = tiny_wan(), inputs()
    render = torch.randn(1, 4, 3, 8 // scale, -(-12 // (2 * scale)) * 2)
    with ReferenceAttention(wan) as attention:
        held: list[Any] = []
        first = counted_by_torch(lambda: held.append(attention.encode(render, text, spatial_scale=scale)))
        cached = counted_by_torch(lambda: attention.denoise(noisy, timesteps, text, held[0]))
    joint = counted_by_torch(lambda: joint_velocity(wan, noisy, render, timesteps, text, spatial_scale=scale))
    here = {"num_text_tokens": TEXT, "spatial_scale": scale}
    reference, step = count_denoising(SETTINGS, SIZE, mode="cached", **here)
    assert (reference.flops, step.flops) == (first, cached)
    assert reference.kept_bytes == held[0].nbytes
    assert count_denoising(SETTINGS, SIZE, mode="joint", **here)[1].flops == joint


def peak_on_the_cpu(call: Callable[[], Any]) -> int:
    """The most that torch's own allocator held at once, by its own record of every allocation."""
    gc.collect()
    gc.disable()  # what an earlier call left in cycles would be counted as given back by this one
    try:
        with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as record:
            call()
    finally:
        gc.enable()
    live = peak = 0
    for event in record.profiler.kineto_results.events():
        if event.name() == "[memory]":
            live += event.nbytes()
            peak = max(peak, live)
    return peak


@pytest.mark.filterwarnings("ignore")  # the profiler's own
def test_memory_is_what_the_allocator_hands_out_while_it_is_computed() -> None:
    wan = tiny_wan()
    noisy, timesteps, text = inputs(9)
    size = LatentShape(9, 8, 12)
    with torch.no_grad():
        measured = peak_on_the_cpu(lambda: joint_velocity(wan, noisy, noisy, timesteps, text))
    counted = count_denoising(SETTINGS, size, num_text_tokens=TEXT, mode="joint")[1].peak_bytes
    assert counted == pytest.approx(measured, rel=0.2)  # kernels' own scratch differs by 14 % at this toy size

    wan = tiny_wan(num_layers=12)
    add_lora(wan, rank=4)
    wan.train().enable_gradient_checkpointing()
    with ReferenceAttention(wan) as attention:

        def step() -> None:
            cache = attention.encode(noisy, text)
            attention.denoise(noisy, timesteps, text, cache).square().mean().backward()

        with_a_cache = peak_on_the_cpu(step)
    with OneWayReading(wan) as reading:
        measured = peak_on_the_cpu(
            lambda: reading.velocity(noisy, noisy, timesteps, text, text).square().mean().backward()
        )
    assert measured < 0.8 * with_a_cache
    counted = count_training_step(
        {**SETTINGS, "num_layers": 12}, size, num_text_tokens=TEXT, mode="cached", rank=4, dtype="float32"
    ).peak_bytes
    assert counted == pytest.approx(measured, rel=0.2)


def test_two_small_counts_give_a_deep_one_exactly() -> None:
    deep = {**SETTINGS, "num_layers": 6}
    for mode in ("cached", "joint"):
        found = count_denoising(deep, SIZE, num_text_tokens=TEXT, mode=mode)
        direct = arithmetic._denoise_at_depth(deep, 6, SIZE, TEXT, mode, 1, "float32", None)
        assert found == direct


def test_two_short_clips_give_a_long_one_exactly() -> None:
    long, model = VideoShape(29, 32, 32), arithmetic_parts_model()
    video = torch.empty(1, 3, 29, 32, 32, device="meta")
    with torch.no_grad():
        latents, encode = meter(lambda: model.encode(video).latent_dist.mode())
        _, decode = meter(lambda: model.decode(latents).sample)
    assert count_encoding(AUTOENCODER, long, tiled=False).flops == encode.flops
    found = count_decoding(AUTOENCODER, long, tiled=False)
    assert (found.flops, found.peak_bytes) == (decode.flops, decode.peak_bytes)


def test_tiles_take_less_memory_and_more_work_as_diffusers_cuts_them() -> None:
    shape, model = VideoShape(5, 320, 288), arithmetic_parts_model()
    whole, tiles = (count_decoding(AUTOENCODER, shape, tiled=tiled) for tiled in (False, True))
    assert tiles.peak_bytes < whole.peak_bytes
    model.enable_tiling()
    with torch.no_grad():
        _, decode = meter(lambda: model.decode(torch.empty(1, 16, 2, 40, 36, device="meta")).sample)
    assert tiles.flops == pytest.approx(decode.flops, rel=0.1)
    assert tiles.peak_bytes == pytest.approx(decode.peak_bytes, rel=0.1)


def arithmetic_parts_model() -> Any:
    from realmaster.models.arithmetic_parts import build_autoencoder

    return build_autoencoder(AUTOENCODER)


def test_a_training_step_computes_forward_again_and_keeps_only_the_gradients_of_the_adapter() -> None:
    here: dict[str, Any] = {"num_text_tokens": TEXT, "mode": "joint", "rank": 4, "dtype": "float32"}
    again = count_training_step(SETTINGS, SIZE, **here)
    once = count_training_step(SETTINGS, SIZE, gradient_checkpointing=False, **here)
    forward = count_denoising(SETTINGS, SIZE, num_text_tokens=TEXT, mode="joint")[1]
    assert again.flops - once.flops == pytest.approx(forward.flops, rel=0.1)
    assert again.peak_bytes < once.peak_bytes
    model = tiny_wan()
    add_lora(model, rank=4)
    assert again.kept_bytes == sum(p.nbytes for p in model.parameters() if p.requires_grad)


def test_a_reference_without_the_adapter_saves_its_backward() -> None:
    here: dict[str, Any] = {"num_text_tokens": TEXT, "mode": "cached", "rank": 4, "dtype": "float32"}
    with_lora, without = (count_training_step(SETTINGS, SIZE, adapted_reference=on, **here) for on in (True, False))
    assert without.flops < with_lora.flops
    assert without.peak_bytes < with_lora.peak_bytes


def test_weights_are_weighed_as_they_are_kept() -> None:
    wan = tiny_wan()
    full = weigh_transformer(SETTINGS, "float32", layerwise_fp8=False)
    assert full.total == sum(t.nbytes for t in (*wan.parameters(), *wan.buffers()))
    assert full.block == sum(p.nbytes for p in wan.blocks[0].parameters())
    add_lora(wan, rank=4)
    assert weigh_transformer(SETTINGS, "float32", layerwise_fp8=False, rank=4).total == sum(
        t.nbytes for t in (*wan.parameters(), *wan.buffers())
    )


def test_float8_weights_are_weighed_as_diffusers_keeps_them() -> None:
    with building("bfloat16"):
        wan = keep_float32(WanTransformer3DModel(**CONFIG))
    wan.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=torch.bfloat16)
    weighed = weigh_transformer(SETTINGS, "bfloat16", layerwise_fp8=True)
    assert weighed.total == sum(tensor.nbytes for tensor in (*wan.parameters(), *wan.buffers()))
    assert weighed.block == sum(parameter.nbytes for parameter in wan.blocks[0].parameters())
    assert weighed.largest_layer == max(
        2 * module.weight.numel() + 2 * module.out_features
        for module in wan.modules()
        if isinstance(module, torch.nn.Linear) and module.weight.dtype is torch.float8_e4m3fn
    )


def test_guidance_doubles_the_forwards_and_the_reference_only_where_it_is_not_shared() -> None:
    work = Work(encode=1, reference=10, step=100, decode=1000)
    assert work.total(num_steps=3, num_branches=1, num_references=1) == 1311
    assert work.total(num_steps=3, num_branches=2, num_references=1) == 1611
    assert work.total(num_steps=3, num_branches=2, num_references=4) == 1641
