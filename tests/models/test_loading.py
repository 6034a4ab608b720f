"""Checkpoints in the published layout: what is loaded, where it stays, and what is refused."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch

from realmaster.errors import AdapterError, ConfigError, MemoryLimitError, MissingWeightsError
from realmaster.models import machine_options
from realmaster.models.adapter import AdapterMetadata, add_lora, save_adapters
from realmaster.models.loading import load_profile_models
from realmaster.models.machine import Machine
from realmaster.models.placement import OneAtATime
from realmaster.models.plan_parts import count_window, lay_out, weigh
from realmaster.models.profiles import Profile, load_profile
from realmaster.training.cache_models import load_encoders
from realmaster.types import VideoShape
from wan_layout import tiny_transformer, write_wan21, write_wan22

SMALL = {"size.height": 64, "size.width": 96, "size.buckets": [], "memory.dtype": "float32"}


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one subfolder for each profile."""
    folder = tmp_path_factory.mktemp("models")
    write_wan22(folder / "wan2.2-a14b")
    write_wan21(folder / "wan2.1-1.3b")
    return folder


@pytest.fixture
def copied(published: Path, tmp_path: Path) -> Path:
    """A copy of the two experts' checkpoint, to be damaged."""
    return Path(shutil.copytree(published / "wan2.2-a14b", tmp_path / "wan2.2-a14b"))


def profile_at(folder: Path, name: str = "wan2.2-a14b", **changes: object) -> Profile:
    return load_profile(
        name, model_dir=folder, changes={**SMALL, **{k.replace("__", "."): v for k, v in changes.items()}}
    )


def test_both_layouts_load_by_the_same_loader(published: Path) -> None:
    two, mode = load_profile_models(profile_at(published))
    one, _ = load_profile_models(profile_at(published, "wan2.1-1.3b"))
    assert mode == "cached"
    assert list(two.experts) == ["transformer", "transformer_2"]
    assert list(one.experts) == ["transformer"]
    for name, seed in (("transformer", 0), ("transformer_2", 1)):
        expected = tiny_transformer(seed).state_dict()
        loaded = two.experts[name].state_dict()
        assert all(torch.equal(loaded[key], value) for key, value in expected.items())
    assert (two.max_length, two.boundary, one.boundary) == (512, 0.875, None)
    assert two.autoencoder.dtype == torch.float32
    assert two.autoencoder.use_tiling
    assert two.expert_at(875.0) == "transformer"
    assert two.expert_at(874.0) == "transformer_2"


def test_the_text_encoder_is_loaded_for_a_prompt_and_dropped_after(published: Path) -> None:
    models, _ = load_profile_models(profile_at(published))
    assert models.text_encoder is None
    first = models.encode_text(["a street"])
    assert models.text_encoder is None
    assert torch.equal(models.encode_text(["a street"]), first)
    kept, _ = load_profile_models(profile_at(published, memory__drop_text_encoder=False))
    assert kept.text_encoder is not None
    assert torch.equal(kept.encode_text(["a street"]), first)


def test_the_variable_names_a_folder_of_checkpoints_or_one(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(published))
    assert load_profile("wan2.2-a14b").folder == published / "wan2.2-a14b"
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(published / "wan2.1-1.3b"))
    assert load_profile("wan2.1-1.3b").folder == published / "wan2.1-1.3b"
    assert load_profile("wan2.2-a14b", model_dir=published).folder == published / "wan2.2-a14b"
    assert "weights" in load_profile("nano").folder.parts  # the shipped one stays where it is


