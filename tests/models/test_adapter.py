"""Adapter files and what the loader refuses."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import load_file, save_file

from realmaster import __version__
from realmaster.errors import AdapterError, NumericalError
from realmaster.models.adapter import (
    AdapterMetadata,
    add_lora,
    load_adapter,
    load_adapters,
    read_metadata,
    save_adapter,
    save_adapters,
)
from realmaster.models.nano import TransformerSizes
from realmaster.models.profiles import load_profile
from realmaster.types import VideoShape
from tiny_adapters import random_lora

METADATA = AdapterMetadata(base_model="nano", rank=4, alpha=4, reference="cached")


def build(layers: int = 2) -> Any:
    torch.manual_seed(0)
    return TransformerSizes(num_heads=2, head_dim=12, num_layers=layers, ffn_dim=32).build(z_dim=4, text_dim=8)


def forward(model: Any) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    latents, text = torch.randn(1, 4, 2, 3, 4, generator=generator), torch.randn(1, 5, 8, generator=generator)
    with torch.no_grad():
        return model(latents, torch.tensor([500.0]), text, return_dict=False)[0]


@pytest.fixture
def saved(tmp_path: Path) -> tuple[Path, torch.Tensor]:
    model = build()
    add_lora(model, rank=4)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn_like(parameter).half() * 0.5)
    save_adapter(model, tmp_path / "adapter.safetensors", METADATA)
    return tmp_path / "adapter.safetensors", forward(model)


def test_a_saved_adapter_loads_to_the_same_model(saved: tuple[Path, torch.Tensor]) -> None:
    path, expected = saved
    model = build()
    plain = forward(model)
    loaded = load_adapter(model, path, base_model="nano", reference="cached")
    assert loaded == METADATA.model_copy(update={"realmaster_version": __version__})
    torch.testing.assert_close(forward(model), expected, atol=1e-3, rtol=1e-2)
    assert not torch.allclose(plain, expected, atol=1e-2)


def test_names_are_those_of_diffusers(saved: tuple[Path, torch.Tensor]) -> None:
    names = load_file(saved[0]).keys()
    assert "transformer.blocks.0.attn1.to_q.lora_A.weight" in names
    assert "transformer.blocks.1.ffn.net.2.lora_B.weight" in names


@pytest.mark.parametrize("alpha", [2.0, 6.0])
def test_alpha_scales_training_and_what_is_loaded_alike(tmp_path: Path, alpha: float) -> None:
    model = random_lora(build(), alpha=alpha)
    save_adapter(model, tmp_path / "adapter.safetensors", METADATA.model_copy(update={"alpha": alpha}))
    loaded = build()
    load_adapter(loaded, tmp_path / "adapter.safetensors", base_model="nano", reference=None)
    assert torch.equal(forward(loaded), forward(model))
    assert not torch.allclose(forward(random_lora(build())), forward(model), atol=1e-3), "alpha is not the rank here"


def test_an_adapter_written_before_alpha_stood_in_the_header_loads_as_it_did(saved: tuple[Path, torch.Tensor]) -> None:
    path, expected = saved
    words = {"base_model": "nano", "rank": 4, "alpha": 4, "reference": "cached", "reference_scale": 1,
             "frame_rate": 16, "expert": "transformer"}  # fmt: skip
    save_file(load_file(path), path, metadata={"format": "pt", "realmaster": json.dumps(words)})
    model = build()
    told = load_adapter(model, path, base_model="nano", reference="cached")
    assert (told.profile, told.all_experts, told.reference_adapted) == (None, ("transformer",), True)
    torch.testing.assert_close(forward(model), expected, atol=1e-3, rtol=1e-2)


def test_the_shipped_adapter_says_everything_and_fits_the_shipped_base() -> None:
    profile = load_profile("nano")
    path = profile.folder / "adapter_cached.safetensors"
    told = read_metadata(path)
    assert (told.profile, told.rank, told.reference, told.frame_rate) == ("nano", 32, "cached", 16)
    assert told.sizes == (VideoShape(5, 72, 128),)
    model = WanTransformer3DModel.from_pretrained(profile.folder / "transformer")
    assert load_adapter(model, path, base_model="nano", reference="cached") == told


def test_weights_beyond_half_precision_are_not_written(tmp_path: Path) -> None:
    model = random_lora(build())
    with torch.no_grad():
        model.blocks[0].attn1.to_q.lora_B["default"].weight[0, 0] = 1e6
    path = tmp_path / "adapter.safetensors"
    with pytest.raises(NumericalError, match=r"blocks\.0\.attn1\.to_q\.lora_B\.weight holds NaN or infinity"):
        save_adapter(model, path, METADATA)
    assert not list(tmp_path.iterdir())
    save_adapter(model, path, METADATA, dtype=torch.float32)
    assert load_file(path)["transformer.blocks.0.attn1.to_q.lora_B.weight"][0, 0] == 1e6


def test_a_transformer_without_a_lora_has_nothing_to_write(tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="add it first"):
        save_adapter(build(), tmp_path / "adapter.safetensors", METADATA)
    with pytest.raises(AdapterError, match="none has one"):
        save_adapters({"transformer": build(), "transformer_2": build()}, tmp_path / "adapter", METADATA)


def test_the_file_of_the_one_expert_that_was_trained_says_so(tmp_path: Path) -> None:
    experts = {"transformer": build(), "transformer_2": random_lora(build())}
    (path,) = save_adapters(experts, tmp_path / "adapter", METADATA)
    assert path.name == "adapter_low_noise.safetensors"
    fresh = {"transformer": build(), "transformer_2": build()}
    told = load_adapters(fresh, tmp_path / "adapter", base_model="nano")
    assert told.all_experts == ("transformer_2",)
    assert torch.equal(forward(fresh["transformer"]), forward(build())), "the other expert stays plain"
    torch.testing.assert_close(forward(fresh["transformer_2"]), forward(experts["transformer_2"]))


def test_an_adapter_of_another_base_is_refused(saved: tuple[Path, torch.Tensor]) -> None:
    with pytest.raises(AdapterError, match=r"base 'wan2\.1-1\.3b', got one for 'nano'"):
        load_adapter(build(), saved[0], base_model="wan2.1-1.3b", reference=None)


def test_an_adapter_of_another_reference_mode_is_refused(saved: tuple[Path, torch.Tensor]) -> None:
    with pytest.raises(AdapterError, match="--reference cached"):
        load_adapter(build(), saved[0], base_model="nano", reference="joint")


def test_an_adapter_for_more_layers_is_refused(saved: tuple[Path, torch.Tensor]) -> None:
    with pytest.raises(AdapterError, match="does not fit"):
        load_adapter(build(layers=3), saved[0], base_model="nano", reference=None)


def test_a_pickled_file_is_never_opened(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("a pickle was loaded",))

    path = tmp_path / "adapter.safetensors"
    path.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(AdapterError, match="never opened"):
        read_metadata(path)


def test_a_cut_file_and_a_file_without_metadata_are_refused(tmp_path: Path, saved: tuple[Path, torch.Tensor]) -> None:
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(saved[0].read_bytes()[:-100])
    with pytest.raises(AdapterError, match="corrupt"):
        read_metadata(cut)
    save_file({"x": torch.zeros(1)}, tmp_path / "plain.safetensors")
    with pytest.raises(AdapterError, match="metadata"):
        read_metadata(tmp_path / "plain.safetensors")


def test_a_missing_file_is_named() -> None:
    with pytest.raises(AdapterError, match=r"nowhere\.safetensors, found none"):
        read_metadata(Path("nowhere.safetensors"))
