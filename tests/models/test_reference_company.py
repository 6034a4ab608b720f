"""The reference beside what else people attach to a transformer: adapters, back-ends, offload, compilers, wrappers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from diffusers import WanTransformer3DModel
from peft import LoraConfig, get_peft_model
from torch import Tensor, nn

from realmaster.models.reference import ReferenceAttention, joint_velocity
from tiny_wan import latents, plain_velocity, text, tiny_wan

TIMESTEPS = torch.tensor([700.0, 130.0])
TARGETS = ["to_q", "to_k", "to_v", "to_out.0", "net.0.proj", "net.2"]
MODES = pytest.mark.parametrize("mode", ["cached", "joint"])


def read(transformer: nn.Module, mode: str) -> Tensor:
    """A velocity of two videos in one of the two modes."""
    inputs = latents(2), latents(2, seed=5), TIMESTEPS, text(2)
    if mode == "joint":
        return joint_velocity(transformer, *inputs)
    with ReferenceAttention(transformer) as attention:
        return attention.denoise(inputs[0], TIMESTEPS, text(2), attention.encode(inputs[1], text(2)))


def lora(wan: nn.Module) -> LoraConfig:
    return LoraConfig(r=4, lora_alpha=4, target_modules=TARGETS, init_lora_weights=False)


def with_adapter(wan: WanTransformer3DModel) -> WanTransformer3DModel:
    torch.manual_seed(3)
    wan.add_adapter(lora(wan))
    return wan


def peft_model(wan: WanTransformer3DModel) -> nn.Module:
    torch.manual_seed(3)
    return get_peft_model(wan, lora(wan)).eval()


def merged(wan: WanTransformer3DModel) -> WanTransformer3DModel:
    """The same adapter added to the weights by hand: W + B A."""
    adapted, plain = with_adapter(wan), tiny_wan()
    modules = dict(adapted.named_modules())
    with torch.no_grad():
        for name, module in plain.named_modules():
            if hasattr(modules[name], "lora_A"):
                module.weight += modules[name].lora_B["default"].weight @ modules[name].lora_A["default"].weight
    return plain


@MODES
@pytest.mark.parametrize("wrap", [with_adapter, peft_model], ids=["adapter on the model", "model inside PEFT"])
def test_a_lora_of_rank_4_gives_what_its_merged_weights_give(mode, wrap) -> None:
    inputs = latents(2), latents(2, seed=5), TIMESTEPS, text(2)
    adapted = wrap(tiny_wan())
    plain = plain_velocity(merged(tiny_wan()), *inputs, one_way=mode == "cached")
    bare = plain_velocity(tiny_wan(), *inputs, one_way=mode == "cached")
    torch.testing.assert_close(read(adapted, mode), plain, rtol=0, atol=2e-5)
    assert (plain - bare).abs().max() > 1e-2


@MODES
def test_a_lora_can_be_switched_off_and_on_while_installed(mode) -> None:
    wan = tiny_wan()
    bare = read(wan, mode)
    with_adapter(wan)
    adapted = read(wan, mode)
    wan.disable_adapters()
    torch.testing.assert_close(read(wan, mode), bare, rtol=0, atol=1e-6)
    wan.enable_adapters()
    assert torch.equal(read(wan, mode), adapted)
    assert not torch.equal(adapted, bare)


def test_an_adapter_may_come_after_the_installation() -> None:
    wan = tiny_wan()
    with ReferenceAttention(wan) as attention:
        with_adapter(wan)
        cache = attention.encode(latents(2, seed=5), text(2))
        velocity = attention.denoise(latents(2), TIMESTEPS, text(2), cache)
    assert torch.equal(velocity, read(with_adapter(tiny_wan()), "cached"))


@MODES
def test_only_the_adapter_learns_and_checkpointing_changes_nothing(mode) -> None:
    found = []
    for checkpointing in (False, True):
        wan = with_adapter(tiny_wan()).train()
        if checkpointing:
            wan.enable_gradient_checkpointing()
        attention = ReferenceAttention(wan)
        if mode == "joint":
            velocity = joint_velocity(wan, latents(2), latents(2, seed=5), TIMESTEPS, text(2))
        else:
            cache = attention.encode(latents(2, seed=5), text(2))
            velocity = attention.denoise(latents(2), TIMESTEPS, text(2), cache)
        velocity.square().sum().backward()
        attention.remove()
        found.append({name: weight.grad for name, weight in wan.named_parameters() if weight.grad is not None})
    assert found[0].keys() == found[1].keys()
    assert all("lora_" in name for name in found[0])
    assert len(found[0]) == 2 * 3 * (4 + 4 + 2)
    for name, gradient in found[0].items():
        torch.testing.assert_close(found[1][name], gradient, rtol=1e-5, atol=1e-6, msg=name)


def test_an_adapter_s_strength_reaches_both_passes() -> None:
    wan = with_adapter(tiny_wan())
    strength = {"attention_kwargs": {"scale": 0.5}}
    with ReferenceAttention(wan) as attention:
        cache = attention.encode(latents(2, seed=5), text(2), **strength)
        half = attention.denoise(latents(2), TIMESTEPS, text(2), cache, **strength)
    for module in wan.modules():
        if hasattr(module, "lora_B"):
            module.lora_B["default"].weight.data.mul_(0.5)
    torch.testing.assert_close(half, read(wan, "cached"), rtol=0, atol=1e-5)


def test_an_attention_back_end_can_be_chosen_while_installed_and_stays_after_removal() -> None:
    wan = tiny_wan()
    expected, chosen = read(wan, "cached"), []
    with ReferenceAttention(wan) as attention:
        wan.set_attention_backend("_native_math")
        cache = attention.encode(latents(2, seed=5), text(2))
        velocity = attention.denoise(latents(2), TIMESTEPS, text(2), cache)
        chosen.append(wan.blocks[0].attn1.processor._attention_backend)
    chosen.append(wan.blocks[0].attn1.processor._attention_backend)
    wan.reset_attention_backend()
    assert chosen == ["_native_math"] * 2
    torch.testing.assert_close(velocity, expected, rtol=0, atol=1e-5)


@MODES
def test_fused_projections_give_the_same(mode) -> None:
    wan = tiny_wan()
    expected = read(wan, mode)
    wan.fuse_qkv_projections()
    assert hasattr(wan.blocks[0].attn1, "to_qkv")
    torch.testing.assert_close(read(wan, mode), expected, rtol=0, atol=1e-5)


@MODES
def test_weights_offloaded_in_groups_of_blocks_give_the_same(mode) -> None:
    wan = tiny_wan()
    expected = read(wan, mode)
    cpu = torch.device("cpu")
    wan.enable_group_offload(onload_device=cpu, offload_device=cpu, offload_type="block_level", num_blocks_per_group=1)
    assert torch.equal(read(wan, mode), expected)


@MODES
def test_a_wrapper_s_own_forward_is_called(mode) -> None:
    """Data-parallel wrappers do their work in their own forward, so that both passes have to go through it."""

    class Wrapper(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner, self.calls = inner, 0

        def forward(self, *arguments: object, **keywords: object) -> object:
            self.calls += 1
            return self.inner(*arguments, **keywords)

    wrapper = Wrapper(tiny_wan())
    assert torch.equal(read(wrapper, mode), read(tiny_wan(), mode))
    assert wrapper.calls == (2 if mode == "cached" else 1)


@MODES
@pytest.mark.slow
def test_compiled_blocks_give_the_same_and_share_their_graphs(mode) -> None:
    """Regional compilation compiles one block for all layers: the count of graphs must not grow with depth."""
    counts = []
    for num_layers in (2, 5):
        expected = read(tiny_wan(num_layers=num_layers).requires_grad_(False), mode)
        wan = tiny_wan(num_layers=num_layers).requires_grad_(False)
        torch._dynamo.reset()
        graphs: list[object] = []
        wan.compile_repeated_blocks(backend=counting(graphs))
        torch.testing.assert_close(read(wan, mode), expected, rtol=0, atol=1e-5)
        counts.append(len(graphs))
    assert counts[0] == counts[1] > 0


def counting(graphs: list[object]) -> Callable[..., object]:
    """A compiler that runs graphs as they are and keeps them."""

    def compiler(graph: torch.fx.GraphModule, inputs: object) -> object:
        graphs.append(graph)
        return graph.forward

    return compiler


def test_the_published_size_fits_80_gb_with_its_cache() -> None:
    """One expert of Wan2.2-T2V-A14B in bfloat16 at 832x480, 81 frames: shapes and bytes, without any memory."""
    with torch.device("meta"):
        wan = WanTransformer3DModel().bfloat16().requires_grad_(False)
        noisy = torch.empty(1, 16, 21, 60, 104, dtype=torch.bfloat16)
        words = torch.empty(1, 512, 4096, dtype=torch.bfloat16)
        timesteps = torch.empty(1)
        with ReferenceAttention(wan) as attention:
            cache = attention.encode(noisy, words)
            velocity = attention.denoise(noisy, timesteps, words, cache)
        joint = joint_velocity(wan, noisy, noisy, timesteps, words)
    assert velocity.shape == joint.shape == noisy.shape
    assert velocity.dtype == torch.bfloat16
    weights = sum(parameter.nbytes for parameter in wan.parameters())
    assert cache.nbytes == 40 * 2 * 32_760 * 5120 * 2  # 26.8 GB
    assert weights == pytest.approx(28.6e9, rel=0.01)
    one_activation = 32_760 * 13_824 * 2  # the widest, inside the feed-forward
    assert weights + cache.nbytes + 10 * one_activation < 80e9
