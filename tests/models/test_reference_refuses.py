"""Inputs that do not fit a reference reading, each refused with one line before anything is computed."""

from __future__ import annotations

import pytest
import torch
from diffusers import FirstBlockCacheConfig, WanTransformer3DModel

from realmaster.errors import ConfigError
from realmaster.models.reference import ReferenceAttention, joint_velocity
from tiny_wan import latents, text, tiny_wan

ONE = torch.tensor([500.0])
# name, what differs from one fitting video, what the message says
MISFITS = [
    ("batch of the noisy latents", {"noisy": latents(2), "timesteps": ONE.repeat(2), "words": text(2)}, "2 references"),
    ("batch of the reference", {"reference": latents(3)}, "1 references for 1 noisy videos, got 3"),
    ("timesteps", {"timesteps": ONE.repeat(3)}, r"one timestep a video, shape \[1\], got \[3\]"),
    ("timesteps a token", {"timesteps": ONE.repeat(1, 72)[None, 0]}, "one timestep a video"),
    ("text", {"words": text(2)}, r"text of shape \[1, tokens, width\]"),
    ("height", {"reference": latents(height=4)}, "a reference of 4x6 tokens"),
    ("full-size reference at half scale", {"scale": 2}, "a reference of 2x3 tokens .* at spatial scale 2"),
    ("frames", {"reference": latents(frames=2)}, "3 latent frames, got 2: .* frame_offset"),
    (
        "frames beyond the end",
        {"reference": latents(frames=2), "offset": 2},
        "inside 3 latent frames, got frames 2 to 3",
    ),
    ("frames before the start", {"reference": latents(frames=2), "offset": -1}, "frame_offset of at least 0"),
    ("scale", {"scale": 0}, "expected spatial_scale of at least 1"),
    ("channels", {"reference": torch.randn(1, 3, 3, 8, 12)}, r"reference latents of shape \[B, 4, F, H, W\]"),
    ("axes", {"noisy": torch.randn(1, 4, 8, 12)}, r"noisy latents of shape \[B, 4, F, H, W\]"),
    ("patches", {"reference": latents(height=7)}, "divide into patches"),
    ("nothing", {"reference": latents(frames=0)}, "divide into patches"),
    ("width", {"reference": latents(frames=1, height=2, width=66), "scale": 2}, "within 64 positions .* got 65"),
    ("length", {"reference": latents(frames=65, height=2, width=2)}, "within 64 positions along each axis, got 65"),
]


@pytest.fixture(scope="module")
def wan() -> WanTransformer3DModel:
    return tiny_wan().requires_grad_(False)


def read(attention, wan, *, noisy, reference, timesteps, words, scale, offset) -> None:
    """Read a reference through an attention's cache, or jointly."""
    place = {"spatial_scale": scale, "frame_offset": offset}
    if attention is None:
        joint_velocity(wan, noisy, reference, timesteps, words, **place)
    else:
        cache = attention.encode(reference, text(len(reference)), **place)
        attention.denoise(noisy, timesteps, words, cache)


@pytest.mark.parametrize("mode", ["cached", "joint"])
@pytest.mark.parametrize(("changes", "message"), [case[1:] for case in MISFITS], ids=[case[0] for case in MISFITS])
def test_what_does_not_fit_is_refused_with_one_line(wan, mode, changes, message) -> None:
    case = {"noisy": latents(), "reference": latents(seed=5), "timesteps": ONE, "words": text()}
    case |= {"scale": 1, "offset": None, **changes}
    with ReferenceAttention(wan) as attention, pytest.raises(ConfigError, match=message) as caught:
        read(attention if mode == "cached" else None, wan, **case)
    assert "\n" not in str(caught.value)


def test_another_model_is_refused() -> None:
    with pytest.raises(ConfigError, match="expected a diffusers WanTransformer3DModel, got Linear"):
        ReferenceAttention(torch.nn.Linear(2, 2))
    with pytest.raises(ConfigError, match="got Linear"):
        joint_velocity(torch.nn.Linear(2, 2), latents(), latents(), ONE, text())


def test_a_second_installation_is_refused(wan) -> None:
    with ReferenceAttention(wan), pytest.raises(ConfigError, match="call remove"):
        ReferenceAttention(wan)
    ReferenceAttention(wan).remove()


def test_a_cache_of_another_expert_is_refused(wan) -> None:
    with ReferenceAttention(wan) as high, ReferenceAttention(tiny_wan(seed=1)) as low:
        cache = high.encode(latents(seed=5), text())
        with pytest.raises(ConfigError, match="encode the reference with each expert"):
            low.denoise(latents(), ONE, text(), cache)
    with ReferenceAttention(wan) as again:  # the same transformer, installed anew
        again.denoise(latents(), ONE, text(), cache)


def test_a_reference_pass_that_skipped_layers_is_refused() -> None:
    wan = tiny_wan().requires_grad_(False)
    wan.blocks[1].forward = lambda tokens, *_: tokens
    with ReferenceAttention(wan) as attention, pytest.raises(ConfigError, match=r"layers \[1\] wrote none"):
        attention.encode(latents(), text())


def test_a_feature_cache_does_not_swallow_the_reference_pass() -> None:
    """With first-block caching on, a second clip much like the first is still read in every layer."""
    wan = tiny_wan().requires_grad_(False)
    with ReferenceAttention(wan) as attention:
        expected = attention.encode(latents(), text())
        wan.enable_cache(FirstBlockCacheConfig(threshold=0.5))
        with wan.cache_context("cond"):
            attention.denoise(latents(seed=3), ONE, text(), expected)
        for _ in range(2):
            cache = attention.encode(latents(), text())
            for pair, twin in zip(cache.layers, expected.layers, strict=True):
                assert torch.equal(pair[0].data, twin[0].data)
