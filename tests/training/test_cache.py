"""A cache holds what the models give, is made once, and goes on where it was."""

from __future__ import annotations

import shutil
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realmaster.data.manifest import read_manifest
from realmaster.data.pair_set import read_frames
from realmaster.errors import DataError
from realmaster.models.profiles import load_profile
from realmaster.pipelines.sampling import WindowSampler
from realmaster.training import cache as cache_module
from realmaster.training import cache_plan
from realmaster.training.buckets import Draw
from realmaster.training.cache import build_cache, is_built
from realmaster.training.dataset import CachedDataset
from training_pairs import PairFolder, build, entries, nano, pairs_in, settings_of


@pytest.fixture
def pairs(tmp_path: Path) -> PairFolder:
    return pairs_in(tmp_path / "pairs", 2)


def test_what_is_cached_is_what_translating_encodes(pairs: PairFolder, tmp_path: Path) -> None:
    dataset = build(pairs, tmp_path / "cache")
    sampler = WindowSampler(nano(), mode="cached", spatial_scale=1, sampling=load_profile("nano").sampling, seed=0)
    try:
        for index in range(2):
            sample = dataset[index]
            for look, name in (("camera", "target_latents"), ("engine", "reference_latents")):
                frames = read_frames(pairs.folder / f"{index}_{look}.mp4")[:5]
                assert torch.equal(sample[name], sampler.encode(frames)[0])
            assert not torch.equal(sample["target_latents"], sample["reference_latents"])
    finally:
        sampler.remove()


