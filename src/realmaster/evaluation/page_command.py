"""The command line that makes a translation again, from its settings.

Separate from the page that shows it so that a test can read it back.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from realmaster.config import parse_yaml

_OPTIONS = (
    *("prompt", "negative_prompt", "profile", "model_dir", "adapter", "reference"),
    *("num_inference_steps", "guidance_scale", "guidance_scale_2", "seed", "strength", "protect"),
    *("start_seconds", "duration_seconds", "fps", "codec", "device"),
)


def command_line(settings: Mapping[str, Any]) -> str | None:
    """Write `realmaster translate` with every setting of a translation; None where not all of them are known."""
    if not {"input", "output", "changes"} <= settings.keys():
        return None
    words = ["realmaster", "translate", "-o", str(settings["output"])]
    for name in _OPTIONS:
        value = settings.get(name)
        if value is not None and (value != "" or name == "negative_prompt"):
            words += [f"--{name.removesuffix('_seconds').replace('_', '-')}", _written(value)]
    for name, value in settings["changes"].items():
        words += ["--set", f"{name}={_as_yaml(value)}"]
    source = str(settings["input"])
    return shlex.join([*words, *(["--"] if source.startswith("-") else []), source])


def _written(value: Any) -> str:
    return repr(value).removesuffix(".0") if isinstance(value, float) else str(value)


def _as_yaml(value: Any) -> str:
    """Write a setting's value as `--set` reads it: plain where YAML reads it back as it was."""
    return value if isinstance(value, str) and _is_plain(value) else json.dumps(value, default=str)


def _is_plain(text: str) -> bool:
    try:
        return bool(parse_yaml(text) == text)
    except ValueError:
        return False
