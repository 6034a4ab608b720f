"""Gradients: through both passes, the same as a plain implementation's, with and without checkpointing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

import pytest
import torch
from diffusers import WanTransformer3DModel
from torch import Tensor

from realmaster.errors import ConfigError
from realmaster.models.reference import ReferenceAttention, joint_velocity
from tiny_wan import latents, plain_velocity, text, tiny_wan

TIMESTEPS = torch.tensor([700.0, 130.0])
MODES = pytest.mark.parametrize("mode", ["cached", "joint"])


Forward = Callable[[Tensor, Tensor], Tensor]


@contextmanager
def forward_of(wan: WanTransformer3DModel, mode: str, **options: object) -> Iterator[Forward]:
    """One training forward (noisy, reference) -> velocity: in cached mode both passes."""
    if mode == "joint":
        yield lambda noisy, reference: joint_velocity(wan, noisy, reference, TIMESTEPS, text(2))
        return
    with ReferenceAttention(wan, **options) as attention:
        yield lambda noisy, reference: attention.denoise(
            noisy, TIMESTEPS, text(2), attention.encode(reference, text(2))
        )


def gradients(wan: WanTransformer3DModel, forward: Forward) -> dict[str, Tensor]:
    """Gradients of a squared error for every weight and for both inputs."""
    wan.zero_grad()
    noisy, reference = latents(2).requires_grad_(), latents(2, seed=5).requires_grad_()
    (forward(noisy, reference) - latents(2, seed=7)).square().sum().backward()
    named = {name: parameter.grad for name, parameter in wan.named_parameters()}
    return {**named, "noisy": noisy.grad, "reference": reference.grad}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor], tolerance: float) -> None:
    assert one.keys() == other.keys()
    for name, gradient in one.items():
        assert gradient is not None, name
        difference = (gradient - other[name]).norm() / other[name].norm().clamp_min(1e-3)
        assert difference < tolerance, (name, float(difference))


@MODES
def test_gradients_flow_through_both_passes_as_in_the_plain_implementation(mode) -> None:
    wan = tiny_wan()
    with forward_of(wan, mode) as forward:
        ours = gradients(wan, forward)

    def plain(noisy: Tensor, reference: Tensor) -> Tensor:
        return plain_velocity(wan, noisy, reference, TIMESTEPS, text(2), one_way=mode == "cached")

    assert ours["reference"].norm() > 1e-3
    assert_same(ours, gradients(wan, plain), 1e-4)


@MODES
def test_gradient_checkpointing_gives_the_same_gradients(mode) -> None:
    wan, calls = tiny_wan().train(), []
    with forward_of(wan, mode) as forward:
        plain = gradients(wan, forward)
        wan.enable_gradient_checkpointing()
        handle = wan.blocks[1].attn1.to_out[1].register_forward_hook(lambda *_: calls.append(1))
        checkpointed = gradients(wan, forward)
        handle.remove()
    assert len(calls) == (4 if mode == "cached" else 2), "each pass is computed twice"
    assert_same(checkpointed, plain, 1e-6)


@MODES
def test_recomputation_is_not_misled_by_what_ran_since(mode) -> None:
    """Between the forward and its backward the same transformer runs in every other way."""
    wan = tiny_wan().train()

    def forward(noisy: Tensor, reference: Tensor, *, busy: bool) -> Tensor:
        cache = attention.encode(reference, text(2))
        velocity = attention.denoise(noisy, TIMESTEPS, text(2), cache)
        velocity = velocity + attention.denoise(-noisy, TIMESTEPS, text(2, seed=8), cache)  # one cache, two branches
        if mode == "joint":
            velocity = joint_velocity(wan, noisy, reference, TIMESTEPS, text(2))
        if busy:
            attention.denoise(noisy, TIMESTEPS, text(2), attention.encode(2 * reference, text(2)))
            attention.denoise(noisy, TIMESTEPS, text(2), None)
            joint_velocity(wan, noisy, 2 * reference, TIMESTEPS, text(2))
        return velocity

    with ReferenceAttention(wan) as attention:
        plain = gradients(wan, partial(forward, busy=False))
        wan.enable_gradient_checkpointing()
        assert_same(gradients(wan, partial(forward, busy=True)), plain, 1e-6)


def test_recomputation_leaves_the_cache_as_it_was() -> None:
    wan = tiny_wan().train()
    wan.enable_gradient_checkpointing()
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(latents(2, seed=5), text(2))
        before = list(cache.layers)
        attention.denoise(latents(2), TIMESTEPS, text(2), cache).sum().backward()
    assert all(now is then for now, then in zip(cache.layers, before, strict=True))


def test_a_backward_after_removal_fails_rather_than_recompute_something_else() -> None:
    wan = tiny_wan().train()
    wan.enable_gradient_checkpointing()
    with forward_of(wan, "cached") as forward:
        velocity = forward(latents(2), latents(2, seed=5))
    with pytest.raises(TypeError):
        velocity.sum().backward()


def test_the_reference_may_be_frozen_while_the_noisy_pass_learns() -> None:
    wan = tiny_wan()
    with ReferenceAttention(wan) as attention:
        with torch.no_grad():
            cache = attention.encode(latents(2, seed=5), text(2))
        attention.denoise(latents(2), TIMESTEPS, text(2), cache).sum().backward()
    assert wan.blocks[0].attn1.to_k.weight.grad.norm() > 0


def test_training_through_bfloat16_storage_works() -> None:
    wan = tiny_wan()
    with forward_of(wan, "cached") as forward:
        exact = gradients(wan, forward)
    with forward_of(wan, "cached", storage_dtype=torch.bfloat16) as forward:
        rounded = gradients(wan, forward)
    assert_same(rounded, exact, 0.02)


@pytest.mark.parametrize("options", [{"storage_dtype": torch.float8_e4m3fn}, {"storage_device": "host"}], ids=str)
def test_training_through_fp8_or_host_storage_is_refused(options) -> None:
    wan = tiny_wan()
    with forward_of(wan, "cached", **options) as forward, pytest.raises(ConfigError, match="for training"):
        forward(latents(2), latents(2, seed=5))