class Elsewhere(OneAtATime):
    """A swap whose device is a copy in the same memory, so that a CPU can tell who is where."""

    def copy(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.clone()


def test_experts_are_on_the_device_one_at_a_time_and_come_home_unchanged() -> None:
    experts = {"transformer": tiny_transformer(0), "transformer_2": tiny_transformer(1)}
    before = {name: {k: v.clone() for k, v in expert.state_dict().items()} for name, expert in experts.items()}
    home = {name: [tensor.data_ptr() for tensor in expert.parameters()] for name, expert in experts.items()}
    swap = Elsewhere(experts, torch.device("cpu"))
    for name in ("transformer", "transformer_2", "transformer_2", "transformer"):
        swap.bring(name)
        for key, expert in experts.items():
            there = [tensor.data_ptr() != place for tensor, place in zip(expert.parameters(), home[key], strict=True)]
            assert all(there) if key == name else not any(there)
    swap.leave()
    for name, expert in experts.items():
        assert [tensor.data_ptr() for tensor in expert.parameters()] == home[name]
        assert all(torch.equal(tensor, before[name][key]) for key, tensor in expert.state_dict().items())


def test_experts_are_swapped_only_where_both_do_not_fit_with_the_work_and_the_reference_s_cache(
    published: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = profile_at(published, memory__share_reference_between_guidance=False, size__width=192)
    counts = count_window(profile, VideoShape(profile.window.num_frames, profile.size.height, profile.size.width))
    cache = counts.reference.kept_bytes
    weights = weigh(profile, counts)
    free = lay_out(profile, counts, weights, "cuda", available_gb=1e3).peak
    assert free > 2 * weights.total + 2 * cache  # both experts and what both branches keep
    for bytes_free, swapped in ((free + 1, False), (free - 1, True)):
        monkeypatch.setattr(machine_options, "free_bytes", lambda _, free=bytes_free: free)
        models, _ = load_profile_models(profile)
        assert (models.swap is not None) == swapped


def test_a_missing_part_a_missing_file_and_a_cut_file_are_named(copied: Path) -> None:
    shard = sorted((copied / "transformer_2").glob("*.safetensors"))[1]
    whole = shard.read_bytes()
    shard.write_bytes(whole[:-10])
    with pytest.raises(MissingWeightsError, match=f"{shard.name}.*expected {len(whole)} bytes, got {len(whole) - 10}"):
        load_profile_models(profile_at(copied))
    shard.unlink()
    with pytest.raises(MissingWeightsError, match=f"{shard.name} is missing.*models download wan2.2-a14b"):
        load_profile_models(profile_at(copied))
    shutil.rmtree(copied / "transformer_2")
    with pytest.raises(MissingWeightsError, match="weights of transformer_2 in"):
        load_profile_models(profile_at(copied))
    with pytest.raises(MissingWeightsError, match=r"vae, tokenizer, text_encoder, transformer.*--model-dir"):
        load_profile_models(profile_at(copied.parent / "nowhere"))


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("transformer/config.json", "{"),
        ("transformer_2/config.json", "[]"),
        ("transformer/config.json", "{}"),
        ("vae/config.json", ""),
        ("vae/config.json", "[]"),
        ("text_encoder/config.json", "{"),
        ("text_encoder/config.json", "[]"),
        ("text_encoder/config.json", "{}"),
        ("text_encoder/config.json", None),
        ("tokenizer/tokenizer.json", "{"),
        ("tokenizer/tokenizer_config.json", "{"),
    ],
)
def test_damaged_settings_are_named_with_their_file(copied: Path, file: str, content: str | None) -> None:
    (copied / file).unlink()
    if content is not None:
        (copied / file).write_text(content)
    with pytest.raises(MissingWeightsError, match=rf"{file}: expected .*models download") as raised:
        load_profile_models(profile_at(copied))[0].encode_text(["a street"])
    assert "\n" not in str(raised.value)
    if not file.startswith("transformer"):
        with pytest.raises(MissingWeightsError, match=rf"{file}.*--set model_dir=FOLDER"):
            load_encoders(profile_at(copied)).encode_text(["a street"])


@pytest.mark.parametrize("layout", ["snapshot", "folder"])
def test_another_revision_is_refused_where_the_folder_says_which_it_is(copied: Path, layout: str) -> None:
    if layout == "snapshot":
        copied = _move(copied, copied.parent / "snapshots" / "abc")
    else:
        record = copied / ".cache" / "huggingface" / "download" / "vae" / "config.json.metadata"
        record.parent.mkdir(parents=True)
        record.write_text("abc\nan-etag\n1.0\n")
    with pytest.raises(MissingWeightsError, match=r"expected revision 5be7df.*got abc.*checkpoint.revision=abc"):
        load_profile_models(profile_at(copied))
    load_profile_models(profile_at(copied, checkpoint__revision="abc"))


