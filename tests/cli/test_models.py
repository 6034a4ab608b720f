from __future__ import annotations

from pathlib import Path
from typing import Any


def test_weights_that_are_part_of_the_package_are_not_fetched(realmaster: Any) -> None:
    said = realmaster("models", "download", "nano")
    assert (said.code, said.out) == (2, "")
    assert "part of the package" in said.err


def test_without_a_network_or_weights_it_says_so_in_one_line(realmaster: Any, tmp_path: Path) -> None:
    said = realmaster("models", "download", "wan2.2-a14b", "--model-dir", tmp_path)
    assert said.code == 2
    assert said.err.count("\n") == 1
    said = realmaster("models", "verify", "wan2.2-a14b", "--model-dir", tmp_path)
    assert said.code == 2
    assert "realmaster models download wan2.2-a14b" in said.err
