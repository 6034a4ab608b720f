"""Keyframes edited by Qwen-Image-Edit are what diffusers' own pipeline makes of them, called as its users should."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import QwenImageEditPlusPipeline
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus as stock_module
from PIL import Image

from qwen_layout import PilProcessor, write_qwen_edit
from realmaster.errors import ConfigError, MissingExtraError, MissingWeightsError
from realmaster.models.profiles import load_profile
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.edit_qwen import QwenImageEdit, few_step_scheduler, load_edit_pipeline, working_size
from sample_clips import scene

SMALL: dict[str, Any] = {
    "editor.num_pixels": 64 * 96, "editor.sampling.num_inference_steps": 2, "editor.memory.dtype": "float32",
    "editor.memory.offload": "none", "editor.instruction": "a photograph. {prompt}",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_qwen_edit(tmp_path_factory.mktemp("qwen"))


@pytest.fixture(autouse=True)
def small_references(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pipeline reads its pictures at one megapixel; a tiny one need not."""
    monkeypatch.setattr(stock_module, "VAE_IMAGE_SIZE", 64 * 96)
    monkeypatch.setattr(stock_module, "CONDITION_IMAGE_SIZE", 56 * 56)


@pytest.fixture
def editor(folder: Path) -> QwenImageEdit:
    profile = load_profile("wan2.2-a14b/editor", model_dir=folder, changes=SMALL)
    pipeline = load_edit_pipeline(profile, processor=processor_of(folder))
    return QwenImageEdit(profile, pipeline)


def processor_of(folder: Path) -> PilProcessor:
    from transformers import Qwen2Tokenizer

    return PilProcessor(Qwen2Tokenizer.from_pretrained(folder / "tokenizer"))


def test_edits_equal_those_of_the_stock_pipeline_called_by_hand(folder: Path, editor: QwenImageEdit) -> None:
    stock = QwenImageEditPlusPipeline.from_pretrained(folder, processor=None)
    stock.processor = processor_of(folder)
    stock.set_progress_bar_config(disable=True)
    frames = np.stack([scene(1, 96, 64)[0], 255 - scene(1, 96, 64)[0]])
    edited = editor.edit(frames, prompt="rain", seed=5)
    assert isinstance(editor, KeyframeEditor)
    for frame, found in zip(frames, edited, strict=True):
        expected = stock(
            image=[Image.fromarray(frame)], prompt="a photograph. rain", negative_prompt=" ", true_cfg_scale=4.0,
            height=64, width=96, num_inference_steps=2, generator=torch.Generator("cpu").manual_seed(5),
            output_type="np",
        ).images[0]  # fmt: skip
        assert np.array_equal(found, np.rint(expected * 255).astype(np.uint8))


def test_an_edit_has_its_keyframes_size_whatever_the_model_works_at(editor: QwenImageEdit) -> None:
    frames = scene(1, 150, 100)
    edited = editor.edit(frames, prompt="", seed=0)
    assert edited.shape == frames.shape
    assert np.array_equal(edited, editor.edit(frames, prompt="", seed=0))
    assert not np.array_equal(edited, editor.edit(frames, prompt="", seed=1))


def test_the_working_size_is_the_one_at_which_the_pipeline_reads_its_pictures() -> None:
    assert working_size(480, 832, 1024 * 1024) == (768, 1344)
    assert working_size(800, 1280, 1024 * 1024) == (800, 1280)
    assert all(side % 32 == 0 for side in working_size(333, 777, 1024 * 1024))


def test_few_steps_take_one_shift_for_every_size_and_no_guidance(
    editor: QwenImageEdit, caplog: pytest.LogCaptureFixture
) -> None:
    profile = load_profile("wan2.2-a14b/editor", changes={"editor.few_step.enabled": True})
    assert (profile.effective_sampling.num_inference_steps, profile.effective_sampling.guidance_scale) == (4, 1.0)
    scheduler = few_step_scheduler(editor.pipeline.scheduler, 3.0)
    for tokens in (256, 4096):
        shift = stock_module.calculate_shift(tokens, 256, 8192, scheduler.config.base_shift, scheduler.config.max_shift)
        assert math.exp(shift) == pytest.approx(3.0)
    assert scheduler.config.shift_terminal is None
    few = QwenImageEdit(
        load_profile("wan2.2-a14b/editor", changes=SMALL | {"editor.few_step.enabled": True}), editor.pipeline
    )
    with caplog.at_level(logging.WARNING):
        few.edit(scene(1, 96, 64), prompt="", seed=0)
    assert not [record for record in caplog.records if "guidance" in record.message]


def test_what_is_missing_or_does_not_fit_is_refused(folder: Path, tmp_path: Path) -> None:
    old = write_qwen_edit(tmp_path / "old", zero_cond_t=False)
    profile = load_profile("wan2.2-a14b/editor", model_dir=old, changes=SMALL)
    with pytest.raises(ConfigError, match="zero_cond_t true"):
        load_edit_pipeline(profile, processor=processor_of(old))
    earlier = profile.change({"checkpoint.hub": "Qwen/Qwen-Image-Edit-2509"})
    assert not load_edit_pipeline(earlier, processor=processor_of(old)).transformer.config.zero_cond_t
    with pytest.raises(MissingWeightsError, match=r"models download wan2\.2-a14b/editor"):
        load_edit_pipeline(load_profile("wan2.2-a14b/editor", model_dir=tmp_path / "none"))
    with pytest.raises(MissingWeightsError, match="expected a LoRA"):
        QwenImageEdit.from_profile(
            device="cpu", model_dir=folder, changes={"editor.loras": [{"path": "no.safetensors"}]}
        )
    with pytest.raises(ConfigError, match="Lightning LoRA"):
        QwenImageEdit.from_profile(device="cpu", model_dir=folder, changes={"editor.few_step.enabled": True})


def test_the_checkpoints_own_processor_asks_for_its_extra(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "torchvision", None)
    with pytest.raises(MissingExtraError, match=r"realmaster\[qwen\]"):
        load_edit_pipeline(load_profile("wan2.2-a14b/editor", model_dir=folder, changes=SMALL))


def test_an_instruction_holds_the_prompt() -> None:
    with pytest.raises(ConfigError, match=r"\{prompt\}"):
        load_profile("wan2.2-a14b", changes={"editor.instruction": "a photograph"})


def test_a_style_is_laid_over_and_told(folder: Path, tmp_path: Path) -> None:
    from safetensors.torch import save_file

    profile = load_profile("wan2.2-a14b/editor", model_dir=folder, changes=SMALL)
    plain = QwenImageEdit(profile, load_edit_pipeline(profile, processor=processor_of(folder)))
    styled = QwenImageEdit(profile, load_edit_pipeline(profile, processor=processor_of(folder)))
    width = styled.pipeline.transformer.transformer_blocks[0].attn.to_q.weight.shape
    torch.manual_seed(0)
    down, up = torch.randn(4, width[1]), torch.randn(width[0], 4)
    name = "transformer.transformer_blocks.0.attn.to_q"
    save_file({f"{name}.lora_A.weight": down, f"{name}.lora_B.weight": up}, tmp_path / "style.safetensors")
    from realmaster.pipelines.edit_qwen import lay_over

    lay_over(styled.pipeline, [(str(tmp_path / "style.safetensors"), 1.0)])
    frames = scene(1, 96, 64)
    assert not np.array_equal(plain.edit(frames, prompt="", seed=0), styled.edit(frames, prompt="", seed=0))
