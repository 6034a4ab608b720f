"""A click group that knows its commands by name and loads each only when it is called.

Separate because it is what makes `realmaster --help` answer at once: the table in `main` holds a line of help for each
command, and the module behind it (with torch, PyAV, OpenCV) is imported at the first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any, NamedTuple

import click


class LazyCommand(NamedTuple):
    """Where a command lives, as "module:attribute", and its line in the group's help."""

    target: str
    help: str


class LazyGroup(click.Group):
    """A group over a table of lazily loaded commands."""

    def __init__(self, *args: Any, lazy_commands: Mapping[str, LazyCommand], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy_commands = dict(lazy_commands)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Name the commands in the order of the table, which is the order a user meets them."""
        return list(self.lazy_commands)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command; None for a name that is not in the table."""
        if cmd_name not in self.lazy_commands:
            return None
        module, attribute = self.lazy_commands[cmd_name].target.split(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that the arguments name, or refuse with the names there are."""
        if args and args[0] not in self.lazy_commands and not args[0].startswith("-"):
            ctx.fail(f"expected one of the commands {', '.join(self.lazy_commands)}, got {args[0]!r}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines from the table, importing none of them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, command.help) for name, command in self.lazy_commands.items()])
