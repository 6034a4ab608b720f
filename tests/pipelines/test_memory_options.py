"""Each option of a profile's memory beside the reference: what stays equal, what is nearly so, what is skipped."""

from __future__ import annotations

import functools
import gc
import weakref
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from realmaster.models import machine_options, plan_parts
from realmaster.models.loading import Models, load_profile_models
from realmaster.models.placement import OneAtATime
from realmaster.models.profiles import Profile, load_profile
from realmaster.models.reference import ReferenceAttention
from realmaster.models.step_caches import step_caches
from realmaster.pipelines.denoise import Denoiser, Prompt
from realmaster.pipelines.stopwatch import Stopwatch
from wan_layout import write_wan22

STEPS = 6
SMALL = {
    "size.height": 64, "size.width": 96, "size.buckets": [], "sampling.num_inference_steps": STEPS,
    "memory.dtype": "float32", "memory.reference_cache.dtype": "computed", "memory.offload": "none",
}  # fmt: skip
MODES = pytest.mark.parametrize("mode", ["cached", "joint"])


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan22(tmp_path_factory.mktemp("checkpoint") / "wan2.2-a14b")


@functools.cache
def load_once(folder: Path) -> tuple[Profile, Models]:
    return load(folder)


def load(folder: Path, **changes: object) -> tuple[Profile, Models]:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    if changes and all("cache" in name or "share" in name for name in dotted):  # they leave no trace in the models
        profile, models = load_once(folder)
        return profile.change(dotted), models
    profile = load_profile("wan2.2-a14b", model_dir=folder, changes={**SMALL, **dotted})
    return profile, load_profile_models(profile)[0]


def latents(seed: int) -> Tensor:
    return torch.randn(1, 16, 2, 8, 12, generator=torch.Generator().manual_seed(seed))


def text(seed: int) -> Tensor:
    return torch.randn(1, 512, 32, generator=torch.Generator().manual_seed(seed))


PROMPT = Prompt(text(1), text(2), text(3))


def sample(folder: Path, mode: str = "cached", prompt: Prompt = PROMPT, **changes: object) -> tuple[Tensor, Models]:
    profile, models = load(folder, **changes)
    return run(profile, models, mode, prompt), models


def run(profile: Profile, models: Models, mode: str, prompt: Prompt = PROMPT) -> Tensor:
    denoiser = Denoiser(models, mode=mode, sampling=profile.sampling, memory=profile.memory, seed=4)
    try:
        with step_caches(profile, models.experts, denoiser.num_steps):
            noise = denoiser.draw_noise((1, 16, 2, 8, 12))
            return denoiser.sample(noise, latents(5), prompt, Stopwatch(), held=None)
    finally:
        denoiser.remove()


@pytest.fixture(scope="module")
def expected(folder: Path) -> dict[str, Tensor]:
    return {mode: run(*load_once(folder), mode) for mode in ("cached", "joint", "off")}


