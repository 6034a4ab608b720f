"""With the reference off and no adapter, the sampler is diffusers' `WanPipeline`, bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanPipeline

from realmaster.models.loading import Models, load_profile_models
from realmaster.models.profiles import Profile, SamplingSettings, load_profile
from realmaster.pipelines.sampling import Stopwatch, WindowSampler
from realmaster.pipelines.schedule import build_scheduler, cut_stages
from wan_layout import write_wan21, write_wan22

PROMPT = " heavy rain  at night, wet ground &amp; fog"  # cleaned by both alike
SMALL = {
    "size.height": 64, "size.width": 96, "size.buckets": [], "window.num_frames": 9, "window.overlap": 5,
    "sampling.num_inference_steps": 6, "memory.dtype": "float32", "memory.reference_cache.dtype": "computed",
}  # fmt: skip


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {
        "wan2.2-a14b": write_wan22(folder / "wan2.2-a14b"),
        "wan2.1-1.3b": write_wan21(folder / "wan2.1-1.3b"),
    }


def load(folders: dict[str, Path], name: str, **changes: object) -> tuple[Profile, Models]:
    profile = load_profile(name, model_dir=folders[name], changes={**SMALL, **changes})
    return profile, load_profile_models(profile)[0]


@pytest.mark.parametrize("name", ["wan2.2-a14b", "wan2.1-1.3b"])
def test_latents_and_pixels_equal_those_of_the_stock_pipeline(folders: dict[str, Path], name: str) -> None:
    profile, models = load(folders, name)
    sampling = profile.sampling
    stock = WanPipeline.from_pretrained(folders[name], dtype=torch.float32)
    stock.scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=sampling.shift
    )
    stock.set_progress_bar_config(disable=True)
    expected = stock(
        prompt=PROMPT, negative_prompt=sampling.negative_prompt, height=64, width=96, num_frames=9,
        num_inference_steps=6, guidance_scale=sampling.guidance_scale, guidance_scale_2=sampling.guidance_scale_2,
        generator=torch.Generator("cpu").manual_seed(7), output_type="latent",
    ).frames  # fmt: skip

    sampler = WindowSampler(models, mode="off", spatial_scale=1, sampling=sampling, seed=7)
    prompt = sampler.encode_prompt(PROMPT, sampling.negative_prompt)
    noise = sampler.denoiser.draw_noise((1, 16, 3, 8, 12))
    latents = sampler.denoiser.sample(noise, None, prompt, Stopwatch(), held=None)
    assert torch.equal(latents, expected)
    assert len(sampler.denoiser.num_steps) == len(models.experts)

    stock.vae = models.autoencoder  # the same convolutions; ours run as 2-D ones on a CPU
    again = stock(
        prompt=PROMPT, negative_prompt=sampling.negative_prompt, height=64, width=96, num_frames=9,
        num_inference_steps=6, guidance_scale=sampling.guidance_scale, guidance_scale_2=sampling.guidance_scale_2,
        generator=torch.Generator("cpu").manual_seed(7), output_type="pt",
    ).frames  # fmt: skip
    video = (sampler.decode_video(latents) * 0.5 + 0.5).clamp(0, 1)
    assert torch.equal(video.permute(0, 2, 1, 3, 4), again)


def test_a_window_holds_what_the_one_before_decided_under_two_experts(folders: dict[str, Path]) -> None:
    profile, models = load(folders, "wan2.2-a14b")
    frames = np.random.default_rng(0).integers(0, 256, (9, 64, 96, 3), dtype=np.uint8)
    sampler = WindowSampler(
        models, mode="cached", spatial_scale=1, sampling=profile.sampling, seed=0, memory=profile.memory,
        decode_guide=False,
    )  # fmt: skip
    try:
        text = sampler.encode_prompt(PROMPT, "")
        first = sampler.translate(frames, text, Stopwatch(), held=None, num_held=0)
        second = sampler.translate(frames[::-1], text, Stopwatch(), held=first, num_held=5)
    finally:
        sampler.remove()
    torch.testing.assert_close(second.latents[:, :, 1], first.latents[:, :, -1])
    assert not torch.equal(second.latents[:, :, 2], first.latents[:, :, 2])
    assert first.guide is frames  # nothing is fitted to it, so it is not decoded


@pytest.mark.parametrize(("shift", "high"), [(12.0, 26), (5.0, 17), (3.0, 13)])
def test_the_high_noise_expert_takes_the_steps_above_the_boundary(shift: float, high: int) -> None:
    sampling = SamplingSettings(scheduler="unipc", num_inference_steps=40, shift=shift)
    stages = cut_stages(build_scheduler(sampling).timesteps, lambda t: "high" if t >= 875 else "low")
    assert [(stage.expert, len(stage.steps)) for stage in stages] == [("high", high), ("low", 40 - high)]


def test_few_steps_are_where_the_distilled_lora_learnt_them_two_for_each_expert() -> None:
    profile = load_profile("wan2.2-a14b", changes={"few_step.enabled": True})
    sampling = profile.effective_sampling
    timesteps = build_scheduler(sampling).timesteps
    expected = [5 * t / (1 + 4 * t) * 1000 for t in (1.0, 0.75, 0.5, 0.25)]  # 1000, 750, 500, 250 with shift 5
    assert timesteps.tolist() == pytest.approx(expected)
    assert [t >= 875 for t in expected] == [True, True, False, False]
    assert (sampling.guidance_scale, sampling.guidance_scale_2) == (1.0, None)
