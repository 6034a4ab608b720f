"""Profiles, and loading what they name."""

import shutil
from pathlib import Path

import pytest

from realmaster.errors import AdapterError, ConfigError, MissingWeightsError
from realmaster.models.loading import load_parts, load_profile_models
from realmaster.models.profiles import Profile, list_profiles, load_profile


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


def test_a_reference_mode_it_was_not_trained_for_is_refused() -> None:
    with pytest.raises(ConfigError, match="trained with, got joint"):
        load_profile_models(load_profile("nano"), reference="joint")


def test_the_lora_beside_nano_loads_over_its_base() -> None:
    profile = load_profile("nano")
    adapter = profile.folder / "adapter_cached.safetensors"
    models, mode = load_profile_models(profile, adapter=adapter)
    assert mode == "cached"
    assert any("lora_" in name for name, _ in models.transformer.named_parameters())
    with pytest.raises(AdapterError, match="--reference cached"):
        load_profile_models(profile, adapter=adapter, reference="joint")