def _move(source: Path, target: Path) -> Path:
    target.parent.mkdir()
    return source.rename(target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"size.width": 100}, "width in multiples of 16 .* got 100: the nearest are 96 and 112"),
        ({"window.num_frames": 80}, r"num_frames of 4n\+1 frames .* got 80: the nearest are 77 and 81"),
        ({"memory.attention_backend": "sage"}, "attention_backend sage: .*sageattention"),
        ({"memory.attention_backend": "magic"}, "attention_backend among .*native.* got 'magic'"),
        ({"memory.step_cache": "mag"}, "step_cache.ratios for memory.step_cache mag, got none"),
        ({"memory.compile": True, "memory.layerwise_fp8": True}, r"memory\.compile false with memory\.layerwise_fp8"),
        (
            {"memory.step_cache": "first_block", "memory.context_parallel": 2},
            r"none, mag or taylorseer with memory\.context_parallel, got first_block",
        ),
        ({"memory.context_parallel": 4}, "expected 4 CUDA devices .* got the CPU"),
        ({"memory.dtype": "float16"}, "float32 or bfloat16 on a CPU, got float16"),
        ({"few_step.enabled": True}, "the file of a distilled LoRA"),
        ({"few_step.enabled": True, "memory.step_cache": "first_block"}, "step_cache none with few-step"),
        ({"memory.reference_cache.dtype": "int8"}, "reference_cache.dtype"),
        ({"memory.ofload": "group"}, "ofload"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_options_that_cannot_work_are_refused_in_one_line(published: Path, change: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        load_profile_models(load_profile("wan2.2-a14b", model_dir=published, changes={**SMALL, **change}))
    assert "\n" not in str(raised.value)


def test_one_transformer_cannot_be_swapped(published: Path) -> None:
    with pytest.raises(ConfigError, match=r"none or group for wan2\.1-1\.3b"):
        load_profile_models(profile_at(published, "wan2.1-1.3b", memory__offload="experts"))


def test_too_little_memory_is_refused_with_the_plan_s_figures(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = Machine("3.12", "Linux", "a processor", 2, 1.0, 0.7, 1.0, ())
    monkeypatch.setattr(machine_options, "inspect_machine", lambda _: small)
    monkeypatch.setattr(machine_options, "WORTH_A_PLAN", 0.0)
    message = r"GB on cpu .*weights 0\.0.*it has 0\.7, no CUDA device is used: (use --set|no setting helps)"
    with pytest.raises(MemoryLimitError, match=message) as raised:
        load_profile_models(profile_at(published), clip=VideoShape(5, 64, 96))
    assert "\n" not in str(raised.value)


def metadata(**changes: object) -> AdapterMetadata:
    values = {"base_model": "wan2.2-a14b", "rank": 4, "alpha": 4, "reference": "cached"}
    return AdapterMetadata.from_mapping({**values, **changes}, source="test")


def test_an_adapter_of_two_files_reaches_its_experts_and_another_base_refuses_it(
    published: Path, tmp_path: Path
) -> None:
    experts = {"transformer": tiny_transformer(0), "transformer_2": tiny_transformer(1)}
    for expert in experts.values():
        add_lora(expert, rank=4)
    save_adapters(experts, tmp_path / "adapter.safetensors", metadata(reference_adapted=False))
    models, mode = load_profile_models(profile_at(published), adapter=tmp_path)
    assert mode == "cached"
    assert not models.reference_adapted
    for expert in models.experts.values():
        assert any("lora_" in name for name, _ in expert.named_parameters())
    with pytest.raises(AdapterError, match=r"for the base 'wan2.1-1.3b', got one for 'wan2.2-a14b'"):
        load_profile_models(profile_at(published, "wan2.1-1.3b"), adapter=tmp_path)
    with pytest.raises(AdapterError, match="--reference cached"):
        load_profile_models(profile_at(published), adapter=tmp_path, reference="joint")


def test_the_layout_is_the_published_one(published: Path) -> None:
    for name, parts in (("wan2.2-a14b", {"transformer_2"}), ("wan2.1-1.3b", set())):
        index = json.loads((published / name / "model_index.json").read_text())
        there = {part.name for part in (published / name).iterdir() if part.is_dir()}
        assert there == {"transformer", "vae", "text_encoder", "tokenizer", "scheduler"} | parts
        assert index["_class_name"] == "WanPipeline"
        weights = json.loads(
            (published / name / "transformer" / "diffusion_pytorch_model.safetensors.index.json").read_text()
        )
        assert len(set(weights["weight_map"].values())) > 1
