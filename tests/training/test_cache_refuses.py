"""A cache says what it lacks and what is wrong with its data, and keeps what is whole."""

from __future__ import annotations

import errno
from collections import namedtuple
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from realmaster.data.manifest import read_manifest
from realmaster.errors import ConfigError, DataError, NumericalError, OutputError
from realmaster.training import cache as cache_module
from realmaster.training import cache_folder, cache_plan
from realmaster.training.cache import build_cache, is_built
from realmaster.training.dataset import CachedDataset
from training_pairs import PairFolder, build, entries, nano, pairs_in, settings_of


@pytest.fixture
def pairs(tmp_path: Path) -> PairFolder:
    return pairs_in(tmp_path / "pairs", 2)


@pytest.mark.parametrize(
    "change",
    [{"frame_rate": 8}, {"reference_scale": 2}, {"dtype": "bfloat16"}, {"fit": "stretch"}, {"shorter": "hold"}],
)
def test_a_cache_of_other_settings_is_refused_and_both_are_named(
    pairs: PairFolder, tmp_path: Path, change: dict[str, Any]
) -> None:
    build(pairs, tmp_path / "cache")
    before = entries(tmp_path / "cache")
    (name,) = change
    with pytest.raises(DataError, match=f"it was made with {name} .* instead of {change[name]}: choose another folder"):
        build(pairs, tmp_path / "cache", settings_of(buckets=["64x64x5"], **change))
    assert entries(tmp_path / "cache") == before


def test_a_file_in_the_place_of_a_cache_is_refused(pairs: PairFolder, tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"a film")
    with pytest.raises(DataError, match=r"a\.mp4: expected the folder of a cache, found a file: name a folder"):
        is_built(read_manifest(pairs.manifest), settings_of(), tmp_path / "a.mp4")
    with pytest.raises(DataError, match=r"a\.mp4: expected the folder of a cache, found a file: name a folder"):
        build(pairs, tmp_path / "a.mp4")


@pytest.mark.parametrize("part", ["autoencoder", "text_encoder"])
def test_a_cache_of_other_models_is_refused(pairs: PairFolder, tmp_path: Path, part: str) -> None:
    dataset = build(pairs, tmp_path / "cache")
    other = deepcopy(getattr(nano(), part))
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1.01)
    models = replace(nano(), **{part: other})
    rows = read_manifest(pairs.manifest)
    with pytest.raises(DataError, match=f"it was made with another {part.replace('_', ' ')}"):
        build_cache(rows, models, settings_of(), dataset.cache.folder, workers=0)
    with pytest.raises(DataError, match="choose another folder"):
        CachedDataset(rows, dataset.cache.folder, settings_of(), models=models)


