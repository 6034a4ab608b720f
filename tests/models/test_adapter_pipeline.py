"""Our files in stock diffusers: the same adapter, loaded by its loader and by ours, changes a clip the same way."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors
import torch
from diffusers import WanPipeline, WanTransformer3DModel
from safetensors.torch import load_file, save_file

from realmaster.errors import AdapterError, MissingWeightsError
from realmaster.models.adapter import NAME, load_adapters
from realmaster.models.adapter_convert import export_adapter, export_merged
from realmaster.models.adapter_files import read_lora
from realmaster.models.adapter_merge import merge_lora
from realmaster.models.adapter_metadata import read_header
from realmaster.models.adapter_names import LoraKey, write_key
from realmaster.models.adapter_stack import stack_loras
from realmaster.models.profiles import Profile, load_profile
from tiny_adapters import write_pair, write_single
from wan_layout import tiny_transformer, write_wan22

BASE = "wan2.2-a14b"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_wan22(tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("adapter") / "adapter"
    write_pair(path, alpha=2.0)
    return path


def profile(checkpoint: Path) -> Profile:
    return load_profile(BASE, model_dir=checkpoint)


def pipeline(checkpoint: Path) -> WanPipeline:
    stock = WanPipeline.from_pretrained(checkpoint, dtype=torch.float32)
    stock.set_progress_bar_config(disable=True)
    return stock


def experts(stock: WanPipeline) -> dict[str, WanTransformer3DModel]:
    return {"transformer": stock.transformer, "transformer_2": stock.transformer_2}


def clip(stock: WanPipeline) -> torch.Tensor:
    """Latents of plain text to video: four steps, two for each expert."""
    used = dict.fromkeys(experts(stock), 0)
    hooks = [
        model.register_forward_pre_hook(lambda *_, name=name: used.__setitem__(name, used[name] + 1))
        for name, model in experts(stock).items()
    ]
    latents = stock(
        prompt="a street", negative_prompt="blurred", height=32, width=32, num_frames=5, num_inference_steps=4,
        guidance_scale=2.0, generator=torch.Generator().manual_seed(3), output_type="latent",
    ).frames  # fmt: skip
    for hook in hooks:
        hook.remove()
    assert min(used.values()) > 0, "both experts took part"
    return latents


def stock_with(checkpoint: Path, high: Path, low: Path) -> WanPipeline:
    stock = pipeline(checkpoint)
    stock.load_lora_weights(str(high))
    stock.load_lora_weights(str(low), load_into_transformer_2=True)
    return stock


def files(path: Path) -> tuple[Path, Path]:
    return path.with_name(f"{path.name}_high_noise.safetensors"), path.with_name(f"{path.name}_low_noise.safetensors")


@pytest.fixture(scope="module")
def ours(checkpoint: Path, adapter: Path) -> torch.Tensor:
    stock = pipeline(checkpoint)
    load_adapters(experts(stock), adapter, base_model=BASE)
    return clip(stock)


def test_stock_diffusers_loads_both_files_and_changes_the_clip_as_we_do(
    checkpoint: Path, adapter: Path, ours: torch.Tensor
) -> None:
    assert torch.equal(clip(stock_with(checkpoint, *files(adapter))), ours)
    plain = clip(pipeline(checkpoint))
    only_high = pipeline(checkpoint)
    only_high.load_lora_weights(str(files(adapter)[0]))
    for other in (plain, clip(only_high)):
        assert (other - ours).abs().max() > 0.01, "each expert's part is seen"


@pytest.mark.parametrize("form", ["comfyui", "kohya", "diffusers"])
def test_what_we_export_does_the_same_in_stock_diffusers(
    checkpoint: Path, adapter: Path, ours: torch.Tensor, form: str, tmp_path: Path
) -> None:
    exported = export_adapter(adapter, tmp_path / "theirs", form)
    torch.testing.assert_close(clip(stock_with(checkpoint, *exported)), ours, atol=1e-4, rtol=1e-4)


def test_a_merged_transformer_is_a_stock_one_that_does_the_same(
    checkpoint: Path, adapter: Path, ours: torch.Tensor, tmp_path: Path
) -> None:
    folders = export_merged(adapter, tmp_path / "merged", profile(checkpoint))
    assert [folder.name for folder in folders] == ["transformer", "transformer_2"]
    for folder in folders:
        names = {path.name for path in folder.iterdir()}
        assert names == {path.name for path in (checkpoint / folder.name).iterdir()}
        assert len([name for name in names if name.endswith(".safetensors")]) > 1, "sharded as the base is"
    stock = pipeline(checkpoint)
    stock.transformer, stock.transformer_2 = map(WanTransformer3DModel.from_pretrained, folders)
    torch.testing.assert_close(clip(stock), ours, atol=1e-4, rtol=1e-4)


def test_merging_with_strength_zero_copies_the_base(checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    for folder in export_merged(adapter, tmp_path / "merged", profile(checkpoint), strength=0.0):
        for path in folder.glob("*.safetensors"):
            base, copy = load_file(checkpoint / folder.name / path.name), load_file(path)
            assert base.keys() == copy.keys()
            assert all(torch.equal(copy[name], tensor) and copy[name].dtype == tensor.dtype
                       for name, tensor in base.items())  # fmt: skip


def test_merging_holds_one_shard_at_a_time(
    checkpoint: Path, adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    opened, saved = safetensors.safe_open, safetensors.torch.save_file
    monkeypatch.setattr(safetensors, "safe_open", lambda file, **how: done.append("read") or opened(file, **how))
    monkeypatch.setattr(
        safetensors.torch, "save_file", lambda tensors, file, **how: done.append("write") or saved(tensors, file, **how)
    )
    lora, base = read_lora(files(adapter)[0]), checkpoint / "transformer"
    done.clear()
    merge_lora(base, lora, tmp_path / "merged")
    assert done == ["read", "write"] * len(list(base.glob("*.safetensors")))
    modes = {path.stat().st_mode & 0o777 for path in (tmp_path / "merged").iterdir()}
    (tmp_path / "new").touch()
    assert modes == {(tmp_path / "new").stat().st_mode & 0o777}, "readable by whoever may read a new file"


def test_merging_refuses_another_base_and_a_base_with_a_file_missing(
    checkpoint: Path, adapter: Path, tmp_path: Path
) -> None:
    with pytest.raises(AdapterError, match=r"base 'nano', got one for 'wan2\.2-a14b'"):
        export_merged(adapter, tmp_path / "merged", load_profile("nano"))
    assert not (tmp_path / "merged").exists()
    broken = write_wan22(tmp_path / "broken")
    shard = next((broken / "transformer_2").glob("*-00002-of-*.safetensors"))
    shard.unlink()
    with pytest.raises(MissingWeightsError, match=shard.name):
        export_merged(adapter, tmp_path / "merged", profile(broken))
    assert not (tmp_path / "merged" / "transformer_2").exists()


def test_a_further_lora_is_stacked_with_its_weight(checkpoint: Path, adapter: Path, tmp_path: Path) -> None:
    """Two LoRAs at once are the sum of their changes: stacking half of the second equals merging both."""
    distilled = tmp_path / "fast"
    write_pair(distilled, alpha=4.0)
    for file in files(distilled):  # nothing but tensors, under ComfyUI's names, as such files are published
        (bare,) = export_adapter(_alone(file), tmp_path / f"published_{file.name}", "comfyui")
        save_file(load_file(bare), bare)
    stock = pipeline(checkpoint)
    load_adapters(experts(stock), adapter, base_model=BASE)
    stack_loras(experts(stock), [(tmp_path / "published_fast_high_noise.safetensors", 0.5)])
    assert {"default", "stacked_0"} == set(stock.transformer_2.peft_config)
    once = export_merged(adapter, tmp_path / "once", profile(checkpoint))[0].parent
    twice = export_merged(distilled, tmp_path / "twice", profile(once), strength=0.5)
    both = pipeline(checkpoint)
    both.transformer, both.transformer_2 = map(WanTransformer3DModel.from_pretrained, twice)
    torch.testing.assert_close(clip(stock), clip(both), atol=1e-4, rtol=1e-4)


def test_a_distilled_lora_with_biases_and_norms_is_read_as_diffusers_reads_it(tmp_path: Path) -> None:
    """Published distilled LoRAs also change biases (`.diff_b`) and carry norms that diffusers leaves out (`.diff`)."""
    lora = read_lora(write_single(tmp_path / "adapter"))
    state: dict[str, torch.Tensor] = {}
    for module, (down, up) in lora.pairs.items():
        name = write_key(LoraKey(module, "alpha"), "comfyui").removesuffix("alpha")
        state |= {f"{name}lora_down.weight": down, f"{name}lora_up.weight": up}
        state[f"{name}diff_b"] = torch.full((up.shape[0],), 0.05)
    for block in range(3):
        state[f"diffusion_model.blocks.{block}.norm3.diff"] = torch.zeros(48)
    path = tmp_path / "distilled.safetensors"
    save_file(state, path)
    model = tiny_transformer(0)
    stack_loras({"transformer": model}, [(path, 1.0)])
    layer = model.blocks[1].attn1.to_q
    torch.testing.assert_close(layer.lora_B["stacked_0"].bias, torch.full((48,), 0.05), atol=1e-6, rtol=0)


def _alone(file: Path) -> Path:
    """Copy a file to where its sibling is not."""
    folder = file.parent / file.stem
    folder.mkdir()
    state, header = load_file(file), read_header(file)
    save_file(state, folder / file.name, metadata=header)
    return folder / file.name


def test_one_file_without_an_expert_in_its_name_is_stacked_on_both(tmp_path: Path) -> None:
    both = {name: tiny_transformer(seed) for seed, name in enumerate(("transformer", "transformer_2"))}
    path = write_single(tmp_path / "distilled.safetensors")
    stack_loras(both, [(path, 1.0), ({"transformer_2": path}, 0.5)])
    assert set(both["transformer"].peft_config) == {"stacked_0"}
    assert set(both["transformer_2"].peft_config) == {"stacked_0", "stacked_1"}


def test_a_stacked_lora_that_is_alone_foreign_or_too_large_is_refused(tmp_path: Path) -> None:
    both = {name: tiny_transformer(seed) for seed, name in enumerate(("transformer", "transformer_2"))}
    high, low = write_pair(tmp_path / "fast")
    low.unlink()
    with pytest.raises(AdapterError, match=r"expected fast_low_noise\.safetensors beside .*fast_high_noise"):
        stack_loras(both, [(high, 1.0)])
    other = tmp_path / "flux.safetensors"
    save_file({"lora_unet_double_blocks_0_img_attn_qkv.lora_down.weight": torch.zeros(2, 2)}, other)
    with pytest.raises(AdapterError, match=r"flux\.safetensors: expected a LoRA of Wan that diffusers reads"):
        stack_loras(both, [(other, 1.0)])
    wide = {"transformer": tiny_transformer(0, ffn_dim=96)}
    with pytest.raises(AdapterError, match=r"ffn\.net\.0\.proj has 64 instead of 96"):
        stack_loras(wide, [(write_single(tmp_path / "narrow"), 1.0)])
    with pytest.raises(AdapterError, match="found none"):
        stack_loras(both, [(tmp_path / "nowhere.safetensors", 1.0)])
    assert not any(getattr(model, "peft_config", {}) for model in [*both.values(), *wide.values()])


def test_an_adapter_whose_other_expert_is_missing_or_of_another_run_is_refused(tmp_path: Path) -> None:
    both = {name: tiny_transformer(seed) for seed, name in enumerate(("transformer", "transformer_2"))}
    high, low = write_pair(tmp_path / "adapter")
    kept = low.read_bytes()
    low.unlink()
    with pytest.raises(AdapterError, match=r"expected .*adapter_low_noise\.safetensors beside adapter_high_noise"):
        load_adapters(both, high, base_model=BASE)
    low.write_bytes(high.read_bytes())
    with pytest.raises(AdapterError, match="adapter of the low-noise expert, it says it is the one of the high-noise"):
        load_adapters(both, high, base_model=BASE)
    low.write_bytes(kept)
    with pytest.raises(AdapterError, match="--reference joint"):
        load_adapters(both, high, base_model=BASE, reference="cached")
    with pytest.raises(AdapterError, match="1/2 of the size"):
        load_adapters(both, high, base_model=BASE, reference_scale=2)
    with pytest.raises(AdapterError, match="with one transformer, got the one of the low-noise"):
        load_adapters({"transformer": both["transformer"]}, high, base_model=BASE)
    assert not any(hasattr(model, "peft_config") for model in both.values()), "nothing was touched"
    load_adapters(both, high, base_model=BASE, reference="joint", reference_scale=1)
    assert all(NAME in model.peft_config for model in both.values())
