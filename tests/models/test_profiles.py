"""Profiles, and loading what they name."""

import shutil
from pathlib import Path

import pytest
import yaml

from realmaster.errors import AdapterError, ConfigError, MissingWeightsError
from realmaster.models.loading import load_parts, load_profile_models
from realmaster.models.profiles import FrameSize, Profile, list_profiles, load_profile, read_changes


def test_nano_is_there_and_every_profile_reads() -> None:
    assert "nano" in list_profiles()
    for name in list_profiles():
        assert load_profile(name).name == name


def test_an_unknown_profile_is_refused_with_the_names_there_are() -> None:
    with pytest.raises(ConfigError, match=r"among .*nano.*, got 'wan9'"):
        load_profile("wan9")


def test_a_key_that_is_no_setting_is_refused() -> None:
    values = load_profile("nano").model_dump() | {"colour": "red"}
    with pytest.raises(ConfigError, match="colour"):
        Profile.from_mapping(values, source="profile")


def test_nano_works_at_whole_tokens_and_whole_latent_frames() -> None:
    profile = load_profile("nano")
    models, mode = load_profile_models(profile)
    assert mode == profile.reference.mode
    assert profile.size.height % models.space_stride == 0
    assert profile.size.width % models.space_stride == 0
    assert profile.window.num_frames % models.time_stride == 1
    assert profile.window.overlap % models.time_stride == 1


def test_weights_that_are_missing_or_cut_are_named(tmp_path: Path) -> None:
    folder = tmp_path / "nano"
    shutil.copytree(load_profile("nano").folder, folder)
    weights = next((folder / "vae").glob("*.safetensors"))
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(MissingWeightsError, match="could not read"):
        load_parts(folder)
    shutil.rmtree(folder / "vae")
    with pytest.raises(MissingWeightsError, match="weights of vae"):
        load_parts(folder)


def test_a_size_beyond_the_model_s_positions_is_refused_before_it_is_loaded() -> None:
    with pytest.raises(ConfigError, match=r"size\.height of at most 2048 pixels, .* nano .* got 4000: lower it"):
        load_profile_models(load_profile("nano", changes={"size.height": 4000}))


def test_a_reference_mode_it_was_not_trained_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="trained with, got joint"):
        load_profile_models(load_profile("nano"), reference="joint")
    changed = load_profile("nano", changes={"reference.mode": "joint"})
    with pytest.raises(
        ConfigError, match=r"expected --set reference\.mode=cached, .* trained with, got joint: leave it out"
    ):
        load_profile_models(changed)
    _, mode = load_profile_models(changed, adapter=changed.folder / "adapter_cached.safetensors")
    assert mode == "cached"  # the adapter's own goes before the profile's


def test_the_lora_beside_nano_loads_over_its_base() -> None:
    profile = load_profile("nano")
    adapter = profile.folder / "adapter_cached.safetensors"
    models, mode = load_profile_models(profile, adapter=adapter)
    assert mode == "cached"
    assert any("lora_" in name for name, _ in models.transformer.named_parameters())
    with pytest.raises(AdapterError, match="--reference cached"):
        load_profile_models(profile, adapter=adapter, reference="joint")


def test_settings_change_by_their_dotted_names() -> None:
    changes = read_changes(["memory.offload=group", "size.buckets=[]", "sampling.guidance_scale=2.5"])
    profile = load_profile("wan2.2-a14b", changes=changes)
    assert (profile.memory.offload, profile.size.buckets, profile.sampling.guidance_scale) == ("group", (), 2.5)
    assert profile.size.all_buckets == (FrameSize(height=480, width=832),)
    assert load_profile("wan2.2-a14b").memory.offload == "experts"


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("memory.offload", "NAME=VALUE"),
        ("memory.offload=disk", "memory.offload"),
        ("memry.offload=group", "no group 'memry': did you mean memory?"),
        ("memory.reference_cach.dtype=bfloat16", "no group 'reference_cach': did you mean reference_cache?"),
        ("size.width=8000", "size.width: input should be less than or equal to 4320"),
        ("size.width.pixels=3", "no group 'width': remove it"),
        ("memory.ofload=group", "ofload"),
        ("size.width=[", "as YAML writes it"),
        ("sampling.negative_prompt=2024-13-01", "as YAML writes it, got '2024-13-01' .*: quote it"),
        ("sampling.shift=0x_", "as YAML writes it, got '0x_' .*: quote it"),
        (f"sampling.shift={'[' * 3000}", r"nested too deep\): quote it"),
        (f"sampling.num_inference_steps={10**20}", "less than or equal to 1000"),
        (f"few_step.num_inference_steps={10**20}", "less than or equal to 1000"),
    ],
)
def test_a_change_that_fits_no_setting_is_refused(word: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        load_profile("wan2.2-a14b", changes=read_changes([word]))


def test_a_profile_of_one_s_own_is_a_file(tmp_path: Path) -> None:
    values = load_profile("wan2.1-1.3b").model_dump(mode="json") | {"name": "mine"}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(values))
    assert load_profile(str(tmp_path / "mine.yaml")).name == "mine"
    with pytest.raises(ConfigError, match=r"nowhere\.yaml"):
        load_profile(str(tmp_path / "nowhere.yaml"))


