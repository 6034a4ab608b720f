"""Checkpoints: whole or absent, few, the best one kept, and one line where the disk is full."""

import errno
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors import SafetensorError

from realmaster.errors import ConfigError, NumericalError, OutputError
from realmaster.models.adapter_files import write_tensors
from realmaster.training import checkpoints as module
from realmaster.training.checkpoints import Checkpoints, as_table

STATE = {"weights": torch.ones(3)}


def write(folder: Path) -> None:
    (folder / "adapter.safetensors").write_bytes(b"x")


def save(kept: Checkpoints, step: int, score: float | None = None, adapter: Callable[[Path], None] = write) -> None:
    kept.save(step, STATE, {"index": step}, {} if score is None else {"psnr": score}, adapter)


def test_the_newest_and_the_best_stay(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path, keep=2)
    for step, score in ((10, 15.0), (20, 17.0), (30, 16.0), (40, None), (50, 16.5)):
        save(kept, step, score)
    assert [checkpoint.step for checkpoint in kept.list()] == [20, 40, 50]
    assert kept.best().step == 20
    assert kept.newest().step == 50
    assert not list(tmp_path.glob(".*"))


def test_the_table_names_the_best(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 10, 15.0)
    save(kept, 20)
    lines = as_table(kept).splitlines()
    assert "| 10 | 15.000 | best |" in lines[2]
    assert "| 20 | - |  |" in lines[3]


def test_a_state_comes_back(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 10)
    tensors, state = kept.load(kept.newest())
    torch.testing.assert_close(tensors["weights"], STATE["weights"])
    assert state["index"] == 10


def test_a_checkpoint_broken_off_is_none(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 10)
    partial = tmp_path / ".step-00000020.partial" / "state"
    partial.mkdir(parents=True)
    (partial / "state.json").write_text("{")
    assert kept.newest().step == 10
    save(kept, 20)
    assert kept.newest().step == 20
    assert not (tmp_path / ".step-00000020.partial").exists()


def test_a_damaged_checkpoint_is_named(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 10)
    folder = kept.newest().folder
    (folder / "state" / "tensors.safetensors").write_bytes(b"no")
    with pytest.raises(ConfigError, match=r"step-00000010.*the one before"):
        kept.load(kept.newest())
    (folder / "state" / "state.json").unlink()
    with pytest.raises(ConfigError, match=r"step-00000010.*the one before"):
        kept.list()


def test_a_full_disk_is_one_line_that_names_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 10)

    def full(folder: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"no space left.*step-00000020.*last good one is .*step-00000010"):
        save(kept, 20, adapter=full)

    def full_for_safetensors(tensors: object, path: Path) -> None:  # its own error carries the system's words
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr(module, "save_file", full_for_safetensors)
    with pytest.raises(OutputError, match=r"no space left.*last good one is"):
        save(kept, 20)
    assert [checkpoint.step for checkpoint in kept.list()] == [10]
    assert [path.name for path in tmp_path.iterdir()] == ["step-00000010"]


def test_a_disk_with_too_little_room_is_refused_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = Checkpoints(tmp_path)
    usage = module.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(module.shutil, "disk_usage", lambda _: usage._replace(free=8))
    with pytest.raises(OutputError, match="no space left"):
        save(kept, 10, adapter=lambda folder: pytest.fail("wrote"))


def test_weights_that_are_no_numbers_leave_no_checkpoint_and_name_the_last_good_one(tmp_path: Path) -> None:
    def infinite(folder: Path) -> None:
        write_tensors({"w": torch.tensor([float("inf")])}, folder / "adapter.safetensors", {})

    kept = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(NumericalError, match=r"^expected finite weights at step 1, .* there is none before it: lower"):
        save(kept, 1, adapter=infinite)
    save(kept, 1)
    with pytest.raises(NumericalError, match=r"the last good one is .*/step-00000001: lower learning_rate"):
        save(kept, 2, adapter=infinite)
    assert [path.name for path in kept.folder.iterdir()] == ["step-00000001"]


def test_what_is_saved_is_no_pickle(tmp_path: Path) -> None:
    kept = Checkpoints(tmp_path)
    save(kept, 10)
    assert {path.suffix for path in kept.newest().folder.rglob("*.*")} == {".safetensors", ".json"}
    assert json.loads((kept.newest().folder / "state" / "state.json").read_text())["step"] == 10
