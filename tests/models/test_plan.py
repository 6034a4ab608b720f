"""A plan says what a translation takes, refuses what does not fit, and names what helps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from realmaster.errors import MemoryLimitError
from realmaster.models.plan import Plan, plan_translation, require_memory
from realmaster.models.plan_parts import fit_together
from realmaster.models.plan_training import TrainingPlan, plan_training, require_training_memory
from realmaster.models.profiles import Profile, load_profile
from realmaster.types import VideoShape
from wan_layout import write_wan22

CLIP = VideoShape(num_frames=21, height=64, width=96)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan22(tmp_path_factory.mktemp("wan"))


@pytest.fixture
def profile(checkpoint: Path) -> Profile:
    """The paper's profile over a tiny checkpoint in its layout, at a tiny size."""
    small = {"size.height": 64, "size.width": 96, "window.num_frames": 17, "window.overlap": 5}
    return load_profile("wan2.2-a14b", model_dir=checkpoint, changes=small)


def plan(profile: Profile, available_gb: float = 8.0, device: str = "cuda:0", **changes: Any) -> Plan:
    changed = profile.change({name.replace("__", "."): value for name, value in changes.items()})
    return plan_translation(changed, CLIP, device=device, available_gb=available_gb, flops_per_second=1e12)


def test_a_plan_counts_windows_tokens_steps_and_operations(profile: Profile) -> None:
    found = plan(profile)
    assert (found.window, found.num_windows) == (VideoShape(17, 64, 96), 2)
    assert found.num_tokens == found.num_reference_tokens == 5 * 4 * 6
    assert (found.num_steps, found.num_forwards) == (40, 80)
    assert found.fits
    once = found.pflops
    assert found.pflops_total == pytest.approx(
        once["text"] + 2 * (once["encode"] + 2 * once["reference pass"] + 80 * once["forward"] + once["decode"])
    )


def test_few_steps_take_no_guidance(profile: Profile) -> None:
    assert plan(profile, few_step__enabled=True).num_forwards == 4


def test_the_peak_is_the_largest_stage_and_the_parts_explain_it(profile: Profile) -> None:
    found = plan(profile)
    assert found.peak_gb == max(found.stages_gb.values())
    assert {"weights", "reference cache", "activations", "text encoder", "autoencoder"} <= found.memory_gb.keys()
    names = ("weights", "reference cache", "activations", "autoencoder", "CUDA context")
    assert found.stages_gb["denoise"] == pytest.approx(sum(found.memory_gb[name] for name in names), rel=0.01)


def test_each_memory_setting_takes_away_what_it_should(profile: Profile) -> None:
    all_here = plan(profile, memory__offload="none").memory_gb
    groups = plan(profile, memory__offload="group").memory_gb
    assert groups["weights"] < all_here["weights"] / 2
    half = plan(profile, memory__offload="none", memory__layerwise_fp8=True).memory_gb
    assert half["weights"] < all_here["weights"]
    fp8 = plan(profile, memory__reference_cache={"dtype": "float8"}).memory_gb
    assert 0.45 < fp8["reference cache"] / all_here["reference cache"] < 0.7  # half, and a scale for every head
    full = load_profile("wan2.2-a14b").change({"memory.reference_cache.dtype": "computed", "memory.offload": "none"})
    here, host = (plan(full.change({"memory.reference_cache.device": place})) for place in ("model", "host"))
    assert host.memory_gb["reference cache"] == pytest.approx(here.memory_gb["reference cache"] * 3 / 40)
    assert (here.host_gb, host.host_gb) == (0, pytest.approx(80 * 2**27 / 1e9))  # pinned: each tensor a power of two
    two = plan(profile, memory__share_reference_between_guidance=False).memory_gb
    assert two["reference cache"] == pytest.approx(2 * all_here["reference cache"])
    assert "reference cache" not in plan(profile, reference__mode="joint").memory_gb


def test_twice_the_speed_is_half_the_time(profile: Profile) -> None:
    slow, fast = (
        plan_translation(profile, CLIP, device="cpu", available_gb=8, flops_per_second=flops) for flops in (1e9, 2e9)
    )
    assert slow.seconds_total == pytest.approx(2 * fast.seconds_total)


def test_the_mirror_image_is_a_second_sample(profile: Profile) -> None:
    plain, mirrored = (plan(profile, sampling__mirror=mirror) for mirror in (False, True))
    for name in ("encode", "reference pass", "forward", "decode"):
        assert mirrored.pflops[name] == pytest.approx(2 * plain.pflops[name])
    assert mirrored.pflops["text"] == plain.pflops["text"]
    assert mirrored.memory_gb["reference cache"] == pytest.approx(2 * plain.memory_gb["reference cache"])
    refine = (load_profile("nano", changes={"sampling.mirror": mirror}) for mirror in (False, True))
    once, twice = (plan(found).pflops["refine"] for found in refine)
    assert twice == pytest.approx(2 * once)


def test_the_transfer_is_told_and_counts_for_every_frame(profile: Profile) -> None:
    given = {"device": "cpu", "available_gb": 8.0, "flops_per_second": 1e9}
    without, with_it = (plan_translation(profile, CLIP, **given, transfer_seconds=each) for each in (None, 0.5))
    assert "transfer" not in without.seconds
    assert with_it.seconds_total - without.seconds_total == pytest.approx(0.5 * CLIP.num_frames)


