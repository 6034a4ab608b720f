"""Kinds of values that options take, checked before anything is loaded."""

from __future__ import annotations

import math
import re
from typing import Any

import click


class Number(click.FloatRange):
    """A number within bounds that is neither NaN nor infinite (click's own range lets NaN through)."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Read the number, or refuse it with the bounds."""
        number = float(super().convert(value, param, ctx))
        if not math.isfinite(number):
            self.fail(f"expected a finite number, got {value}", param, ctx)
        return number


class PageName(click.types.StringParamType):
    """The name of a report's page, which ends in .html; `absent` stands for the option without a name."""

    name = "page"

    def __init__(self, absent: str) -> None:
        self.absent = absent

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the name, or refuse it: `--report clip.mp4` would take the input for its page."""
        if value != self.absent and not str(value).lower().endswith((".html", ".htm")):
            self.fail(
                f"expected PAGE.html, got {value!r}: write it after INPUT, or with the name of a page", param, ctx
            )
        return str(value)


class FrameRate(click.types.StringParamType):
    """Images a second: 24, 24000/1001, or 23.976, by which that is meant."""

    name = "rate"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the rate, or refuse it."""
        from realmaster.errors import ConfigError
        from realmaster.pipelines.call import read_rate

        try:
            return str(read_rate(value))
        except ConfigError as error:
            self.fail(str(error), param, ctx)


class Device(click.types.StringParamType):
    """The name of a device as torch writes it: cpu, cuda, cuda:1, mps."""

    name = "device"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Read the name, or refuse it."""
        if not re.fullmatch(r"cpu|mps|(?:cuda|xpu)(?::\d{1,2})?", str(value)):
            self.fail(f"expected cpu, cuda, cuda:1 or mps, got {value!r}", param, ctx)
        return str(value)
