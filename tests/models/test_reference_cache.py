"""What a reference cache holds, how small it can be, and what it refuses."""

from __future__ import annotations

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from realmaster.errors import ConfigError
from realmaster.models.reference import ReferenceAttention, ReferenceCache
from tiny_wan import latents, text, tiny_wan

FP8 = torch.float8_e4m3fn
TIMESTEPS = torch.tensor([400.0, 900.0])


@pytest.fixture(scope="module")
def wan() -> WanTransformer3DModel:
    return tiny_wan().requires_grad_(False)


def translate(wan: WanTransformer3DModel, **options: object) -> tuple[Tensor, ReferenceCache]:
    with ReferenceAttention(wan, **options) as attention:
        cache = attention.encode(latents(2, seed=5), text(2))
        return attention.denoise(latents(2), TIMESTEPS, text(2), cache), cache


def test_a_cache_holds_two_tensors_a_layer_in_the_model_s_precision(wan) -> None:
    _, cache = translate(wan)
    tokens, width = 3 * 4 * 6, 48
    assert len(cache.layers) == 3
    assert cache.nbytes == 3 * 2 * 2 * tokens * width * 4
    key, value = cache.layers[0]
    assert key.data.shape == value.data.shape == (2, tokens, 2, 24)


def test_a_cache_keeps_nothing_else_alive() -> None:
    wan = tiny_wan().requires_grad_(False)
    wan.fuse_qkv_projections()  # keys and values are parts of one tensor then
    _, cache = translate(wan)
    for packed in (packed for pair in cache.layers for packed in pair):
        assert packed.data.untyped_storage().nbytes() == packed.data.nbytes


@pytest.mark.parametrize(("dtype", "bytes_each", "error"), [(torch.bfloat16, 2, 2e-3), (FP8, 1, 2e-2)], ids=str)
def test_a_smaller_cache_gives_nearly_the_same_velocity(wan, dtype, bytes_each, error) -> None:
    exact, full = translate(wan)
    close, small = translate(wan, storage_dtype=dtype)
    assert 0 < (close - exact).norm() / exact.norm() < error
    assert small.layers[0][0].data.dtype == dtype
    assert full.nbytes * bytes_each / 4 <= small.nbytes < full.nbytes * bytes_each / 4 * 1.02


def test_fp8_survives_values_far_outside_its_own_range() -> None:
    wan = tiny_wan().requires_grad_(False)
    for block, factor in zip(wan.blocks, (1e8, 1.0, 1e-8), strict=True):
        block.attn1.to_v.weight.mul_(factor)
        block.attn1.to_v.bias.mul_(factor)
        block.attn1.to_out[0].weight.div_(factor)
    exact, _ = translate(wan)
    close, _ = translate(wan, storage_dtype=FP8)
    assert torch.isfinite(close).all()
    assert (close - exact).norm() / exact.norm() < 2e-2


@pytest.mark.parametrize("dtype", [None, torch.bfloat16, FP8], ids=str)
def test_host_storage_changes_nothing(wan, dtype) -> None:
    here, _ = translate(wan, storage_dtype=dtype)
    host, cache = translate(wan, storage_dtype=dtype, storage_device="host")
    assert torch.equal(here, host)
    assert all(packed.data.device.type == "cpu" for pair in cache.layers for packed in pair)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU: the side stream exists only there")
@pytest.mark.parametrize("dtype", [None, torch.bfloat16, FP8], ids=str)
def test_pinned_memory_with_prefetch_changes_nothing_on_a_gpu(dtype) -> None:
    wan = tiny_wan(num_layers=6).requires_grad_(False).cuda()
    results = []
    for device in ("model", "host"):
        with ReferenceAttention(wan, storage_dtype=dtype, storage_device=device) as attention:
            cache = attention.encode(latents(2, seed=5).cuda(), text(2).cuda())
            for _ in range(3):
                velocity = attention.denoise(latents(2).cuda(), TIMESTEPS.cuda(), text(2).cuda(), cache)
            results.append(velocity)
            one = attention.denoise(*(part[1:].cuda() for part in (latents(2), TIMESTEPS, text(2))), cache.select([1]))
            torch.testing.assert_close(one, velocity[1:], rtol=0, atol=1e-5)
    assert all(packed.data.is_pinned() for pair in cache.layers for packed in pair)
    assert torch.equal(*results)


def test_a_cache_of_fp8_can_be_selected_and_expanded(wan) -> None:
    noisy, words = latents(2), text(2)
    with ReferenceAttention(wan, storage_dtype=FP8) as attention:
        cache = attention.encode(latents(2, seed=5), words)
        both = attention.denoise(noisy, TIMESTEPS, words, cache)
        second = (noisy[[1, 1]], TIMESTEPS[[1, 1]], words[[1, 1]])
        again = attention.denoise(*second, cache.select([1]).expand(2))
    torch.testing.assert_close(again, both[[1, 1]], rtol=0, atol=1e-5)


@pytest.mark.parametrize("rows", [[2], [], [-1], slice(5, 9)], ids=str)
def test_selecting_what_is_not_there_is_refused(wan, rows) -> None:
    _, cache = translate(wan)
    with pytest.raises(ConfigError, match="rows within a cache of 2 videos"):
        cache.select(rows)


def test_an_expanded_cache_cannot_be_selected_from(wan) -> None:
    _, cache = translate(wan)
    with pytest.raises(ConfigError, match="call select first"):
        cache.expand(2).select([0])


@pytest.mark.parametrize(
    ("options", "message"),
    [({"storage_dtype": torch.float16}, "bfloat16, float8_e4m3fn or None"), ({"storage_device": "disk"}, "'model' or")],
    ids=str,
)
def test_other_storage_is_refused(wan, options, message) -> None:
    with pytest.raises(ConfigError, match=message):
        ReferenceAttention(wan, **options)


def test_keys_are_kept_in_the_values_precision_when_the_norm_is_more_precise() -> None:
    """CUDA's autocast norms in float32; here the norms do so themselves."""
    wan = tiny_wan(num_layers=2).requires_grad_(False).to(torch.bfloat16)
    for block in wan.blocks:
        for norm in (block.attn1.norm_q, block.attn1.norm_k):
            norm.register_forward_hook(lambda _module, _inputs, normed: normed.float())
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(latents(1, seed=5).bfloat16(), text(1).bfloat16())
        velocity = attention.denoise(latents(1).bfloat16(), TIMESTEPS[:1], text(1).bfloat16(), cache)
    assert {packed.data.dtype for pair in cache.layers for packed in pair} == {torch.bfloat16}
    assert velocity.dtype == torch.bfloat16
