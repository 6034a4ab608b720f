"""On a GPU that only places tensors: no devices are mixed; translations, edits and propagated frames are the CPU's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers.pipelines.qwenimage import pipeline_qwenimage_edit_plus
from transformers import Qwen2Tokenizer

from qwen_layout import PilProcessor, write_qwen_edit
from realmaster import Translator
from realmaster.models import machine_options, plan_parts
from realmaster.models.profiles import load_profile
from realmaster.pipelines import edit_qwen
from realmaster.pipelines.control import make_control
from realmaster.pipelines.propagate_vace import VacePropagator
from sample_clips import scene
from vace_layout import write_vace
from wan_layout import write_wan22

SMALL = {
    "size.height": 32, "size.width": 48, "size.buckets": [], "window.num_frames": 5, "window.overlap": 1,
    "sampling.num_inference_steps": 3, "memory.dtype": "float32", "memory.reference_cache.dtype": "computed",
    "memory.offload": "none",
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan22(tmp_path_factory.mktemp("checkpoint") / "wan2.2-a14b")


def translate(folder: Path, device: str, changes: dict[str, Any]) -> np.ndarray:
    translator = Translator.from_profile("wan2.2-a14b", model_dir=folder, changes=SMALL | changes, device=device)
    return translator.translate_frames(scene(7, 48, 32), prompt="rain")


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"memory.offload": "experts"},
        {"memory.offload": "group"},
        {"memory.offload": "group", "memory.offload_stream": False, "memory.step_cache": "first_block"},
        {"memory.reference_cache.device": "host", "memory.share_reference_between_guidance": False},
        {"memory.reference_cache.dtype": "float8", "memory.reference_cache.device": "host"},
        {"memory.layerwise_fp8": True, "memory.dtype": "bfloat16", "memory.offload": "group"},
        {"reference.mode": "joint", "memory.drop_text_encoder": False, "memory.vae_tiling": False},
        {"memory.step_cache": "taylorseer", "memory.attention_backend": "native"},
    ],
    ids=lambda changes: " ".join(name.removeprefix("memory.") for name in changes) or "plain",
)
def test_each_option_keeps_to_its_devices_and_gives_the_cpus_frames(
    folder: Path, virtual_cuda: Any, changes: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = translate(folder, "cpu", changes)
    monkeypatch.setattr(plan_parts, "fit_together", lambda *_: False)  # the experts come one at a time
    monkeypatch.setattr(machine_options, "check_room", lambda *_, **__: None)
    with virtual_cuda() as memory:
        found = translate(folder, "cuda", changes)
        assert memory.peak > 0
    np.testing.assert_allclose(found.astype(int), expected.astype(int), atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("offload", ["none", "experts", "group"])
def test_the_editors_parts_meet_on_the_device(
    tmp_path: Path, virtual_cuda: Any, monkeypatch: pytest.MonkeyPatch, offload: str
) -> None:
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "VAE_IMAGE_SIZE", 64 * 96)
    monkeypatch.setattr(pipeline_qwenimage_edit_plus, "CONDITION_IMAGE_SIZE", 56 * 56)
    folder = write_qwen_edit(tmp_path / "qwen")
    processor = PilProcessor(Qwen2Tokenizer.from_pretrained(folder / "tokenizer"))
    changes = {
        "editor.num_pixels": 64 * 96, "editor.sampling.num_inference_steps": 2, "editor.memory.dtype": "float32",
        "editor.memory.offload": offload,
    }  # fmt: skip
    profile = load_profile("wan2.2-a14b/editor", model_dir=folder, changes=changes)

    def edit(device: str) -> np.ndarray:
        editor = edit_qwen.QwenImageEdit(profile, edit_qwen.load_edit_pipeline(profile, processor=processor))
        edit_qwen._place(editor.pipeline, profile, torch.device(device))
        return editor.edit(scene(1, 96, 64), prompt="rain", seed=5).astype(int)

    expected = edit("cpu")
    with virtual_cuda():
        np.testing.assert_allclose(edit("cuda"), expected, atol=1)


@pytest.mark.slow
@pytest.mark.parametrize("offload", ["none", "group"])
def test_the_propagator_keeps_to_its_device(tmp_path: Path, virtual_cuda: Any, offload: str) -> None:
    folder = write_vace(tmp_path / "vace", vace_layers=(0, 1, 2))
    changes = {
        "size.height": 32, "size.width": 48, "size.buckets": [], "propagation.num_frames": 9,
        "propagation.sampling.num_inference_steps": 2, "propagation.memory.dtype": "float32",
        "propagation.memory.offload": offload,
    }  # fmt: skip
    frames = scene(9, 48, 32)

    def propagate(device: str) -> np.ndarray:
        made = VacePropagator.from_profile("wan2.2-a14b", device=device, model_dir=folder, changes=changes)
        anchors = {0: 255 - frames[0], 8: 255 - frames[8]}
        return made.propagate(frames, anchors, make_control(frames, "canny"), prompt="rain", seed=7).astype(int)

    expected = propagate("cpu")
    with virtual_cuda():
        np.testing.assert_allclose(propagate("cuda"), expected, atol=1)
