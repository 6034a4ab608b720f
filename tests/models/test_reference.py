"""Both readings of the reference agree with a plain one written from the formulas, at every shape that is used."""

from __future__ import annotations

import threading

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from realmaster.models.reference import ReferenceAttention, ReferenceCache, joint_velocity
from tiny_wan import latents, plain_velocity, text, tiny_wan

CLOSE = {"rtol": 0, "atol": 1e-5}
# name, batch, frames of the reference and first frame, spatial scale
SHAPES = [
    pytest.param(1, 3, None, 1, id="one video"),
    pytest.param(2, 3, None, 1, id="two videos at two timesteps"),
    pytest.param(1, 3, None, 2, id="half-scale reference"),
    pytest.param(2, 2, 1, 2, id="two videos, half-scale reference of the last two frames"),
]


@pytest.fixture(scope="module")
def wan() -> WanTransformer3DModel:
    return tiny_wan().requires_grad_(False)


def inputs(batch: int, frames: int, scale: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    reference = latents(batch, frames, 8 // scale, 12 // scale, seed=5)
    return latents(batch), reference, torch.tensor([700.0, 130.0])[:batch], text(batch)


@pytest.mark.parametrize(("batch", "frames", "offset", "scale"), SHAPES)
def test_cached_equals_joint_attention_under_a_one_way_mask(wan, batch, frames, offset, scale) -> None:
    noisy, reference, timesteps, words = inputs(batch, frames, scale)
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(reference, words, spatial_scale=scale, frame_offset=offset)
        velocity = attention.denoise(noisy, timesteps, words, cache)
    plain = plain_velocity(wan, noisy, reference, timesteps, words, one_way=True, scale=scale, first_frame=offset or 0)
    torch.testing.assert_close(velocity, plain, **CLOSE)


@pytest.mark.parametrize(("batch", "frames", "offset", "scale"), SHAPES)
def test_joint_equals_a_plain_implementation(wan, batch, frames, offset, scale) -> None:
    noisy, reference, timesteps, words = inputs(batch, frames, scale)
    velocity = joint_velocity(wan, noisy, reference, timesteps, words, spatial_scale=scale, frame_offset=offset)
    plain = plain_velocity(wan, noisy, reference, timesteps, words, one_way=False, scale=scale, first_frame=offset or 0)
    torch.testing.assert_close(velocity, plain, **CLOSE)


def test_the_two_readings_differ_from_each_other_and_from_no_reference(wan) -> None:
    noisy, reference, timesteps, words = inputs(1, 3, 1)
    with ReferenceAttention(wan) as attention:
        alone = attention.denoise(noisy, timesteps, words, None)
        cached = attention.denoise(noisy, timesteps, words, attention.encode(reference, words))
    joint = joint_velocity(wan, noisy, reference, timesteps, words)
    for one, other in ((alone, cached), (alone, joint), (cached, joint)):
        assert (one - other).abs().max() > 1e-3


def test_without_a_reference_the_model_equals_itself_bit_for_bit(wan) -> None:
    noisy, reference, timesteps, words = inputs(2, 3, 1)
    before = wan(noisy, timesteps, words, return_dict=False)[0]
    with ReferenceAttention(wan) as attention:
        full = attention.encode(reference, words)
        empty = ReferenceCache(full.grid, 2, [None] * 3)
        assert torch.equal(attention.denoise(noisy, timesteps, words, None), before)
        assert torch.equal(attention.denoise(noisy, timesteps, words, empty), before)
        assert torch.equal(wan(noisy, timesteps, words, return_dict=False)[0], before)
    assert torch.equal(wan(noisy, timesteps, words, return_dict=False)[0], before)


def test_removal_restores_the_processors_and_forgets_the_hooks(wan) -> None:
    processors = [block.attn1.processor for block in wan.blocks]
    attention = ReferenceAttention(wan)
    assert all(block.attn1.processor is not old for block, old in zip(wan.blocks, processors, strict=True))
    attention.remove()
    attention.remove()
    assert all(block.attn1.processor is old for block, old in zip(wan.blocks, processors, strict=True))
    joint_velocity(wan, *inputs(1, 3, 1))
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in wan.modules())


def test_a_failed_forward_leaves_nothing_behind() -> None:
    wan = tiny_wan()
    noisy, reference, timesteps, words = inputs(1, 3, 1)
    before = wan(noisy, timesteps, words, return_dict=False)[0]
    wide = text(1).repeat(1, 1, 2)  # the text embedder refuses this width in the middle of the forward
    with ReferenceAttention(wan) as attention:
        with pytest.raises(RuntimeError):
            attention.encode(reference, wide)
        with pytest.raises(RuntimeError):
            attention.denoise(noisy, timesteps, wide, attention.encode(reference, words))
        assert torch.equal(wan(noisy, timesteps, words, return_dict=False)[0], before)
    with pytest.raises(RuntimeError):
        joint_velocity(wan, noisy, reference, timesteps, wide)
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in wan.modules())
    assert torch.equal(wan(noisy, timesteps, words, return_dict=False)[0], before)


def test_joint_modulation_has_two_rows_whatever_the_length(wan) -> None:
    seen = []
    handle = wan.blocks[1].register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    joint_velocity(wan, *inputs(2, 3, 1))
    handle.remove()
    tokens, _, rows, _ = seen[0]
    assert tokens.shape == (2, 2 * 3 * 4 * 6, 48)
    assert rows.first.shape == rows.second.shape == (2, 6, 48)
    assert not torch.equal(rows.first, rows.second)


