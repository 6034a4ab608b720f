from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from realmaster.cli.doctor import duration, page, table
from realmaster.models import doctor
from realmaster.models.doctor import Diagnosis, Lack, ProfileVerdict
from realmaster.models.machine import Machine, Package

NANO = ProfileVerdict("nano", "any CPU", "cpu", 1.5, 42.0, ready=True)


@pytest.fixture
def diagnosis(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Give a function that sets what is found, with these profiles."""

    def found(*profiles: ProfileVerdict) -> None:
        monkeypatch.setattr(
            doctor,
            "diagnose",
            lambda *_: Diagnosis(
                machine=Machine("3.11.7", "Linux", "a processor", 2, 16.0, 8.0, 100.0, ()),
                gflops=80.0,
                dtype="float32",
                clip="81 frames of 832x480",
                packages=(Package("av", ">=14", "18.1.0", None, True),),
                profiles=profiles,
                missing=(Lack("extra render (bpy)", "pip install 'realmaster[render]'"),),
            ),
        )

    return found


def test_the_page_says_what_runs_and_what_is_missing(realmaster: Any, diagnosis: Any) -> None:
    diagnosis(NANO)
    said = realmaster("doctor")
    assert (said.code, said.err) == (0, "")
    for words in ("a processor, 2 cores", "16.0 GB, 8.0 GB free", "av  ", "18.1.0", "1.5 GB", "42 s", "ready"):
        assert words in said.out
    assert "pip install 'realmaster[render]'" in said.out
    assert "estimate" in said.out


def test_one_core_is_one_core() -> None:
    machine = Machine("3.11.7", "Linux", "a processor", 1, 16.0, 8.0, 100.0, ())
    assert "a processor, 1 core, 80 GFLOP/s" in page(Diagnosis(machine, 80e0, "float32", "a clip", (), (), ()))


def test_json_holds_the_same(realmaster: Any, diagnosis: Any) -> None:
    diagnosis(NANO)
    said = realmaster("doctor", "--json")
    values = json.loads(said.out)
    assert values["profiles"][0] == {
        "name": "nano", "purpose": "any CPU", "device": "cpu", "memory_gb": 1.5, "seconds": 42.0, "ready": True,
    }  # fmt: skip
    assert values["machine"]["memory_gb"] == 16.0


def test_no_profile_that_runs_is_exit_2(realmaster: Any, diagnosis: Any) -> None:
    diagnosis(ProfileVerdict("nano", "any CPU", "cpu", None, None, ready=False))
    said = realmaster("doctor")
    assert said.code == 2
    assert "unknown" in said.out


@pytest.mark.parametrize(
    ("seconds", "written"), [(0.2, "1 s"), (42.4, "42 s"), (120, "2 min"), (5000, "83 min"), (12600, "3.5 h")]
)
def test_a_time_is_written_as_the_estimate_it_is(seconds: float, written: str) -> None:
    assert duration(seconds) == written


def test_columns_stand_below_each_other() -> None:
    assert table([("a", "bbb", "c"), ("aaa", "b", "")]) == "a    bbb  c\naaa  b"


def test_this_machine_can_be_diagnosed(realmaster: Any) -> None:
    said = realmaster("doctor", "--json")
    values = json.loads(said.out)
    assert said.code == 0, values["missing"]
    assert {profile["name"] for profile in values["profiles"]} >= {"nano"}
    assert all(profile["seconds"] > 0 for profile in values["profiles"] if profile["ready"])