def test_text_is_cached_once_a_caption_and_comes_back_whole(pairs: PairFolder, tmp_path: Path) -> None:
    pairs.add("again", caption="a street, number 0", num_frames=9)
    dataset = build(pairs, tmp_path / "cache", captions=["blurred, overexposed"])
    for index in range(3):
        with torch.no_grad():
            (expected,) = nano().encode_text([dataset[index]["caption"]])
        torch.testing.assert_close(dataset[index]["text"], expected, atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        torch.testing.assert_close(dataset.empty_text, nano().encode_text([""])[0], atol=1e-5, rtol=1e-4)
    assert dataset.text("blurred, overexposed").shape == dataset.empty_text.shape
    # two captions among three pairs, the empty one, the negative prompt
    assert len(list((tmp_path / "cache" / "text").iterdir())) == 4
    with pytest.raises(DataError, match="expected a whole file of the cache"):
        dataset.text("never encoded")


def test_a_dropped_caption_gives_the_empty_text(pairs: PairFolder, tmp_path: Path) -> None:
    dataset = build(pairs, tmp_path / "cache")
    sample = dataset[Draw(1, without_caption=True, seed=7)]
    assert sample["caption"] == ""
    assert sample["seed"] == 7
    assert torch.equal(sample["text"], dataset.empty_text)
    assert torch.equal(sample["target_latents"], dataset[1]["target_latents"])


def test_a_second_build_makes_nothing_and_needs_no_models(
    pairs: PairFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, folder = read_manifest(pairs.manifest), tmp_path / "cache"
    assert not is_built(rows, settings_of(), folder)
    first = build(pairs, folder)
    before = entries(folder)
    monkeypatch.setattr(cache_module, "encode_frames", lambda *_: pytest.fail("encoded again"))
    build(pairs, folder)
    assert entries(folder) == before
    assert is_built(rows, settings_of(), folder)
    assert not is_built(rows, settings_of(), folder, captions=["another prompt"])
    opened = CachedDataset(rows, folder, settings_of())
    assert opened.digest == first.digest
    assert torch.equal(opened[0]["target_latents"], first[0]["target_latents"])


def test_entries_follow_content_not_names(pairs: PairFolder, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    digest = build(pairs, folder).digest
    before = entries(folder)
    moved = tmp_path / "moved"
    shutil.move(pairs.folder, moved)
    assert build(PairFolder(moved), folder).digest == digest
    assert entries(folder) == before
    shutil.copy(moved / "1_camera.mp4", moved / "0_camera.mp4")
    assert build(PairFolder(moved), folder).digest != digest
    assert len(entries(folder)) == len(before) + 1


def test_a_build_that_was_broken_off_goes_on_where_it_was(
    pairs: PairFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "cache"
    encode, calls = cache_module.encode_frames, []

    def killed_at_the_second_pair(*arguments: Any) -> Any:
        calls.append(arguments)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return encode(*arguments)

    monkeypatch.setattr(cache_module, "encode_frames", killed_at_the_second_pair)
    with pytest.raises(KeyboardInterrupt):
        build(pairs, folder)
    half = {path: time for path, time in entries(folder).items() if path.parts[0] == "latents"}
    assert len(half) == 1
    assert not [path for path in folder.rglob("*") if ".part" in path.name]
    with pytest.raises(DataError, match="1 latents and 0 captions are missing"):
        CachedDataset(read_manifest(pairs.manifest), folder, settings_of())
    monkeypatch.setattr(cache_module, "encode_frames", encode)
    build(pairs, folder)
    whole = entries(folder)
    assert {path: whole[path] for path in half} == half
    assert len([path for path in whole if path.parts[0] == "latents"]) == 2


def test_the_same_models_elsewhere_or_without_text_are_the_same(pairs: PairFolder, tmp_path: Path) -> None:
    folder = build(pairs, tmp_path / "cache").cache.folder
    rows = read_manifest(pairs.manifest)
    CachedDataset(rows, folder, settings_of(), models=replace(nano(), autoencoder=deepcopy(nano().autoencoder)))
    CachedDataset(rows, folder, settings_of(), models=replace(nano(), text_encoder=None))


def test_a_text_encoder_that_comes_and_goes_is_loaded_once_and_only_when_needed(
    pairs: PairFolder, tmp_path: Path
) -> None:
    loaded = []

    def load() -> Any:
        loaded.append(1)
        return nano().text_encoder

    pairs_in(pairs.folder, 2)
    for index in range(10):
        pairs.write({"video": "0_camera.mp4", "reference_video": "0_engine.mp4", "caption": f"caption {index}"})
    models = replace(nano(), text_encoder=None, load_text_encoder=load, drop_text_encoder=True)
    rows = read_manifest(pairs.manifest)
    for _ in range(2):
        dataset = build_cache(rows, models, settings_of(), tmp_path / "cache", workers=0)
        assert models.text_encoder is None
        assert models.drop_text_encoder
        assert len(loaded) == 1
    assert len(dataset) == 14
    assert not torch.equal(dataset[4]["text"], dataset[5]["text"])
    with pytest.raises(DataError, match="expected a text encoder to encode captions with, got none"):
        build_cache(rows, replace(models, load_text_encoder=None), settings_of(), tmp_path / "other", workers=0)


def test_further_buckets_and_variants_keep_what_is_there(pairs: PairFolder, tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    augmentations = [{"name": "engine_colour", "share": 1}]
    build(pairs, folder, settings_of(augmentations=augmentations))
    before = entries(folder)
    pairs.add("tall", size=(64, 48), caption="a street, number 0")
    grown = settings_of(buckets=["64x48x5", "48x64x5"], num_variants=2, augmentations=augmentations)
    dataset = build(pairs, folder, grown)
    assert dataset.buckets == ["64x48x5", "64x48x5", "48x64x5"]
    after = entries(folder)
    assert {path: after[path] for path in before} == before
    assert len(after) == len(before) + 2 + 2


def test_variants_hold_augmented_versions_and_the_first_is_plain(pairs: PairFolder, tmp_path: Path) -> None:
    plain = build(pairs, tmp_path / "plain")
    own = [{"name": "engine_colour", "share": 1}, {"name": "training_pairs:darken", "share": 1}]
    dataset = build(pairs, tmp_path / "cache", settings_of(num_variants=3, augmentations=own))
    assert dataset.num_variants == 3
    versions = [dataset[Draw(0, variant)] for variant in range(3)]
    assert torch.equal(versions[0]["reference_latents"], plain[0]["reference_latents"])
    for version in versions[1:]:
        assert torch.equal(version["target_latents"], plain[0]["target_latents"])
        assert not torch.equal(version["reference_latents"], plain[0]["reference_latents"])
    assert not torch.equal(versions[1]["reference_latents"], versions[2]["reference_latents"])


def test_the_reference_may_be_half_as_large(pairs: PairFolder, tmp_path: Path) -> None:
    dataset = build(pairs, tmp_path / "cache", settings_of(reference_scale=2))
    assert list(dataset[0]["target_latents"].shape) == [32, 2, 6, 8]
    assert list(dataset[0]["reference_latents"].shape) == [32, 2, 3, 4]


def test_latents_may_be_stored_in_half_the_space(pairs: PairFolder, tmp_path: Path) -> None:
    full = build(pairs, tmp_path / "full")[0]["target_latents"]
    half = build(pairs, tmp_path / "half", settings_of(dtype="bfloat16"))[0]["target_latents"]
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), full, rtol=2**-8, atol=1e-6)


def test_a_long_clip_gives_its_first_frames_or_as_many_clips_as_fit(tmp_path: Path) -> None:
    pairs = pairs_in(tmp_path / "pairs")
    pairs.add("long", num_frames=17)
    first = build(pairs, tmp_path / "first")
    assert len(first) == 1
    split = build(pairs, tmp_path / "split", settings_of(longer="split"))
    assert [split.first_frame(index) for index in range(len(split))] == [0, 5, 10]
    assert torch.equal(split[0]["target_latents"], first[0]["target_latents"])
    assert not torch.equal(split[1]["target_latents"], first[0]["target_latents"])


def test_a_pair_written_twice_counts_twice_and_is_encoded_once(pairs: PairFolder, tmp_path: Path) -> None:
    pairs.write(pairs.manifest.read_text().splitlines()[0])
    dataset = build(pairs, tmp_path / "cache")
    assert len(dataset) == 3
    assert len(list((tmp_path / "cache" / "latents").rglob("*.safetensors"))) == 2
    assert dataset.row(2).line == 3


def test_a_survey_counts_the_clips_of_each_bucket_and_writes_nothing(tmp_path: Path) -> None:
    pairs = pairs_in(tmp_path / "pairs", 3)
    pairs.add("tall", size=(64, 48), num_frames=11)
    pairs.add("short", num_frames=3)
    before = sorted(tmp_path.rglob("*"))
    settings = settings_of(buckets=["64x48x5", "48x64x5", "64x48x81"], longer="split")
    survey = cache_plan.survey_pairs(read_manifest(pairs.manifest), settings)
    assert survey.num_clips == {"64x48x5": 3, "48x64x5": 2, "64x48x81": 0}
    assert [row.where for row in survey.broken] == [f"{pairs.manifest}:5"]
    assert sorted(tmp_path.rglob("*")) == before


def test_progress_counts_what_is_there_and_what_is_made(pairs: PairFolder, tmp_path: Path) -> None:
    build(pairs, tmp_path / "cache")
    pairs.add("more", num_frames=9)
    seen: list[tuple[int, int | None]] = []
    build(pairs, tmp_path / "cache", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(3, 3)]