def distance(found: Tensor, expected: Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


def test_the_reference_is_read_in_each_mode(expected: dict[str, Tensor]) -> None:
    assert distance(expected["cached"], expected["off"]) > 1e-2
    assert distance(expected["joint"], expected["cached"]) > 1e-4


def test_each_expert_reads_the_reference_once_and_its_cache_is_gone_before_the_next_reads(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile, models = load(folder)
    read: list[tuple[str, int]] = []
    caches: list[weakref.ref[Any]] = []
    encode = ReferenceAttention.encode

    def watched(self: ReferenceAttention, *arguments: Any, **keywords: Any) -> Any:
        gc.collect()
        alive = sum(cache() is not None for cache in caches)
        read.append((next(name for name, expert in models.experts.items() if expert is self.wan), alive))
        cache = encode(self, *arguments, **keywords)
        caches.append(weakref.ref(cache))
        return cache

    monkeypatch.setattr(ReferenceAttention, "encode", watched)
    run(profile, models, "cached")
    assert read == [("transformer", 0), ("transformer_2", 0)]
    read.clear()
    apart = profile.change({"memory.share_reference_between_guidance": False})
    run(apart, models, "cached")
    assert [name for name, _ in read] == ["transformer", "transformer", "transformer_2", "transformer_2"]


def test_branches_that_read_the_same_text_may_share_what_they_read(folder: Path) -> None:
    same = Prompt(text(1), text(1), text(1))
    shared, _ = sample(folder, prompt=same)
    apart, _ = sample(folder, prompt=same, memory__share_reference_between_guidance=False)
    assert torch.equal(shared, apart)


@pytest.mark.parametrize(("dtype", "error"), [("computed", 0.0), ("bfloat16", 2e-2), ("float8", 1e-1)])
def test_what_was_read_may_be_kept_smaller_and_in_host_memory(
    folder: Path, expected: dict[str, Tensor], dtype: str, error: float
) -> None:
    found, _ = sample(folder, memory__reference_cache__dtype=dtype)
    host, _ = sample(folder, memory__reference_cache__dtype=dtype, memory__reference_cache__device="host")
    assert torch.equal(host, found)
    assert distance(found, expected["cached"]) <= error


def test_an_adapter_trained_without_it_is_off_while_the_reference_is_read(folder: Path) -> None:
    from realmaster.models.adapter import add_lora

    profile, models = load(folder)
    states: list[bool] = []
    for expert in models.experts.values():
        add_lora(expert, rank=2)
        layer = expert.blocks[0].attn1.to_q
        layer.register_forward_hook(lambda module, *_: states.append(module.disable_adapters))
    models.reference_adapted = False
    run(profile, models, "cached")
    assert states.count(True) == 2
    assert len(states) == 2 + 2 * STEPS
    assert not models.transformer.blocks[0].attn1.to_q.disable_adapters


@MODES
def test_experts_that_come_one_at_a_time_change_nothing(
    folder: Path, expected: dict[str, Tensor], mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Elsewhere(OneAtATime):
        def copy(self, tensor: Tensor) -> Tensor:
            return tensor.clone()

    monkeypatch.setattr(machine_options, "OneAtATime", Elsewhere)
    monkeypatch.setattr(machine_options, "free_bytes", lambda _: 10**12)
    monkeypatch.setattr(plan_parts, "fit_together", lambda *_: False)
    profile, models = load(folder, memory__offload="experts")
    assert isinstance(models.swap, Elsewhere)
    for _ in range(2):
        assert distance(run(profile, models, mode), expected[mode]) < 1e-5  # copies may be aligned otherwise in memory
        assert models.swap.present == "transformer_2"
    assert not any(parameter.is_inference() for parameter in models.transformer_2.parameters())


@MODES
def test_weights_that_come_in_groups_change_nothing(folder: Path, expected: dict[str, Tensor], mode: str) -> None:
    found, _ = sample(folder, mode, memory__offload="group", memory__blocks_per_group=2)
    assert torch.equal(found, expected[mode])


@MODES
def test_weights_in_float8_compute_in_the_profile_s_precision(
    folder: Path, expected: dict[str, Tensor], mode: str
) -> None:
    found, models = sample(folder, mode, memory__layerwise_fp8=True)
    for expert in models.experts.values():
        assert expert.blocks[1].ffn.net[2].weight.dtype == torch.float8_e4m3fn
        assert expert.proj_out.weight.dtype == torch.float32
    assert models.dtype == torch.float32
    assert 0 < distance(found, expected[mode]) < 0.2


def test_float8_weights_carry_a_lora_and_come_in_groups(folder: Path, expected: dict[str, Tensor]) -> None:
    from realmaster.models.adapter import add_lora
    from realmaster.models.machine_options import apply_options, place

    profile, models = load(folder)
    for expert in models.experts.values():
        add_lora(expert, rank=2)
    profile = profile.change({"memory.layerwise_fp8": True, "memory.offload": "group"})
    device = torch.device("cpu")
    apply_options(models.autoencoder, models.experts, profile.memory, device=device, dtype=torch.float32)
    place(profile, models.experts, device=device)
    layer = models.transformer.blocks[0].attn1.to_q
    assert layer.base_layer.weight.dtype == torch.float8_e4m3fn
    assert layer.lora_A["default"].weight.dtype == torch.float32
    assert distance(run(profile, models, "cached"), expected["cached"]) < 0.2


@MODES
def test_a_back_end_of_attention_is_used_and_gives_nearly_the_same(
    folder: Path, expected: dict[str, Tensor], mode: str
) -> None:
    found, models = sample(folder, mode, memory__attention_backend="_native_math")
    assert models.transformer_2.blocks[0].attn1.processor._attention_backend == "_native_math"
    assert torch.equal(sample(folder, mode)[0], expected[mode])  # other models keep theirs
    assert distance(found, expected[mode]) < 1e-4


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, on loading its compiler
def test_compiled_blocks_are_asked_for(folder: Path) -> None:
    _, models = load(folder, memory__compile=True)
    assert all(block._compiled_call_impl is not None for expert in models.experts.values() for block in expert.blocks)


CACHES = {
    "first_block": {"step_cache__threshold": 10.0},
    "mag": {"step_cache__threshold": 10.0, "step_cache__ratios": [1.0], "step_cache__ratios_2": [1.0]},
    "taylorseer": {"step_cache__interval": 3, "step_cache__first_steps": 1},
}


@MODES
@pytest.mark.parametrize("kind", CACHES)
def test_a_step_cache_skips_blocks_but_never_the_reference(
    folder: Path, expected: dict[str, Tensor], mode: str, kind: str
) -> None:
    profile, models = load(folder, memory__step_cache=kind, **CACHES[kind])
    computed: list[object] = []
    layers = [expert.blocks[1].attn1.to_q for expert in models.experts.values()]
    hooks = [layer.register_forward_hook(lambda *_: computed.append(None)) for layer in layers]
    first, second = (run(profile, models, mode) for _ in range(2))
    for hook in hooks:
        hook.remove()
    assert torch.equal(first, second)  # nothing is remembered from one clip to the next
    assert torch.isfinite(first).all()
    assert not torch.equal(first, expected[mode])
    references = len(models.experts) if mode == "cached" else 0
    assert 2 * (2 * len(models.experts) + references) <= len(computed) < 2 * (2 * STEPS + references)
    assert not models.transformer.is_cache_enabled
    assert torch.equal(run(profile.change({"memory.step_cache": "none"}), models, mode), expected[mode])


@MODES
@pytest.mark.parametrize("kind", ["first_block", "mag"])
def test_a_step_cache_that_finds_nothing_to_skip_changes_nothing(
    folder: Path, expected: dict[str, Tensor], mode: str, kind: str
) -> None:
    ratios = {"step_cache__ratios": [2.0], "step_cache__ratios_2": [2.0]} if kind == "mag" else {}
    found, _ = sample(folder, mode, memory__step_cache=kind, step_cache__threshold=1e-9, **ratios)
    assert torch.equal(found, expected[mode])
