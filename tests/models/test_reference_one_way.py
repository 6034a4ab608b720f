"""The reading that trains is the cached one: same velocity, same gradients, less memory."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from realmaster.errors import ConfigError
from realmaster.models.adapter import add_lora
from realmaster.models.arithmetic import build_transformer
from realmaster.models.metering import Cost, meter
from realmaster.models.reference import ReferenceAttention
from realmaster.models.reference_one_way import OneWayReading
from tiny_wan import CONFIG, latents, plain_velocity, text, tiny_wan

TIMESTEPS = torch.tensor([700.0, 130.0])
EMPTY = text(2, seed=9)[:, :3]  # of another length than the noisy tokens' text

Forward = Callable[[Tensor, Tensor], Tensor]


def gradients(wan: torch.nn.Module, forward: Forward, *, scale: int = 1) -> dict[str, Tensor]:
    wan.zero_grad()
    noisy = latents(2).requires_grad_()
    reference = latents(2, height=8 // scale, width=12 // scale, seed=5).requires_grad_()
    velocity = forward(noisy, reference)
    (velocity - latents(2, seed=7)).square().sum().backward()
    named = {name: p.grad for name, p in wan.named_parameters() if p.requires_grad}
    return {**named, "noisy": noisy.grad, "reference": reference.grad, "velocity": velocity.detach()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        difference = (gradient - other[name]).norm() / other[name].norm().clamp_min(1e-3)
        assert difference < tolerance, (name, float(difference))


def read_both_ways(wan: torch.nn.Module, scale: int = 1) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Gradients of the cached reading in two passes, and of both streams together."""
    with ReferenceAttention(wan) as attention:

        def two_passes(noisy: Tensor, reference: Tensor) -> Tensor:
            cache = attention.encode(reference, EMPTY, spatial_scale=scale)
            return attention.denoise(noisy, TIMESTEPS, text(2), cache)

        expected = gradients(wan, two_passes, scale=scale)
    with OneWayReading(wan) as reading:

        def together(noisy: Tensor, reference: Tensor) -> Tensor:
            return reading.velocity(noisy, reference, TIMESTEPS, text(2), EMPTY, spatial_scale=scale)

        return expected, gradients(wan, together, scale=scale)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("checkpointing", [False, True], ids=["", "checkpointing"])
def test_velocity_and_gradients_are_those_of_the_cached_reading(scale: int, checkpointing: bool) -> None:
    wan = tiny_wan().train()
    if checkpointing:
        wan.enable_gradient_checkpointing()
    expected, found = read_both_ways(wan, scale)
    assert expected["reference"].norm() > 1e-3
    assert_same(found, expected, 1e-5)


def test_a_lora_learns_the_same_from_both() -> None:
    wan = tiny_wan().requires_grad_(False).train()
    add_lora(wan, rank=4)
    torch.manual_seed(3)
    for name, parameter in wan.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.3)
    wan.enable_gradient_checkpointing()
    assert_same(*reversed(read_both_ways(wan)), 1e-5)


def test_it_agrees_with_the_plain_implementation() -> None:
    wan = tiny_wan()
    with OneWayReading(wan) as reading, torch.no_grad():
        found = reading.velocity(latents(2), latents(2, seed=5), TIMESTEPS, text(2), text(2))
        expected = plain_velocity(wan, latents(2), latents(2, seed=5), TIMESTEPS, text(2), one_way=True)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_installed_it_leaves_the_model_alone_and_is_removed_whole() -> None:
    wan = tiny_wan()
    arguments = {"timestep": TIMESTEPS, "encoder_hidden_states": text(2)}
    before = [attention.processor for block in wan.blocks for attention in (block.attn1, block.attn2)]
    with torch.no_grad():
        expected = wan(latents(2), **arguments).sample
        with OneWayReading(wan) as reading:
            assert torch.equal(wan(latents(2), **arguments).sample, expected)
            with pytest.raises(ConfigError, match="reads no reference yet"):
                OneWayReading(wan)
            with pytest.raises(ConfigError, match="without reference attention"):
                ReferenceAttention(wan)
        reading.remove()
    assert [attention.processor for block in wan.blocks for attention in (block.attn1, block.attn2)] == before


def test_a_backward_after_removal_fails_rather_than_recompute_something_else() -> None:
    wan = tiny_wan().train()
    wan.enable_gradient_checkpointing()
    with OneWayReading(wan) as reading:
        velocity = reading.velocity(latents(2), latents(2, seed=5), TIMESTEPS, text(2), EMPTY)
    with pytest.raises((TypeError, AttributeError)):
        velocity.sum().backward()


def step_cost(num_layers: int, *, together: bool) -> Cost:
    """Count a training step of a narrow LoRA model whose blocks are recomputed."""
    wan = build_transformer({**CONFIG, "num_layers": num_layers}, "bfloat16").train()
    add_lora(wan, rank=4)
    wan.enable_gradient_checkpointing()
    place = {"device": "meta", "dtype": torch.bfloat16}
    noisy, reference = torch.empty(1, 4, 3, 32, 48, **place), torch.empty(1, 4, 3, 32, 48, **place)
    words, times = torch.empty(1, 5, 16, **place), torch.zeros(1, device="meta")
    if together:
        with OneWayReading(wan) as reading:
            return meter(lambda: reading.velocity(noisy, reference, times, words, words).float().mean().backward())[1]
    with ReferenceAttention(wan) as attention:
        return meter(
            lambda: attention.denoise(noisy, times, words, attention.encode(reference, words)).float().mean().backward()
        )[1]


def test_each_block_takes_less_than_half_the_memory_and_no_more_operations() -> None:
    apart, together = ([step_cost(layers, together=way) for layers in (3, 4)] for way in (False, True))
    grown = [longer.peak_bytes - shorter.peak_bytes for shorter, longer in (apart, together)]
    assert 0 < grown[1] < 0.5 * grown[0], grown
    more = [longer.flops - shorter.flops for shorter, longer in (apart, together)]
    assert more[1] == pytest.approx(more[0], rel=0.01)
