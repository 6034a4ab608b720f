"""A cache for a published model is made from its encoders alone, in the published layout."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from realmaster.errors import ConfigError, MissingWeightsError
from realmaster.training.cache_models import build_run_cache
from realmaster.training.fingerprints import fingerprint_autoencoder, fingerprint_text_encoder
from realmaster.training.settings import TrainSettings
from training_pairs import PairFolder, nano, pairs_in
from wan_layout import TEXT_WIDTH, write_wan22


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> PairFolder:
    return pairs_in(tmp_path_factory.mktemp("pairs"), 1)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Wan2.2-T2V-A14B whose transformers have lost their weights."""
    folder = write_wan22(tmp_path_factory.mktemp("wan"))
    for part in ("transformer", "transformer_2"):
        for file in (folder / part).glob("*.safetensors"):
            file.unlink()
    return folder


def settings_of(pairs: PairFolder, checkpoint: Path, output: Path, **encode: Any) -> TrainSettings:
    values = {
        "profile": "wan2.2-a14b",
        "model_dir": str(checkpoint),
        "output": str(output),
        "device": "cpu",
        "data": {"manifest": str(pairs.manifest), "workers": 0, "encode": {"buckets": ["64x48x5"], **encode}},
        "experts": {"transformer": {"num_steps": 1}},
    }
    return TrainSettings.from_mapping(values, source="test")


def test_latents_and_text_have_the_published_shapes(pairs: PairFolder, checkpoint: Path, tmp_path: Path) -> None:
    dataset = build_run_cache(settings_of(pairs, checkpoint, tmp_path))
    sample = dataset[0]
    assert list(sample["target_latents"].shape) == list(sample["reference_latents"].shape) == [16, 2, 6, 8]
    assert list(sample["text"].shape) == [512, TEXT_WIDTH]
    assert sample["text"].dtype == torch.bfloat16
    used = load_file(dataset.cache.text_file(sample["caption"]))["text"]
    assert 0 < len(used) < 64
    assert torch.equal(sample["text"][: len(used)], used)
    assert not sample["text"][len(used) :].any()


def test_sides_are_multiples_of_sixteen_and_of_thirty_two_with_a_small_reference(
    pairs: PairFolder, checkpoint: Path, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match="a height that is a multiple of 16, got 40: choose 32 or 48"):
        build_run_cache(settings_of(pairs, checkpoint, tmp_path, buckets=["64x40x5"]))
    with pytest.raises(ConfigError, match=r"a height that is a multiple of 32 .* got 48: choose 32 or 64"):
        build_run_cache(settings_of(pairs, checkpoint, tmp_path, reference_scale=2))


def test_a_missing_encoder_is_named(pairs: PairFolder, tmp_path: Path) -> None:
    checkpoint = write_wan22(tmp_path / "wan")
    (checkpoint / "vae" / "diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(MissingWeightsError, match="vae"):
        build_run_cache(settings_of(pairs, checkpoint, tmp_path / "run"))


def test_what_makes_a_model_another_one_is_in_its_fingerprint() -> None:
    first = fingerprint_autoencoder(nano().autoencoder)
    assert fingerprint_autoencoder(deepcopy(nano().autoencoder).to(torch.float64)) == first
    others = [deepcopy(nano().autoencoder) for _ in range(3)]
    others[0].enable_tiling()
    others[1].register_to_config(latents_std=[1.0] * 32)
    with torch.no_grad():
        others[2].encoder.conv_in.weight.add_(1e-3)
    assert len({first, *map(fingerprint_autoencoder, others)}) == 4

    text = fingerprint_text_encoder(nano().text_encoder, nano().tokenizer, 48)
    assert fingerprint_text_encoder(nano().text_encoder, nano().tokenizer, 47) != text
    with torch.device("meta"):
        empty = type(nano().text_encoder)(nano().text_encoder.config)
    with pytest.raises(ConfigError, match="load the model whole"):
        fingerprint_text_encoder(empty, nano().tokenizer, 48)
