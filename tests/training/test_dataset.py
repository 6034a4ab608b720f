"""Batches come from one bucket, in the sampler's order, and a state resumes behind what was handed out."""

from __future__ import annotations

import itertools

import pytest
import torch

from realmaster.data.manifest import read_manifest
from realmaster.errors import DataError
from realmaster.training.buckets import Bucket, BucketSampler
from realmaster.training.cache import build_cache
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.dataset import CachedDataset, collate, load_batches
from training_pairs import nano, pairs_in

SETTINGS = CacheSettings.from_mapping({"buckets": ["64x48x5", "48x64x5"]}, source="test")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> CachedDataset:
    folder = tmp_path_factory.mktemp("data")
    pairs = pairs_in(folder / "pairs", 3)
    pairs.add("tall", size=(64, 48), caption="a courtyard")
    pairs.add("taller", size=(64, 48), num_frames=9)
    return build_cache(read_manifest(pairs.manifest), nano(), SETTINGS, folder / "cache", workers=0)


def test_a_batch_is_stacked_and_of_one_bucket(dataset: CachedDataset) -> None:
    assert dataset.buckets == ["64x48x5"] * 3 + ["48x64x5"] * 2
    assert dataset.bucket(3) == Bucket.model_validate("48x64x5")
    batches = load_batches(dataset, BucketSampler(dataset, 2, seed=0))
    seen = set()
    for batch in itertools.islice(batches, 3):
        height, width = (6, 8) if batch["bucket"] == "64x48x5" else (8, 6)
        assert list(batch["target_latents"].shape) == [2, 32, 2, height, width]
        assert batch["reference_latents"].shape == batch["target_latents"].shape
        assert batch["text"].shape == (2, *dataset.empty_text.shape)
        for place, index in enumerate(batch["index"]):
            assert torch.equal(batch["target_latents"][place], dataset[index]["target_latents"])
            assert batch["caption"][place] == dataset.row(index).caption
        seen |= set(batch["index"])
    assert seen == set(range(5))


def test_clips_of_two_buckets_are_no_batch(dataset: CachedDataset) -> None:
    with pytest.raises(DataError, match="expected clips of one bucket in a batch, got 48x64x5, 64x48x5"):
        collate([dataset[0], dataset[3]])


@pytest.mark.parametrize("num_workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_a_state_saved_after_a_batch_resumes_behind_it(dataset: CachedDataset, num_workers: int) -> None:
    def sampler() -> BucketSampler:
        return BucketSampler(dataset, 1, seed=4, drop_captions=0.5)

    expected = [(draw.index, draw.seed) for (draw,) in itertools.islice(sampler(), 6)]
    first = sampler()
    batches = load_batches(dataset, first, num_workers=num_workers)
    got = [(batch["index"][0], batch["seed"][0]) for batch in itertools.islice(batches, 4)]
    state = first.state_dict()
    assert state["position"] == 4
    del batches  # ends the workers, which have read further
    second = sampler()
    second.load_state_dict(state)
    got += [(batch["index"][0], batch["seed"][0]) for batch in itertools.islice(load_batches(dataset, second), 2)]
    assert got == expected


def test_the_digest_names_the_data_in_its_order(dataset: CachedDataset) -> None:
    rows = [dataset.row(index) for index in range(len(dataset))]
    reopened = CachedDataset(rows, dataset.cache.folder, SETTINGS)
    assert reopened.digest == dataset.digest
    assert CachedDataset(rows[::-1], dataset.cache.folder, SETTINGS).digest != dataset.digest
