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
