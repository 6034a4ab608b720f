"""Several processes build one cache and do not fight; readers ahead of the encoding change nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
import torch

from realmaster.data.manifest import read_manifest
from realmaster.errors import MemoryLimitError
from realmaster.training import cache as cache_module
from realmaster.training.cache import build_cache
from realmaster.training.cache_readers import Claim, Readers
from realmaster.training.cache_settings import CacheSettings
from training_pairs import nano, pairs_in

SETTINGS = CacheSettings.from_mapping({"buckets": ["64x48x5"]}, source="test")
BUILDER = """
import sys
from pathlib import Path
from realmaster.data.manifest import read_manifest
from realmaster.training import cache
from realmaster.training.cache_settings import CacheSettings
from training_pairs import nano

encode, calls = cache.encode_frames, []
cache.encode_frames = lambda *arguments: (calls.append(1), encode(*arguments))[1]
settings = CacheSettings.from_mapping({"buckets": ["64x48x5"]}, source="test")
nano()
print("ready", flush=True)
sys.stdin.readline()
dataset = cache.build_cache(read_manifest(sys.argv[1]), nano(), settings, sys.argv[2], workers=0)
print(len(dataset), len(calls))
"""


def test_two_builders_at_once_encode_every_clip_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In two threads, which are quicker to start than processes: a claim keeps them apart all the same."""
    rows = read_manifest(pairs_in(tmp_path / "pairs", 4).manifest)
    both = nano(), replace(nano(), autoencoder=deepcopy(nano().autoencoder))  # it keeps frames while it encodes
    encode, calls = cache_module.encode_frames, []

    def counted(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        return encode(*arguments)

    monkeypatch.setattr(cache_module, "encode_frames", counted)
    with ThreadPoolExecutor(2) as builders:
        builds = [
            builders.submit(build_cache, rows, models, SETTINGS, tmp_path / "cache", workers=0) for models in both
        ]
        assert [len(build.result()) for build in builds] == [4, 4]
    assert len(calls) == 2 * 4  # both looks of every pair
    assert not list((tmp_path / "cache" / "claims").iterdir())


@pytest.mark.slow
def test_two_processes_share_the_work_and_both_end_with_all_of_it(tmp_path: Path) -> None:
    pairs = pairs_in(tmp_path / "pairs", 6)
    command = [sys.executable, "-c", BUILDER, str(pairs.manifest), str(tmp_path / "cache")]
    folder = Path(__file__).parents[1]
    builders = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder)
        for _ in range(2)
    ]
    for builder in builders:
        assert builder.stdout is not None
        assert builder.stdout.readline() == "ready\n"
    for builder in builders:
        assert builder.stdin is not None
        builder.stdin.write("\n")
        builder.stdin.flush()
    said = [builder.communicate(timeout=100)[0].split() for builder in builders]
    assert [builder.returncode for builder in builders] == [0, 0]
    assert [words[0] for words in said] == ["6", "6"]
    assert sum(int(words[1]) for words in said) == 2 * 6  # both looks of every pair, once
    assert not list((tmp_path / "cache" / "claims").iterdir())


def test_what_another_process_has_claimed_is_left_to_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pairs = pairs_in(tmp_path / "pairs", 3)
    rows = read_manifest(pairs.manifest)
    whole = build_cache(rows, nano(), SETTINGS, tmp_path / "whole", workers=0)
    files = [whole.cache.latents_file(whole.clip_key(index), 0) for index in range(3)]
    contents = {file.name: file.read_bytes() for file in files}
    folder = tmp_path / "cache"
    theirs = folder / files[0].relative_to(tmp_path / "whole")
    claim = Claim(folder, theirs)
    assert claim.take()
    encode, calls = cache_module.encode_frames, []

    def encode_and_let_them_finish(*arguments: object) -> torch.Tensor:
        calls.append(arguments)
        if len(calls) == 4:  # our own two pairs are done
            theirs.parent.mkdir(parents=True, exist_ok=True)
            theirs.write_bytes(contents[theirs.name])
            claim.release()
        return encode(*arguments)

    monkeypatch.setattr(cache_module, "encode_frames", encode_and_let_them_finish)
    dataset = build_cache(rows, nano(), SETTINGS, folder, workers=0)
    assert len(dataset) == 3
    assert len(calls) == 4


def test_a_claim_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from realmaster.training.cache_readers import Claim\n"
        "claim = Claim(Path(sys.argv[1]), Path('entry')); claim.take(); print('taken', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "taken\n"
    assert not Claim(tmp_path, Path("entry")).take()
    holder.kill()
    holder.communicate(timeout=20)
    assert Claim(tmp_path, Path("entry")).take()


def test_reading_in_other_processes_gives_the_same_cache(tmp_path: Path) -> None:
    pairs = pairs_in(tmp_path / "pairs", 3)
    rows = read_manifest(pairs.manifest)
    settings = CacheSettings.from_mapping(
        {"buckets": ["64x48x5"], "num_variants": 2, "augmentations": [{"name": "zoom"}, {"name": "engine_colour"}]},
        source="test",
    )
    for workers in (0, 2):
        build_cache(rows, nano(), settings, tmp_path / str(workers), workers=workers)
    here, there = ({path.name: path.read_bytes() for path in (tmp_path / name).rglob("*.safetensors")} for name in "02")
    assert here == there
    assert len(here) == 6 + 4


def test_a_reader_that_is_killed_is_said_in_one_line() -> None:
    with Readers(1) as readers, pytest.raises(MemoryLimitError, match="one was killed"):
        readers.result(readers.submit(os._exit, 9))


def test_readers_end_with_the_process_that_began_them_even_if_it_is_killed() -> None:
    code = (
        "import os, sys; from realmaster.training.cache_readers import Readers\n"
        "readers = Readers(1); print(readers.submit(os.getpid).result(), flush=True); sys.stdin.read()"
    )
    parent = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    reader = psutil.Process(int(parent.stdout.readline()))
    parent.kill()
    parent.communicate(timeout=20)
    assert not psutil.wait_procs([reader], timeout=20)[1]
