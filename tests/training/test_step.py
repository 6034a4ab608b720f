"""The step: noise on the target alone, the loss of the target alone, and options that change what they say."""

from typing import Any

import pytest
import torch
from peft.tuners.tuners_utils import BaseTunerLayer

import tiny_wan
from realmaster.diffusion.flow import add_noise, velocity
from realmaster.models.adapter import add_lora
from realmaster.models.reference import ReferenceAttention, joint_velocity
from realmaster.training.block_offload import offload_blocks
from realmaster.training.dataset import Batch
from realmaster.training.experts import prepare_memory
from realmaster.training.residence import find_offloaded
from realmaster.training.settings import MemorySettings
from realmaster.training.step import InContextStep, NoiseSettings, ReferenceSettings, flow_loss, noise_batch
from realmaster.training.timesteps import SigmaRange, TimestepSettings

NULL = tiny_wan.text(seed=9)


def batch(scale: int = 1, seeds: tuple[int, ...] = (3, 4)) -> Batch:
    count = len(seeds)
    return Batch(
        target_latents=tiny_wan.latents(count),
        reference_latents=tiny_wan.latents(count, height=8 // scale, width=12 // scale, seed=5),
        text=tiny_wan.text(count), caption=["a"] * count, bucket="b", index=list(range(count)), variant=[0] * count,
        seed=list(seeds),
    )  # fmt: skip


def noised_of(values: Batch, **noise: float):
    return noise_batch(values, TimestepSettings(), NoiseSettings(**noise), SigmaRange(), shift=3.0, device="cpu")


def with_lora(seed: int = 0, scale: float = 0.3) -> torch.nn.Module:
    wan = tiny_wan.tiny_wan(seed).requires_grad_(False)
    add_lora(wan, rank=4)
    with torch.no_grad():
        for name, parameter in wan.named_parameters():
            if "lora_B" in name:
                parameter.copy_(scale * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    return wan


def gradients(step: InContextStep, values: Batch) -> tuple[float, dict[str, torch.Tensor]]:
    step.zero_grad()
    noised = noised_of(values)
    with step.reading():
        predicted = step(noised.noisy_latents, values["reference_latents"], 1000 * noised.sigmas, values["text"], NULL)
        loss = flow_loss(predicted, noised)
        loss.backward()
    return loss.item(), {n: p.grad.clone() for n, p in step.named_parameters() if p.grad is not None}


def test_the_draws_of_a_clip_depend_on_its_seed_alone() -> None:
    both, alone = noised_of(batch(seeds=(3, 4))), noised_of(batch(seeds=(4,)))
    torch.testing.assert_close(both.sigmas[1], alone.sigmas[0], rtol=0, atol=0)
    assert float(both.sigmas[0]) != float(both.sigmas[1])
    again = noised_of(batch(seeds=(3, 4)))
    torch.testing.assert_close(both.noisy_latents, again.noisy_latents, rtol=0, atol=0)


def test_noisy_latents_and_velocity_are_those_of_the_flow() -> None:
    values = batch()
    noised = noised_of(values)
    noise = noised.target_velocity + values["target_latents"]
    torch.testing.assert_close(noised.noisy_latents, add_noise(values["target_latents"], noise, noised.sigmas))
    torch.testing.assert_close(noised.target_velocity, velocity(values["target_latents"], noise))
    assert float(flow_loss(noised.target_velocity, noised)) == 0


def test_still_noise_is_the_same_in_every_frame() -> None:
    values = batch()
    noise = noised_of(values, still=1.0).target_velocity + values["target_latents"]
    torch.testing.assert_close(noise, noise[:, :, :1].expand_as(noise))


def test_a_first_frame_given_clean_has_no_part_in_the_loss() -> None:
    values = batch()
    noised = noised_of(values, first_frame=1.0)
    torch.testing.assert_close(noised.noisy_latents[:, :, 0], values["target_latents"][:, :, 0], rtol=0, atol=0)
    wrong = noised.target_velocity.clone()
    wrong[:, :, 0] += 5
    assert float(flow_loss(wrong, noised)) == 0
    wrong[:, :, 1:] += 1
    assert float(flow_loss(wrong, noised)) == pytest.approx(1.0)


@pytest.mark.parametrize("mode", ["cached", "joint"])
@pytest.mark.parametrize("scale", [1, 2])
def test_a_step_predicts_what_the_models_reading_does(mode: str, scale: int) -> None:
    wan, values = with_lora(), batch(scale)
    noised = noised_of(values)
    step = InContextStep(wan, ReferenceSettings(mode=mode), spatial_scale=scale)
    arguments = (noised.noisy_latents, values["reference_latents"], 1000 * noised.sigmas, values["text"])
    with step.reading(), torch.no_grad():
        predicted = step(*arguments, NULL)
    with torch.no_grad():
        if mode == "joint":
            noisy, reference, times, text = arguments
            expected = joint_velocity(wan, noisy, reference, times, text, spatial_scale=scale)
        else:
            with ReferenceAttention(wan) as attention:
                cache = attention.encode(arguments[1], NULL.expand(2, -1, -1), spatial_scale=scale)
                expected = attention.denoise(arguments[0], arguments[2], arguments[3], cache)
    torch.testing.assert_close(predicted, expected, rtol=1e-5, atol=1e-5)


def test_a_reference_read_without_the_adapter_is_the_plain_bases_and_needs_no_gradient() -> None:
    wan, values = with_lora(), batch()
    noised = noised_of(values)
    step = InContextStep(wan, ReferenceSettings(adapted=False))
    with step.reading():
        assert isinstance(step.attention, ReferenceAttention)
        seen = []
        original = step.attention.encode
        step.attention.encode = lambda *a, **k: seen.append(original(*a, **k)) or seen[-1]
        predicted = step(noised.noisy_latents, values["reference_latents"], 1000 * noised.sigmas, values["text"], NULL)
    plain = tiny_wan.tiny_wan(0)
    with ReferenceAttention(plain) as attention, torch.no_grad():
        expected = attention.encode(values["reference_latents"], NULL.expand(2, -1, -1))
    for mine, theirs in zip(seen[0].layers, expected.layers, strict=True):
        torch.testing.assert_close(mine[0].data, theirs[0].data)
        assert not mine[0].data.requires_grad
    assert predicted.requires_grad
    assert not any(m._disable_adapters for m in wan.modules() if isinstance(m, BaseTunerLayer))


def test_recomputed_and_offloaded_blocks_give_the_same_gradients() -> None:
    values = batch()
    loss, expected = gradients(InContextStep(with_lora(), ReferenceSettings()), values)
    assert len(expected) == 3 * 10 * 2  # LoRA of q, k, v, o in both attentions and of two ffn layers, a pair each
    for num_blocks in (0, 2):
        wan = with_lora()
        wan.enable_gradient_checkpointing()
        offload_blocks(wan, num_blocks, torch.device("cpu"))
        again, found = gradients(InContextStep(wan, ReferenceSettings()), values)
        assert again == pytest.approx(loss, rel=1e-6)
        for name, gradient in expected.items():
            torch.testing.assert_close(found[name], gradient, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("settings", [{}, {"mode": "joint"}, {"adapted": False}], ids=["cached", "joint", "unadapted"])
def test_what_offloaded_blocks_compute_with_stays_on_the_device(settings: dict[str, Any]) -> None:
    # meta stands for an accelerator: what is kept for the backward pass may not follow the block back to the host
    wan, device = with_lora().train(), torch.device("meta")
    prepare_memory(wan, MemorySettings(offload_blocks=2), device, torch.float32)
    waiting = find_offloaded(wan, 2)
    for module in wan.modules():
        for name, parameter in list(module.named_parameters(recurse=False)):
            if id(parameter) not in waiting:
                setattr(module, name, torch.nn.Parameter(parameter.to(device), parameter.requires_grad))
        for name, buffer in list(module.named_buffers(recurse=False)):
            setattr(module, name, buffer.to(device))
    noisy, reference, text = (values.to(device) for values in (tiny_wan.latents(), tiny_wan.latents(), tiny_wan.text()))
    step = InContextStep(wan, ReferenceSettings(**settings))
    with step.reading():
        step(noisy, reference, torch.ones(1, device=device), text, text).mean().backward()
    assert {p.grad.device for p in wan.parameters() if p.requires_grad and p.grad is not None} == {device}
    assert {id(p) for p in wan.parameters() if not p.is_meta} == waiting


def test_a_base_kept_in_fp8_trains_as_one_rounded_to_fp8() -> None:
    values = batch()
    memory = MemorySettings(dtype="bfloat16", fp8_base=True)
    kept = with_lora().to(torch.bfloat16)
    for parameter in kept.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    prepare_memory(kept, memory, torch.device("cpu"), torch.bfloat16)
    assert kept.blocks[0].attn1.to_q.base_layer.weight.dtype == torch.float8_e4m3fn
    assert kept.blocks[0].attn1.to_q.lora_A["default"].weight.dtype == torch.float32
    loss, found = gradients(InContextStep(kept, ReferenceSettings()), values)

    rounded = with_lora().to(torch.bfloat16)
    with torch.no_grad():
        for module in rounded.modules():
            if isinstance(module, BaseTunerLayer):
                weight = module.get_base_layer().weight
                weight.copy_(weight.to(torch.float8_e4m3fn).to(torch.bfloat16))
                module.get_base_layer().bias.copy_(module.get_base_layer().bias.to(torch.float8_e4m3fn))
    for parameter in rounded.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    prepare_memory(rounded, MemorySettings(dtype="bfloat16"), torch.device("cpu"), torch.bfloat16)
    expected_loss, expected = gradients(InContextStep(rounded, ReferenceSettings()), values)
    assert loss == pytest.approx(expected_loss, rel=1e-5)
    for name, gradient in expected.items():
        torch.testing.assert_close(found[name], gradient, rtol=1e-3, atol=1e-5)


def float_lora_over_bfloat16() -> torch.nn.Module:
    wan = with_lora().to(torch.bfloat16)
    for parameter in wan.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return wan


@pytest.mark.parametrize("checkpointing", [True, False])
def test_a_lora_in_float32_over_bfloat16_takes_its_input_as_it_is_and_its_gradients_stay(checkpointing: bool) -> None:
    values, cpu = batch(), torch.device("cpu")
    memory = MemorySettings(dtype="bfloat16", gradient_checkpointing=checkpointing)
    found = {}
    for casting in (False, True):
        wan = float_lora_over_bfloat16()
        prepare_memory(wan, memory, cpu, torch.bfloat16)
        layer = wan.blocks[1].attn1.to_q
        assert not layer.cast_input_dtype_enabled
        for module in wan.modules():
            if isinstance(module, BaseTunerLayer):
                module.cast_input_dtype_enabled = casting
        seen = set()
        handle = layer.lora_A["default"].register_forward_pre_hook(lambda _, x, seen=seen: seen.add(x[0].dtype))
        step = InContextStep(wan, ReferenceSettings())
        found[casting] = gradients(step, values)
        handle.remove()
        assert seen == {torch.float32 if casting else torch.bfloat16}
    (loss, plain), (loss_cast, cast) = found[False], found[True]
    assert loss == pytest.approx(loss_cast, rel=1e-3)
    _, exact = gradients(InContextStep(with_lora(), ReferenceSettings()), values)
    for name, gradient in plain.items():
        assert gradient.dtype == torch.float32
        assert distance(gradient, cast[name]) < 1e-2, name
        assert distance(gradient, exact[name]) < 5e-2, name


def distance(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())