def test_too_little_host_memory_for_what_waits_there_is_refused(profile: Profile) -> None:
    found = plan(profile, memory__offload="group")
    assert found.host_gb > 0
    short = plan_translation(
        profile.change({"memory.offload": "group"}), CLIP, device="cuda:0", available_gb=8.0, flops_per_second=1e12,
        available_host_gb=0.9 * found.host_gb,
    )  # fmt: skip
    with pytest.raises(MemoryLimitError, match=r"of host memory for what waits there, it has 0\.0: use --set"):
        require_memory(short)


def test_a_device_too_small_is_refused_with_figures_and_what_helps(profile: Profile) -> None:
    wide = profile.change({"memory.drop_text_encoder": False, "memory.offload": "none"})
    room = plan(wide).peak_gb
    short = plan(wide, available_gb=room - 1e-4)
    assert not short.fits
    with pytest.raises(MemoryLimitError, match=r"expected 0\.\d GB on cuda:0 .*weights .*--set memory\.") as refusal:
        require_memory(short)
    for words, size in short.remedies:
        assert words in str(refusal.value)
        changes = dict(part.split("=") for part in words.split(" --set "))
        again = plan(wide, available_gb=room - 1e-4, **{name.replace(".", "__"): v for name, v in changes.items()})
        assert again.fits
        assert again.peak_gb == pytest.approx(size)


def test_where_nothing_helps_it_says_so(profile: Profile) -> None:
    with pytest.raises(MemoryLimitError, match="no setting helps"):
        require_memory(plan(profile, available_gb=0.3))


@pytest.mark.slow
def test_the_paper_s_model_fits_80_gb_with_one_expert_at_a_time(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(tmp_path))  # nothing is here: it is planned as published
    found = plan_translation(
        load_profile("wan2.2-a14b"), VideoShape(81, 480, 832), device="cuda:0", available_gb=80, flops_per_second=8e14
    )
    assert found.num_tokens == 32_760
    assert found.pflops["forward"] == pytest.approx(2.56, abs=0.01)
    assert found.memory_gb["reference cache"] == pytest.approx(26.84, abs=0.01)
    assert found.memory_gb["weights"] == pytest.approx(28.9, abs=0.2)  # 14.29 B and a LoRA of rank 32, in bfloat16
    assert found.fits
    assert not fit_together(load_profile("wan2.2-a14b"), 85)  # an H100's memory: 57.8 GB of weights, 26.8 GB of cache
    assert fit_together(load_profile("wan2.2-a14b"), 141)


def train(profile: Profile, **changes: Any) -> TrainingPlan:
    settings: dict[str, Any] = {
        "mode": "cached", "spatial_scale": 1, "adapted_reference": True, "rank": 4, "batch_size": 1, "accumulation": 1,
        "num_steps": 10, "gradient_checkpointing": True, "dtype": None, "layerwise_fp8": False, "offload_blocks": 0,
        "num_experts": 1, "averaged": False, "device": "cuda:0", "available_gb": 8.0, "flops_per_second": 1e12,
    }  # fmt: skip
    return plan_training(profile, VideoShape(17, 64, 96), **{**settings, **changes})


def test_a_training_step_is_planned_by_part(profile: Profile) -> None:
    found = train(profile)
    assert found.fits
    assert found.peak_gb == pytest.approx(sum(found.memory_gb.values()))
    assert found.seconds_total == pytest.approx(10 * found.seconds_per_step)
    assert train(profile, accumulation=3).pflops == pytest.approx(3 * found.pflops)
    assert train(profile, adapted_reference=False).memory_gb["activations"] < found.memory_gb["activations"]
    assert train(profile, layerwise_fp8=True).memory_gb["frozen base"] < found.memory_gb["frozen base"]
    one, two = (train(profile, num_experts=n, averaged=n == 2).memory_gb["adapter and optimizer"] for n in (1, 2))
    assert two == pytest.approx(2 * one * 20 / 16)  # weight, gradient, two moments; and the average, in float32


def test_a_training_step_too_large_is_refused_with_what_helps(profile: Profile) -> None:
    found = train(profile)
    short = train(profile, available_gb=found.peak_gb - 1e-5)
    with pytest.raises(MemoryLimitError, match=r"frozen base .*set .*reference\.adapted: false"):
        require_training_memory(short)


def test_where_no_single_setting_is_enough_for_training_the_shortest_list_is_named(profile: Profile) -> None:
    found = train(profile, batch_size=2, gradient_checkpointing=False)
    alone = {
        words: train(profile, **{"batch_size": 2, "gradient_checkpointing": False, **change}).peak_gb
        for words, change in (
            ("memory.gradient_checkpointing: true", {"gradient_checkpointing": True}),
            ("data.batch_size: 1", {"batch_size": 1}),
        )
    }
    assert all(size < found.peak_gb for size in alone.values())
    together = train(profile, batch_size=1).peak_gb
    short = train(profile, batch_size=2, gradient_checkpointing=False, available_gb=together + 1e-6)
    assert short.remedies[0] == (" and ".join(alone), pytest.approx(together))
    with pytest.raises(MemoryLimitError, match=r"set memory\.gradient_checkpointing: true and data\.batch_size: 1"):
        require_training_memory(short)
    with pytest.raises(MemoryLimitError, match="no setting helps"):
        require_training_memory(train(profile, available_gb=0.1))
