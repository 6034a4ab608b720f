"""`realmaster translate` with the full-size profiles, end to end on tiny checkpoints of their layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft.utils import get_peft_model_state_dict
from safetensors.torch import save_file

from realmaster.media.reader import open_clip
from realmaster.models.adapter import AdapterMetadata, add_lora, save_adapters
from wan_layout import tiny_transformer, write_wan21, write_wan22

SMALL = (
    "size.height=48", "size.width=64", "size.buckets=[]", "window.num_frames=9", "window.overlap=5",
    "memory.dtype=float32", "memory.reference_cache.dtype=computed",
)  # fmt: skip


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    write_wan22(folder / "wan2.2-a14b")
    write_wan21(folder / "wan2.1-1.3b")
    return folder


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two adapter files with random weights, one for each expert."""
    folder = tmp_path_factory.mktemp("adapter")
    experts = random_loras(3)
    metadata = AdapterMetadata(base_model="wan2.2-a14b", rank=4, alpha=4, reference="cached")
    save_adapters(experts, folder / "adapter.safetensors", metadata)
    return folder / "adapter_high_noise.safetensors"


@pytest.fixture(scope="module")
def distilled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two few-step LoRA files as other people publish them, without our metadata."""
    folder = tmp_path_factory.mktemp("distilled")
    for name, expert in zip(("high_noise", "low_noise"), random_loras(9).values(), strict=True):
        state = {f"transformer.{key}": value.contiguous() for key, value in get_peft_model_state_dict(expert).items()}
        save_file(state, folder / f"{name}_model.safetensors")
    return folder / "high_noise_model.safetensors"


def random_loras(seed: int) -> dict[str, Any]:
    experts = {"transformer": tiny_transformer(0), "transformer_2": tiny_transformer(1)}
    torch.manual_seed(seed)
    for expert in experts.values():
        add_lora(expert, rank=4)
        for name, parameter in expert.named_parameters():
            if "lora_" in name:
                parameter.data.normal_(std=0.2)
    return experts


@pytest.fixture
def translate(
    realmaster: Callable[..., Any], clip: Path, tmp_path: Path, model_dir: Path
) -> Callable[..., tuple[bytes, str]]:
    """Give a function that translates the clip and returns the frames' bytes and what was said."""

    def call(profile: str, *options: str | Path, settings: tuple[str, ...] = ()) -> tuple[bytes, str]:
        """Frames as bytes, and everything that was said."""
        output = tmp_path / "out.mkv"
        sets = [word for setting in (*SMALL, *settings) for word in ("--set", setting)]
        said = realmaster(
            "translate", clip, "-o", output, "--profile", profile, "--model-dir", model_dir, "--codec", "lossless",
            "--overwrite", "--num-inference-steps", "4", *sets, *options,
        )  # fmt: skip
        assert said.code == 0, said.err
        with open_clip(output) as reader:
            frames = b"".join(chunk.tobytes() for chunk in reader.chunks(16))
        return frames, said.out + said.err

    return call


def test_the_paper_s_profile_translates_with_two_experts_and_an_adapter(translate: Any, adapter: Path) -> None:
    plain, said = translate("wan2.2-a14b", "-p", "heavy rain")
    assert "9 frames" in said
    again, _ = translate("wan2.2-a14b", "-p", "heavy rain")
    assert plain == again
    adapted, _ = translate("wan2.2-a14b", "-p", "heavy rain", "--adapter", adapter)
    assert adapted != plain


def test_without_an_adapter_a_line_says_that_the_base_reads_no_render(translate: Any, adapter: Path) -> None:
    assert "warning: no adapter given: wan2.2-a14b was never taught" in translate("wan2.2-a14b")[1]
    assert "no adapter given" not in translate("wan2.2-a14b", "--adapter", adapter)[1]


def test_the_small_profile_translates(translate: Any) -> None:
    frames, _ = translate("wan2.1-1.3b")
    assert len(frames) == 9 * 48 * 64 * 3


def test_the_profiles_own_precision_runs_with_everything_that_saves_memory(translate: Any, adapter: Path) -> None:
    saving = (
        "memory.dtype=bfloat16", "memory.reference_cache.dtype=float8", "memory.reference_cache.device=host",
        "memory.layerwise_fp8=true", "memory.offload=group", "memory.attention_backend=native",
    )  # fmt: skip
    frames, _ = translate("wan2.2-a14b", "--adapter", adapter, settings=saving)
    assert len(frames) == 9 * 48 * 64 * 3


def test_few_steps_stack_on_the_adapter_and_take_no_guidance(translate: Any, adapter: Path, distilled: Path) -> None:
    plain, _ = translate("wan2.2-a14b", "--adapter", adapter, "--guidance-scale", "1")
    few, _ = translate("wan2.2-a14b", "--adapter", adapter, "--few-step", distilled)
    assert few != plain


def test_each_expert_s_guidance_and_the_negative_prompt_reach_the_pixels(translate: Any) -> None:
    base, _ = translate("wan2.2-a14b")
    for options in (("--guidance-scale-2", "6"), ("--guidance-scale", "2"), ("--negative-prompt", "blurred")):
        assert translate("wan2.2-a14b", *options)[0] != base


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--profile", "wan2.1-1.3b", "--guidance-scale-2", "3"), "one guidance scale for wan2.1-1.3b"),
        (("--profile", "wan2.2-a14b", "--few-step", "LORA", "--guidance-scale", "3"), "without guidance"),
        (("--profile", "wan2.2-a14b", "--set", "memory.ofload=group"), "ofload"),
        (("--profile", "wan2.2-a14b", "--set", "memory.offload"), "NAME=VALUE"),
        (("--profile", "wan2.2-a14b", "--few-step", "nowhere.safetensors"), "nowhere.safetensors"),
        (("--profile", "wan2.2-a14b", "--device", "cuda"), "a device among cpu, got cuda"),
        (("--profile", "wan2.2-a14b", "--model-dir", "nowhere"), "models download wan2.2-a14b"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(
    realmaster: Callable[..., Any],
    clip: Path,
    tmp_path: Path,
    model_dir: Path,
    distilled: Path,
    options: tuple[str, ...],
    message: str,
) -> None:
    if torch.cuda.is_available() and "cuda" in options:
        pytest.skip("there is a GPU")
    where = () if "--model-dir" in options else ("--model-dir", model_dir)
    sets = [word for setting in SMALL for word in ("--set", setting)]
    words = [distilled if option == "LORA" else option for option in options]
    said = realmaster("translate", clip, "-o", tmp_path / "out.mp4", *where, *sets, *words)
    assert said.code == 2
    assert said.err.count("\n") == 1, said.err
    assert message in said.err
    assert not (tmp_path / "out.mp4").exists()
