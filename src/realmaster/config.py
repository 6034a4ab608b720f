"""Strict settings: YAML in, frozen pydantic models out, unknown keys refused with one line."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any, Self, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from realmaster.errors import ConfigError

KEY = "[key]"  # how pydantic marks that the name itself, in a mapping of names to settings, does not fit


class Settings(BaseModel):
    """Base of every settings class: frozen, unknown keys refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    @classmethod
    def from_mapping(cls, values: Any, *, source: str) -> Self:
        """Check plain values against this class.

        Raises:
            ConfigError: a key is unknown or a value out of bounds; the message names the first and the source.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"] if part != KEY) or "the file"
            if first["type"] == "extra_forbidden":
                raise ConfigError(f"{source}: {where}: unknown setting: {_known(cls, first['loc'])}") from error
            if first["loc"][-1:] == (KEY,) and first["type"] == "literal_error":
                names = re.findall(r"'([^']+)'", first["ctx"]["expected"])
                raise ConfigError(
                    f"{source}: {where}: unknown setting: {nearest(str(first['input']), names)}"
                ) from error
            if first["type"] == "model_type":
                got = type(first["input"]).__name__
                raise ConfigError(
                    f"{source}: {where}: expected settings, NAME: VALUE, got a {got}: correct it"
                ) from error
            message = first["msg"].removeprefix("Value error, ")
            raise ConfigError(f"{source}: {where}: {message[:1].lower()}{message[1:]}: correct this setting") from error

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read and check a YAML file.

        Raises:
            ConfigError: the file is missing, is no YAML, or does not fit the settings.
        """
        values = read_yaml(path)
        return cls.from_mapping(values if values is not None else {}, source=str(path))


def read_yaml(path: Path) -> Any:
    """Read the plain values of a YAML file.

    Raises:
        ConfigError: the file is missing or no YAML, with the line and what is wrong there.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a settings file at {path}, could not read it ({error})") from error
    try:
        return parse_yaml(text)
    except ValueError as error:
        raise ConfigError(f"{path}: expected YAML, could not read it ({error}): correct it") from error


def parse_yaml(text: str) -> Any:
    """Read plain values from YAML, in which each name stands once.

    Raises:
        ValueError: it is no YAML, or no value of the kind it looks like; with the line and what is wrong there.
    """
    try:
        return _Loader(text).get_single_data()
    except RecursionError as error:
        raise ValueError("it is nested too deep") from error
    except yaml.MarkedYAMLError as error:
        line = "" if error.problem_mark is None else f"line {error.problem_mark.line + 1}: "
        raise ValueError(f"{line}{error.problem or error.context}") from error
    except yaml.YAMLError as error:
        raise ValueError(str(error).splitlines()[0]) from error


class _Loader(yaml.SafeLoader):
    """PyYAML takes the last of two values of one name, and lets errors of Python through: here both are refused."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Read a mapping, and refuse a name that is there twice."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        met = set()
        for key in (key for key, _ in node.value if isinstance(key, yaml.ScalarNode)):
            if (key.tag, key.value) in met:
                raise yaml.composer.ComposerError(None, None, f"{key.value} is there twice", key.start_mark)
            met.add((key.tag, key.value))
        return node

    def construct_object(self, node: Any, deep: bool = False) -> Any:
        """Make a value, and refuse what only looks like one: 2024-02-30 is no date, 0x_ no number."""
        try:
            return super().construct_object(node, deep)
        except (ArithmeticError, AttributeError, LookupError, ValueError) as error:
            problem = f"{str(node.value)[:40]!r} is no {node.tag.rpartition(':')[2]}"
            raise yaml.constructor.ConstructorError(None, None, problem, node.start_mark) from error


def _known(cls: type[BaseModel], location: tuple[int | str, ...]) -> str:
    """Say which setting was probably meant by the last part of `location`, or which ones there are."""
    model: type[BaseModel] | None = cls
    inside_mapping = False  # of names to settings: the part that follows is such a name
    for part in location[:-1]:
        if inside_mapping or not isinstance(part, str):
            inside_mapping = False
            continue
        field = model.model_fields.get(part) if model is not None else None
        model = None if field is None else _settings_in(field.annotation)
        inside_mapping = field is not None and get_origin(field.annotation) is dict
    if model is None:
        return "remove it"
    return nearest(str(location[-1]), list(model.model_fields))


def nearest(name: str, names: list[str]) -> str:
    """Say which of some names was probably meant, or which there are."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean {near[0]}?" if near else f"there are {', '.join(names)}"


def _settings_in(annotation: Any) -> type[BaseModel] | None:
    """Find the settings class in an annotation, be it alone, optional or in a tuple."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((found for part in get_args(annotation) if (found := _settings_in(part))), None)