def test_guidance_branches_may_share_one_cache(wan) -> None:
    noisy, reference, timesteps, words = inputs(1, 3, 1)
    other = text(1, seed=9)
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(reference, words)
        apart = [attention.denoise(noisy, timesteps, branch, cache) for branch in (words, other)]
        both = attention.denoise(
            noisy.repeat(2, 1, 1, 1, 1), timesteps.repeat(2), torch.cat([words, other]), cache.expand(2)
        )
    assert cache.expand(2).nbytes == cache.nbytes
    torch.testing.assert_close(both, torch.cat(apart), **CLOSE)
    assert (apart[0] - apart[1]).abs().max() > 1e-4


def test_guidance_branches_may_have_a_cache_each(wan) -> None:
    noisy, reference, timesteps, words = inputs(1, 3, 1)
    branches = torch.cat([words, text(1, seed=9)])
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(reference.repeat(2, 1, 1, 1, 1), branches)
        both = attention.denoise(noisy.repeat(2, 1, 1, 1, 1), timesteps.repeat(2), branches, cache)
        for row in range(2):
            words = branches[row : row + 1]
            alone = attention.denoise(noisy, timesteps, words, attention.encode(reference, words))
            again = attention.denoise(noisy, timesteps, words, cache.select([row]))
            torch.testing.assert_close(both[row : row + 1], alone, **CLOSE)
            torch.testing.assert_close(again, alone, **CLOSE)


def test_a_shared_cache_of_two_videos_serves_their_branches_in_order(wan) -> None:
    noisy, reference, timesteps, words = inputs(2, 3, 1)
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(reference, words)
        once = attention.denoise(noisy, timesteps, words, cache)
        twice = attention.denoise(
            noisy.repeat(2, 1, 1, 1, 1), timesteps.repeat(2), words.repeat(2, 1, 1), cache.expand(2)
        )
        last = attention.denoise(noisy[1:], timesteps[1:], words[1:], cache.select(slice(1, 2)))
    torch.testing.assert_close(twice, torch.cat([once, once]), **CLOSE)
    torch.testing.assert_close(last, once[1:], **CLOSE)


@pytest.mark.parametrize("mode", ["cached", "joint"])
def test_each_video_of_a_batch_reads_its_own_reference(wan, mode) -> None:
    noisy, reference, timesteps, words = inputs(2, 3, 1)
    changed = reference.clone()
    changed[1] += 1
    results = []
    for clip in (reference, changed):
        if mode == "joint":
            results.append(joint_velocity(wan, noisy, clip, timesteps, words))
        else:
            with ReferenceAttention(wan) as attention:
                results.append(attention.denoise(noisy, timesteps, words, attention.encode(clip, words)))
    torch.testing.assert_close(results[0][0], results[1][0], **CLOSE)
    assert (results[0][1] - results[1][1]).abs().max() > 1e-3


@pytest.mark.parametrize("mode", ["cached", "joint"])
def test_bfloat16_stays_near_float32(mode) -> None:
    wan = tiny_wan().requires_grad_(False).bfloat16()
    noisy, reference, timesteps, words = inputs(2, 3, 1)
    low = [tensor.bfloat16() for tensor in (noisy, reference, words)]
    if mode == "joint":
        velocity = joint_velocity(wan, low[0], low[1], timesteps, low[2])
    else:
        with ReferenceAttention(wan) as attention:
            velocity = attention.denoise(low[0], timesteps, low[2], attention.encode(low[1], low[2]))
    assert velocity.dtype == torch.bfloat16
    plain = plain_velocity(wan.float(), noisy, reference, timesteps, words, one_way=mode == "cached")
    assert (velocity.float() - plain).norm() / plain.norm() < 0.02


def test_a_scalar_timestep_serves_the_whole_batch(wan) -> None:
    noisy, reference, _, words = inputs(2, 3, 1)
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(reference, words)
        one = attention.denoise(noisy, torch.tensor(500), words, cache)
        each = attention.denoise(noisy, torch.tensor([500, 500]), words, cache)
    assert torch.equal(one, each)


def test_threads_do_not_hear_each_other(wan) -> None:
    noisy, reference, timesteps, words = inputs(1, 3, 1)
    expected, found = {}, {}
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(reference, words)
        jobs = {
            "plain": lambda: wan(noisy, timesteps, words, return_dict=False)[0],
            "cached": lambda: attention.denoise(noisy, timesteps, words, cache),
            "encoded": lambda: attention.denoise(noisy, timesteps, words, attention.encode(-reference, words)),
            "joint": lambda: joint_velocity(wan, noisy, reference, timesteps, words),
        }
        expected = {name: job() for name, job in jobs.items()}
        start = threading.Barrier(len(jobs))

        def work(name: str) -> None:
            start.wait()
            found[name] = [jobs[name]() for _ in range(4)]

        threads = [threading.Thread(target=work, args=(name,)) for name in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for name, results in found.items():
        for result in results:
            torch.testing.assert_close(result, expected[name], rtol=0, atol=1e-6, msg=name)
    assert found.keys() == expected.keys()
