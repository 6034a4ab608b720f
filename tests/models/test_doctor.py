from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml

from realmaster.models import doctor, profiles
from realmaster.models.machine import Accelerator, Machine, Package
from realmaster.models.nano import AutoencoderSizes, NanoSizes, TextEncoderSizes, TransformerSizes

MACHINE = Machine("3.12.1", "Linux", "a processor", 2, 16.0, 8.0, 100.0, ())
PACKAGES = (Package("av", ">=14", "18.1", None, True), Package("anny", "", None, "render", False))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the layout of nano, untrained and as small as the classes allow."""
    folder = tmp_path_factory.mktemp("checkpoint")
    sizes = NanoSizes(
        autoencoder=AutoencoderSizes(base_dim=8, z_dim=4),
        text_encoder=TextEncoderSizes(d_model=16, num_layers=1, num_heads=2, vocab_size=260),
        transformer=TransformerSizes(num_heads=2, head_dim=12, num_layers=2, ffn_dim=32),
    )
    torch.manual_seed(0)
    sizes.autoencoder.build().save_pretrained(folder / "vae")
    sizes.text_encoder.build().save_pretrained(folder / "text_encoder")
    sizes.transformer.build(z_dim=4, text_dim=16).save_pretrained(folder / "transformer")
    (folder / "tokenizer").mkdir()
    (folder / "tokenizer" / "tokenizer_config.json").write_text('{"model_max_length": 16}')
    return folder


@pytest.fixture
def profile(checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> profiles.Profile:
    """The only profile there is, on a machine with 8 GB free and no accelerator."""
    settings = {
        "name": "tiny",
        "purpose": "a test",
        "checkpoint": {"folder": str(checkpoint)},
        "size": {"height": 32, "width": 64},
        "window": {"num_frames": 9, "overlap": 5},
        "sampling": {"num_inference_steps": 2},
    }
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(profiles, "PROFILES", tmp_path)
    monkeypatch.setattr(doctor, "inspect_machine", lambda _: MACHINE)
    monkeypatch.setattr(doctor, "inspect_packages", lambda: PACKAGES)
    monkeypatch.setattr(doctor, "measure_flops", lambda *_: 1e10)
    return profiles.load_profile("tiny")


def test_a_profile_that_fits_is_ready_with_memory_and_time(profile: profiles.Profile, tmp_path: Path) -> None:
    found = doctor.diagnose(tmp_path, lambda *_: 0.1)
    (verdict,) = found.profiles
    assert (verdict.name, verdict.device, verdict.ready) == ("tiny", "cpu", True)
    assert verdict.memory_gb is not None
    assert 0.7 < verdict.memory_gb < 1.2
    assert verdict.seconds is not None
    assert verdict.seconds > 0
    assert [lack.remedy for lack in found.missing] == ["pip install 'realmaster[render]'"]


def test_twice_the_speed_halves_the_time_of_the_model(profile: profiles.Profile) -> None:
    fixed = doctor.estimate(profile, "cpu", lambda *_: 0.1, available_gb=8, flops=1e30)[1]
    slow, fast = (
        doctor.estimate(profile, "cpu", lambda *_: 0.1, available_gb=8, flops=flops)[1] - fixed for flops in (1e9, 2e9)
    )
    assert slow == pytest.approx(2 * fast)


def test_guidance_and_steps_cost_time(profile: profiles.Profile) -> None:
    plain = doctor.estimate(profile, "cpu", lambda *_: 0.1, available_gb=8, flops=1e9)[1]
    for change in ({"guidance_scale": 3.0}, {"num_inference_steps": 4}):
        dearer = profile.model_copy(update={"sampling": profile.sampling.model_copy(update=change)})
        assert doctor.estimate(dearer, "cpu", lambda *_: 0.1, available_gb=8, flops=1e9)[1] > plain


def test_a_profile_too_large_for_the_memory_says_how_much_is_lacking(
    profile: profiles.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "inspect_machine", lambda _: replace(MACHINE, free_memory_gb=0.5))
    found = doctor.diagnose(tmp_path, lambda *_: 0.1)
    assert not found.profiles[0].ready
    assert any("memory for tiny" in lack.what and "free 0." in lack.remedy for lack in found.missing)


def test_an_accelerator_is_judged_by_its_own_memory(
    profile: profiles.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = Accelerator("cuda:0", "a small GPU", 0.1)
    monkeypatch.setattr(doctor, "inspect_machine", lambda _: replace(MACHINE, accelerators=(small,)))
    (verdict,) = doctor.diagnose(tmp_path, lambda *_: 0.1).profiles
    assert (verdict.device, verdict.ready) == ("cuda:0", False)


def test_missing_weights_are_named(profile: profiles.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    empty = profile.checkpoint.model_copy(update={"folder": str(tmp_path / "nowhere"), "adapter": "lora.safetensors"})
    (lack,) = doctor.missing_weights(profile.model_copy(update={"checkpoint": empty}))
    assert "vae, tokenizer, text_encoder, transformer, lora.safetensors" in lack.what
    assert doctor.missing_weights(profile) == []


def test_a_profile_without_its_weights_is_estimated_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(tmp_path))
    monkeypatch.setattr(doctor, "inspect_machine", lambda _: MACHINE)
    monkeypatch.setattr(doctor, "inspect_packages", lambda: PACKAGES)
    monkeypatch.setattr(doctor, "measure_flops", lambda *_: 1e10)
    monkeypatch.setattr(doctor, "list_profiles", lambda: ["wan2.2-a14b"])
    found = doctor.diagnose(tmp_path, lambda *_: 0.1)
    (verdict,) = found.profiles
    assert not verdict.ready
    assert verdict.memory_gb is not None
    assert verdict.memory_gb > 20
    assert verdict.seconds is not None
    assert {"weights", "memory"} <= {lack.what.split()[0] for lack in found.missing}


def test_weights_of_a_published_model_come_from_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REALMASTER_MODEL_DIR", str(tmp_path))
    (lack,) = doctor.missing_weights(profiles.load_profile("wan2.2-a14b"))
    assert "vae, tokenizer, text_encoder, transformer, transformer_2" in lack.what
    assert lack.remedy == "realmaster models download wan2.2-a14b"


def test_packages_are_asked_for_with_the_command_that_installs_them() -> None:
    packages = [
        Package("av", ">=14", "9.0", None, False),
        Package("torch", "", None, None, False),
        Package("bpy", "==4.5.*", None, "render", False, possible=False),
        Package("gradio", "", None, "web", False),
        Package("ray", "", "2.0", "cluster", True),
    ]
    said = [(lack.what, lack.remedy) for lack in doctor.missing_packages(packages, "3.12.1")]
    assert said == [
        ("av (9.0 is installed)", "pip install 'av>=14'"),
        ("torch (not installed)", "pip install 'torch'"),
        ("extra render (bpy)", "bpy does not exist for Python 3.12.1"),
        ("extra web (gradio)", "pip install 'realmaster[web]'"),
    ]


def test_without_torch_nothing_is_estimated(
    profile: profiles.Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "inspect_packages", lambda: (Package("torch", "", None, None, False),))
    (verdict,) = doctor.diagnose(tmp_path, lambda *_: 0.1).profiles
    assert (verdict.ready, verdict.seconds) == (False, None)
