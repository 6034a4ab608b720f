"""Weights that are missing, corrupt or give NaN, and memory that runs out: one line, exit 2, no output left."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from realmaster.models import profiles
from realmaster.pipelines.translate import Translator


@pytest.fixture
def checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of nano's checkpoint by links, which the profile nano then uses; tests replace parts of it."""
    nano = profiles.load_profile("nano")
    folder = tmp_path / "checkpoint"
    folder.mkdir()
    for part in nano.folder.iterdir():
        (folder / part.name).symlink_to(part)
    settings = nano.model_dump(mode="json")
    settings["checkpoint"]["folder"] = str(folder)
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles" / "nano.yaml").write_text(yaml.safe_dump(settings))
    monkeypatch.setattr(profiles, "PROFILES", tmp_path / "profiles")
    monkeypatch.setattr(profiles, "WEIGHTS", folder)
    return folder


@pytest.fixture
def translate(realmaster: Callable[..., Any], clip: Path, tmp_path: Path) -> Callable[[], str]:
    """Give a function that runs the command, holds it to one line and exit code 2, and returns the line."""

    def refused(*options: str) -> str:
        output = tmp_path / "out"
        output.mkdir()
        said = realmaster("translate", clip, "-o", output / "out.mp4", *options)
        assert said.code == 2, said.err
        assert said.err.count("\n") == 1, said.err
        assert "defect" not in said.err
        assert list(output.iterdir()) == []
        return said.err

    return refused


def test_weights_that_are_not_in_the_folder_of_one_s_own_are_looked_for_there(
    translate: Callable[..., str], tmp_path: Path
) -> None:
    line = translate("--model-dir", str(tmp_path / "nope"))
    assert f"in {tmp_path / 'nope'}, found none: name the folder that holds them with --model-dir" in line
    assert "reinstall" not in line


def change_transformer(checkpoint: Path, change: Callable[[Path], None]) -> None:
    """Replace the link to the transformer by a copy, and change its file."""
    link = checkpoint / profiles.load_profile("nano").checkpoint.transformer
    source = link.resolve()
    link.unlink()
    link.mkdir()
    for file in source.iterdir():
        (link / file.name).write_bytes(file.read_bytes())
    change(next(link.glob("*.safetensors")))


@pytest.mark.parametrize("part", ["vae", "text_encoder", "tokenizer", "transformer"])
def test_weights_that_are_missing(translate: Any, checkpoint: Path, part: str) -> None:
    name = profiles.load_profile("nano").checkpoint.transformer if part == "transformer" else part
    (checkpoint / name).unlink()
    line = translate()
    assert name in line
    assert "make nano" in line


def test_weights_that_are_corrupt(translate: Any, checkpoint: Path) -> None:
    change_transformer(checkpoint, lambda file: file.write_bytes(file.read_bytes()[:1000]))
    assert str(checkpoint) in translate()


def test_a_model_that_returns_nan(translate: Any, checkpoint: Path) -> None:
    def spoil(file: Path) -> None:
        tensors = load_file(file)
        name = next(name for name in tensors if name.endswith("proj_out.weight"))
        tensors[name] = np.full_like(tensors[name], np.nan)
        save_file(tensors, file, metadata={"format": "pt"})

    change_transformer(checkpoint, spoil)
    assert "NaN" in translate()


def test_memory_that_runs_out_names_what_to_lower(translate: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def out_of_memory(*_: Any, **__: Any) -> None:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 99 bytes.")

    monkeypatch.setattr(Translator, "translate", out_of_memory)
    line = translate()
    assert "out of memory (asked for 99 bytes more)" in line
    assert "scale the input down" in line
