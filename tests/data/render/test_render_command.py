"""`realmaster render`: what it refuses, in one line, before anything is rendered."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from realmaster.cli.main import main
from realmaster.cli.render import LABELS, LOOKS, SCENES, WEATHERS, Names, Seeds
from realmaster.data.render import settings


def test_seeds_are_ranges_without_their_end_single_numbers_or_both() -> None:
    read = Seeds().convert
    assert read("2000:2003", None, None) == (2000, 2001, 2002)
    assert read("7", None, None) == (7,)
    assert read("5,1:3,5", None, None) == (5, 1, 2)
    for wrong in ("", "3:3", "4:2", "a", "-1", "1:2:3", "0:99999999"):
        with pytest.raises(click.BadParameter, match="expected"):
            read(wrong, None, None)


def test_names_are_of_the_list_and_count_once() -> None:
    assert Names(WEATHERS).convert("rain, clear,rain", None, None) == ("rain", "clear")
    for wrong in ("snow", "", ","):
        with pytest.raises(click.BadParameter, match="expected some of"):
            Names(WEATHERS).convert(wrong, None, None)


def test_the_command_offers_what_the_renderer_knows() -> None:
    assert settings.PAIR_SCENES == SCENES
    assert settings.WEATHERS == WEATHERS
    assert settings.LOOKS == LOOKS
    assert settings.LABELS == LABELS


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["out"], "add --seeds"),
        (["out", "--demo", "--seeds", "1"], "--demo or --seeds"),
        (["out", "--seeds", "1", "--size", "8x8"], "width"),
        (["out", "--seeds", "1", "--weather", "snow"], "snow"),
        (["out.txt", "--demo"], "ending in .mp4"),
    ],
)
def test_a_slip_is_refused_with_exit_code_2(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["render", *arguments]) == 2
    error = capsys.readouterr().err
    assert reason in error
    assert error.count("\n") == 1
    assert not any(tmp_path.iterdir())


def test_without_blender_the_extra_is_named(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("realmaster.data.render.farm.find_spec", lambda name: None)
    assert main(["render", str(tmp_path / "set"), "--seeds", "1"]) == 2
    assert "pip install 'realmaster[render]'" in capsys.readouterr().err
    assert not (tmp_path / "set").exists()