def test_the_full_sizes_are_the_published_ones() -> None:
    paper = load_profile("wan2.2-a14b")
    sampling = paper.sampling
    assert (paper.window.num_frames, paper.size.frame_rate, paper.text.max_length) == (81, 16, 512)
    assert (sampling.scheduler, sampling.num_inference_steps, sampling.shift) == ("unipc", 40, 12.0)
    assert (sampling.guidance_scale, sampling.guidance_scale_2, sampling.boundary) == (4.0, 3.0, 0.875)
    assert {(size.width, size.height) for size in paper.size.buckets} >= {(832, 480), (1280, 720)}
    assert paper.transformers == {"transformer": "transformer", "transformer_2": "transformer_2"}
    assert load_profile("wan2.1-1.3b").transformers == {"transformer": "transformer"}


def test_a_second_expert_and_its_boundary_belong_together() -> None:
    with pytest.raises(ConfigError, match=r"transformer_2 and sampling\.boundary together"):
        load_profile("wan2.2-a14b", changes={"sampling.boundary": None})
    with pytest.raises(ConfigError, match="hub with revision"):
        load_profile("wan2.2-a14b", changes={"checkpoint.revision": None})


@pytest.mark.parametrize("name", list_profiles())
def test_what_makes_pairs_is_a_part_of_every_profile_and_a_profile_itself(name: str) -> None:
    whole, editor, vace = (load_profile(f"{name}{part}") for part in ("", "/editor", "/vace"))
    assert (editor.name, editor.base_name, whole.base_name) == (f"{name}/editor", name, name)
    assert whole.editor is not None
    assert whole.propagation is not None
    assert editor.checkpoint == whole.editor.checkpoint
    assert vace.checkpoint == whole.propagation.checkpoint
    assert vace.sampling == whole.propagation.sampling
    assert vace.window.num_frames == whole.propagation.num_frames
    assert editor.size == (whole.editor.size or whole.size)
    assert vace.size == (whole.propagation.size or whole.size)
    resized = load_profile(f"{name}/vace", changes={"propagation.size": {"height": 64, "width": 112}})
    assert (resized.size.height, resized.size.width) == (64, 112)


def test_a_part_s_weights_lie_in_a_folder_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "wan2.2-a14b" / "vace").mkdir(parents=True)
    assert load_profile("wan2.2-a14b/vace", model_dir=tmp_path).folder == tmp_path / "wan2.2-a14b" / "vace"
    assert load_profile("nano/editor").folder == load_profile("nano").folder


def test_vace_samples_as_its_official_code_does() -> None:
    for name, hub in (("wan2.1-1.3b", "VACE-1.3B"), ("wan2.2-a14b", "VACE-14B")):
        vace = load_profile(f"{name}/vace")
        assert hub in str(vace.checkpoint.hub)
        assert (vace.sampling.num_inference_steps, vace.sampling.shift, vace.sampling.guidance_scale) == (50, 16, 5)
        assert vace.window.num_frames == 81


def test_changes_reach_a_part_by_its_settings_in_the_whole() -> None:
    changes = {"editor.sampling.num_inference_steps": 8, "propagation.conditioning_scale": 0.7}
    assert load_profile("wan2.2-a14b/editor", changes=changes).sampling.num_inference_steps == 8
    vace = load_profile("wan2.2-a14b/vace", changes=changes)
    assert vace.propagation is not None
    assert vace.propagation.conditioning_scale == 0.7


def test_a_profile_without_an_editor_says_so() -> None:
    with pytest.raises(ConfigError, match="expected a profile with editor settings"):
        load_profile("nano/editor", changes={"editor": None})
