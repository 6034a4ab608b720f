"""Strict settings: YAML in, frozen pydantic models out, unknown keys refused with one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from realmaster.errors import ConfigError


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
            where = ".".join(str(part) for part in first["loc"]) or "the file"
            raise ConfigError(f"{source}: {where}: {first['msg'].lower()}: correct this setting") from error

    @classmethod
    def from_yaml(cls, path: Path) -> Self:
        """Read and check a YAML file.

        Raises:
            ConfigError: the file is missing, is no YAML, or does not fit the settings.
        """
        try:
            values = yaml.safe_load(path.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"expected a settings file at {path}, could not read it ({error})") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{path}: expected YAML: {str(error).splitlines()[0]}") from error
        return cls.from_mapping(values if values is not None else {}, source=str(path))