@pytest.mark.parametrize(
    ("bucket", "said"),
    [("64x48x6", r"4n\+1 frames, got 6: choose 5 or 9"), ("60x48x5", "multiple of 8, got 60: choose 56 or 64")],
)
def test_a_bucket_that_does_not_fit_the_models_is_refused_before_anything_is_made(
    pairs: PairFolder, tmp_path: Path, bucket: str, said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        build(pairs, tmp_path / "cache", settings_of(buckets=[bucket]))
    assert not (tmp_path / "cache").exists()


def test_broken_pairs_are_named_and_counted_and_the_rest_is_kept(
    pairs: PairFolder, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pairs.add("noise", num_frames=9)
    pairs.damage("noise")
    pairs.add("short", num_frames=3)
    rows = read_manifest(pairs.manifest)
    with pytest.raises(DataError, match=r"manifest\.jsonl:3: .*noise_camera\.mp4.*; 2 of 4 rows are broken"):
        build(pairs, tmp_path / "cache")
    assert "expected at least 5 frames at 16 a second, the pair has 3" in caplog.text
    dataset = build(pairs, tmp_path / "cache", skip_broken=True)
    assert [dataset.row(index).line for index in range(len(dataset))] == [1, 2]
    assert [row.where for row in dataset.broken] == [f"{pairs.manifest}:{line}" for line in (3, 4)]
    assert is_built(rows, settings_of(), tmp_path / "cache", skip_broken=True)
    assert not is_built(rows, settings_of(), tmp_path / "cache")
    with pytest.raises(DataError, match="2 of 4 rows are broken"):
        CachedDataset(rows, tmp_path / "cache", settings_of())


def test_a_clip_that_went_away_after_the_manifest_was_read_is_a_broken_row(pairs: PairFolder, tmp_path: Path) -> None:
    rows = read_manifest(pairs.manifest)
    (pairs.folder / "1_engine.mp4").unlink()
    with pytest.raises(DataError, match=r"manifest\.jsonl:2: .*1_engine\.mp4.*; 1 of 2 rows are broken"):
        build_cache(rows, nano(), settings_of(), tmp_path / "cache", workers=0)
    assert len(build_cache(rows, nano(), settings_of(), tmp_path / "cache", workers=0, skip_broken=True)) == 1


def test_a_clip_that_ends_before_it_says_is_broken_and_others_are_made(
    pairs: PairFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = cache_plan.measure_pair
    monkeypatch.setattr(cache_plan, "measure_pair", lambda row, **k: _longer(measure(row, **k)))
    settings = settings_of(buckets=["64x48x9", "64x48x5"])  # the pairs have 5 and 6 frames, and claim 10 and 12
    pairs.add("whole", num_frames=9)
    with pytest.raises(DataError, match=r"expected 9 frames from frame 0 on, got 5.*; 2 of 3 rows are broken"):
        build(pairs, tmp_path / "cache", settings)
    assert len(build(pairs, tmp_path / "cache", settings, skip_broken=True)) == 1


def _longer(shape: Any) -> Any:
    return replace(shape, num_frames=2 * shape.num_frames)


def test_a_disk_with_too_little_room_is_found_before_anything_is_encoded(
    pairs: PairFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(cache_plan.shutil, "disk_usage", lambda _: usage(0, 0, 60_000_000))
    with pytest.raises(OutputError, match=r"expected 0\.07 GB of free space for 2 latents and 3 captions, found 0\.06"):
        build(pairs, tmp_path / "cache")
    assert not entries(tmp_path / "cache")


def test_a_full_disk_leaves_no_half_entry(pairs: PairFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    build(pairs, tmp_path / "cache")
    pairs.add("more", num_frames=9)
    before = entries(tmp_path / "cache")
    monkeypatch.setattr(cache_folder.os, "fsync", full)
    with pytest.raises(OutputError, match="No space left on device"):
        build(pairs, tmp_path / "cache")
    assert entries(tmp_path / "cache") == before
    assert not [path for path in (tmp_path / "cache").rglob("*") if ".part" in path.name]


def test_a_damaged_entry_is_named(pairs: PairFolder, tmp_path: Path) -> None:
    dataset = build(pairs, tmp_path / "cache")
    (file, *_) = (tmp_path / "cache" / "latents").rglob("*.safetensors")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(DataError, match=f"{file.name}: expected a whole file of the cache"):
        [dataset[index] for index in range(2)]


def test_a_cache_of_another_format_or_none_is_refused(pairs: PairFolder, tmp_path: Path) -> None:
    rows = read_manifest(pairs.manifest)
    with pytest.raises(DataError, match="found none: build it first"):
        CachedDataset(rows, tmp_path / "nowhere", settings_of())
    for text, said in (('{"format": 99}', "expected a cache of format 1"), ("{", "expected a whole file")):
        (tmp_path / "cache.json").write_text(text)
        with pytest.raises(DataError, match=said):
            build(pairs, tmp_path)


def test_an_autoencoder_that_gives_nan_is_caught(
    pairs: PairFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cache_module, "encode_frames", lambda *_: torch.full((32, 2, 6, 8), torch.nan))
    with pytest.raises(NumericalError, match=r"manifest\.jsonl:1: expected finite latents"):
        build(pairs, tmp_path / "cache")
    assert not list((tmp_path / "cache" / "latents").rglob("*.safetensors"))
