from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from realmaster.cli.main import main
from sample_clips import write_clip


@dataclass(frozen=True)
class Said:
    """What a call of the command line gave back."""

    code: int
    out: str
    err: str


@pytest.fixture
def realmaster(capsys: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Call the command line as a shell would, with its words."""

    def call(*words: str | Path) -> Said:
        code = main([str(word) for word in words])
        output = capsys.readouterr()
        return Said(code, output.out, output.err)

    return call


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Nine frames of 64x48 at 16 per second."""
    return write_clip(tmp_path / "clip.mp4")
