"""`realmaster cache CONFIG` names what is wrong with the data, and encodes what a run would encode."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from realmaster.cli.main import main
from realmaster.data.manifest import read_manifest
from realmaster.training.cache import is_built
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.dataset import CachedDataset
from training_pairs import PairFolder, nano, pairs_in

ENCODE = {"buckets": ["64x48x5", "48x64x5"]}


@pytest.fixture
def pairs(tmp_path: Path) -> PairFolder:
    return pairs_in(tmp_path / "pairs", 2)


@pytest.fixture
def config(pairs: PairFolder, tmp_path: Path) -> Path:
    path = tmp_path / "train.yaml"
    values = {
        "profile": "nano",
        "output": str(tmp_path / "run"),
        "device": "cpu",
        "data": {"manifest": str(pairs.manifest), "workers": 0, "encode": ENCODE},
        "experts": {"transformer": {"num_steps": 1}},
    }
    path.write_text(yaml.safe_dump(values))
    return path


def test_a_check_counts_clips_and_encodes_nothing(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(config), "--check"]) == 0
    assert capsys.readouterr().out.splitlines() == ["64x48x5: 2 clips", "48x64x5: 0 clips"]
    assert not (tmp_path / "run").exists()


def test_a_check_names_rows_broken_in_the_manifest_and_in_the_clips(
    config: Path, pairs: PairFolder, capsys: pytest.CaptureFixture[str]
) -> None:
    pairs.add("noise", num_frames=9)
    pairs.damage("noise")
    pairs.write("{")
    assert main(["cache", str(config), "--check"]) == 2
    (line,) = [line for line in capsys.readouterr().err.splitlines() if "rows are broken" in line]
    assert "2 of 4 rows are broken" in line


def test_the_cache_is_the_one_that_the_whole_models_make(
    config: Path, pairs: PairFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["cache", str(config), "-q"]) == 0
    assert "2 clips, 1 variants each" in capsys.readouterr().out
    rows, settings = read_manifest(pairs.manifest), CacheSettings.from_mapping(ENCODE, source="test")
    assert is_built(rows, settings, tmp_path / "run" / "cache")
    dataset = CachedDataset(rows, tmp_path / "run" / "cache", settings, models=nano())
    assert len(dataset) == 2


def test_a_wrong_size_is_one_line(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cache", str(config), "--set", "data.encode.buckets=[64x48x6]", "-q"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "bucket 64x48x6: expected 4n+1 frames, got 6: choose 5 or 9" in line
