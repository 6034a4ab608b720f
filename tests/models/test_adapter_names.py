"""Our exports, read by diffusers' own converters and held against the names of Wan's own code."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers.loaders.lora_conversion_utils import (
    _convert_musubi_wan_lora_to_diffusers,
    _convert_non_diffusers_wan_lora_to_diffusers,
)
from diffusers.loaders.lora_pipeline import WanLoraLoaderMixin
from diffusers.loaders.single_file_utils import convert_wan_transformer_to_diffusers
from safetensors.torch import load_file

from realmaster.models.adapter_convert import export_adapter
from realmaster.models.adapter_names import FORMATS, LoraKey, from_original, read_key, to_original, write_key
from tiny_adapters import write_single
from wan_layout import tiny_transformer

CONVERTERS = {"comfyui": _convert_non_diffusers_wan_lora_to_diffusers, "kohya": _convert_musubi_wan_lora_to_diffusers}


@pytest.mark.parametrize("form", ["comfyui", "kohya"])
@pytest.mark.parametrize("alpha", [4.0, 2.0, 1.0])
def test_diffusers_reads_our_export_as_the_same_change(tmp_path: Path, form: str, alpha: float) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors", alpha=alpha)
    (exported,) = export_adapter(adapter, tmp_path / "out.safetensors", form)
    ours, theirs = load_file(adapter), CONVERTERS[form](load_file(exported))
    assert theirs.keys() == ours.keys()
    if alpha == 4.0:  # the rank
        assert all(torch.equal(theirs[name], tensor) for name, tensor in ours.items())
    for name in (name for name in ours if "lora_A" in name):  # diffusers multiplies alpha / rank into the two
        change, same = (tensors[name.replace("lora_A", "lora_B")].float() @ tensors[name].float()
                        for tensors in (ours, theirs))  # fmt: skip
        torch.testing.assert_close(same, change * alpha / 4, atol=1e-5, rtol=0)
    loaded, config = WanLoraLoaderMixin.lora_state_dict(
        str(exported), use_safetensors=True, local_files_only=True, return_lora_metadata=True
    )
    assert config is None, "alpha would act twice"
    assert all(torch.equal(loaded[name], theirs[name]) for name in theirs)


def test_diffusers_finds_alpha_in_the_header_of_our_own_file(tmp_path: Path) -> None:
    adapter = write_single(tmp_path / "adapter.safetensors", alpha=2.5)
    _, config = WanLoraLoaderMixin.lora_state_dict(
        str(adapter), use_safetensors=True, local_files_only=True, return_lora_metadata=True
    )
    assert (config["transformer.r"], config["transformer.lora_alpha"]) == (4, 2.5)


def test_every_name_is_that_of_wan_s_own_code() -> None:
    """diffusers' converter of whole Wan checkpoints is the witness: it renames the weights that we rename."""
    modules = [name for name, module in tiny_transformer(0).named_modules() if isinstance(module, torch.nn.Linear)]
    assert {"blocks.2.attn2.to_out.0", "condition_embedder.time_proj", "proj_out"} <= set(modules)
    originals = {module: to_original(module) for module in modules}
    assert None not in originals.values()
    renamed = convert_wan_transformer_to_diffusers({f"{name}.weight": torch.zeros(1) for name in originals.values()})
    assert set(renamed) == {f"{module}.weight" for module in modules}
    for module, original in originals.items():
        (back,) = convert_wan_transformer_to_diffusers({f"{original}.weight": torch.zeros(1)})
        assert back == f"{module}.weight"
        assert from_original(original) == module


@pytest.mark.parametrize("form", FORMATS)
def test_a_name_written_is_read_back(form: str) -> None:
    for module in ("blocks.17.attn1.to_out.0", "blocks.0.attn2.add_k_proj", "blocks.3.ffn.net.0.proj", "proj_out"):
        for part in ("down", "up") if form == "diffusers" else ("down", "up", "alpha"):
            assert read_key(write_key(LoraKey(module, part), form)) == (LoraKey(module, part), form)


@pytest.mark.parametrize(
    ("name", "form", "module", "part"),
    [
        ("diffusion_model.blocks.0.self_attn.q.lora_A.weight", "comfyui", "blocks.0.attn1.to_q", "down"),
        ("diffusion_model.blocks.39.cross_attn.o.lora_up.weight", "comfyui", "blocks.39.attn2.to_out.0", "up"),
        ("blocks.0.ffn.2.lora_B.default.weight", "comfyui", "blocks.0.ffn.net.2", "up"),
        ("diffusion_model.blocks.1.ffn.0.alpha", "comfyui", "blocks.1.ffn.net.0.proj", "alpha"),
        ("lora_unet_blocks_12_self_attn_k.lora_down.weight", "kohya", "blocks.12.attn1.to_k", "down"),
        ("lora_unet_blocks_12_cross_attn_k_img.alpha", "kohya", "blocks.12.attn2.add_k_proj", "alpha"),
        ("lora_unet_time_projection_1.lora_up.weight", "kohya", "condition_embedder.time_proj", "up"),
        ("base_model.model.blocks.0.attn1.to_v.lora_A.weight", "diffusers", "blocks.0.attn1.to_v", "down"),
        ("transformer.blocks.0.attn1.to_v.lora_B.default.weight", "diffusers", "blocks.0.attn1.to_v", "up"),
    ],
)
def test_names_found_in_the_field_are_read(name: str, form: str, module: str, part: str) -> None:
    assert read_key(name) == (LoraKey(module, part), form)


@pytest.mark.parametrize(
    "name",
    [
        "transformer.single_transformer_blocks.0.attn.to_q.lora_A.weight",
        "lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight",
        "diffusion_model.blocks.0.norm3.diff",
        "diffusion_model.blocks.0.self_attn.q.diff_b",
        "diffusion_model.blocks.0.self_attn.q.dora_scale",
        "lora_te_text_model_encoder_layers_0_mlp_fc1.alpha",
        "blocks.0.attn1.to_q.weight",
        "",
    ],
)
def test_a_name_that_is_no_lora_of_wan_is_not_taken_for_one(name: str) -> None:
    assert read_key(name) is None
