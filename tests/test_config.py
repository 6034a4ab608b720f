"""Settings that do not fit say which one, and what was probably meant."""

from pathlib import Path
from typing import Literal

import pytest
from pydantic import Field

from realmaster.config import Settings
from realmaster.errors import ConfigError


class Inner(Settings):
    learning_rate: float = 1.0
    steps: int = 1


class Outer(Settings):
    name: str = "a"
    inner: Inner = Inner()
    several: tuple[Inner, ...] = ()
    maybe: Inner | None = None
    named: dict[Literal["first", "second"], Inner] = Field({})


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"nmae": "b"}, "here: nmae: unknown setting: did you mean name?"),
        ({"inner": {"learning_rat": 2}}, "here: inner.learning_rat: unknown setting: did you mean learning_rate?"),
        ({"maybe": {"step": 2}}, "did you mean steps?"),
        ({"several": [{}, {"stepps": 2}]}, "here: several.1.stepps: unknown setting: did you mean steps?"),
        ({"inner": {"qqq": 2}}, "there are learning_rate, steps"),
        ({"named": {"frst": {}}}, "here: named.frst: unknown setting: did you mean first?"),
        ({"named": {"second": {"stps": 2}}}, "here: named.second.stps: unknown setting: did you mean steps?"),
    ],
)
def test_an_unknown_setting_is_refused_with_the_nearest_name(values: dict[str, object], said: str) -> None:
    with pytest.raises(ConfigError) as refused:
        Outer.from_mapping(values, source="here")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_value_of_the_wrong_kind_and_a_file_that_is_no_yaml_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"here: inner\.steps: .*integer"):
        Outer.from_mapping({"inner": {"steps": "many"}}, source="here")
    with pytest.raises(ConfigError, match=r"here: inner: expected settings, NAME: VALUE, got a list"):
        Outer.from_mapping({"inner": ["steps"]}, source="here")
    path = tmp_path / "odd.yaml"
    path.write_text("a: [")
    with pytest.raises(ConfigError, match=r"odd\.yaml: expected YAML"):
        Outer.from_yaml(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name: a\ninner: b: c\n", "line 2: mapping values are not allowed here"),
        ("name: a\ninner:\n\tsteps: 1\n", "line 3: found character"),
        ("name: 2024-02-30\n", "line 1: '2024-02-30' is no timestamp"),
        ("name: a\ninner: {steps: 0x_}\n", "line 2: '0x_' is no int"),
        ("name: !!bool maybe\n", "line 1: 'maybe' is no bool"),
        ("name: 2024-01-01T00:00:00+99:00\n", "is no timestamp"),
        ("[" * 3000, "nested too deep"),
        ("name: a\x07\n", "special characters are not allowed"),
        ("inner:\n  steps: 1\n  learning_rate: 2\n  steps: 3\n", "line 4: steps is there twice"),
    ],
)
def test_what_is_no_yaml_is_refused_in_one_line_with_its_own(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "odd.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as refused:
        Outer.from_yaml(path)
    assert str(refused.value).startswith(f"{path}: expected YAML, could not read it (")
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_mapping_that_takes_over_another_may_change_its_values(tmp_path: Path) -> None:
    path = tmp_path / "shared.yaml"
    path.write_text("several:\n- &one {steps: 2, learning_rate: 3}\n- {<<: *one, steps: 4}\n")
    assert Outer.from_yaml(path).several == (Inner(learning_rate=3, steps=2), Inner(learning_rate=3, steps=4))
