"""Turn whatever went wrong into one line and an exit code.

Separate because it is the contract of the command line: 2 for what was refused (3 when a clip ended early), 130 for
Ctrl-C, 1 for a defect of ours. Nothing heavy is imported: torch's errors are known by their names.
"""

from __future__ import annotations

import errno
import re

import click

from realmaster.errors import MemoryLimitError, OutputError, RealMasterError

INTERRUPTED = 130
BROKEN_PIPE = 141


def explain(error: BaseException) -> tuple[str, int]:
    """Give the line for stderr, without the program's name, and the exit code."""
    error = recognise(error)
    if isinstance(error, RealMasterError):
        return one_line(str(error)), error.exit_code
    if isinstance(error, click.UsageError):
        hint = "; a file named like an option is written ./-name" if isinstance(error, click.NoSuchOption) else ""
        hint += f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
        return one_line(error.format_message()).rstrip(".") + hint, 2
    if isinstance(error, click.ClickException):
        return one_line(error.format_message()), 2
    if isinstance(error, KeyboardInterrupt | click.Abort):
        return "interrupted: nothing was left half-written", INTERRUPTED
    return (
        f"this is a defect: {type(error).__name__}: {one_line(str(error)) or 'no message'}: "
        "set REALMASTER_DEBUG=1 and run again to see where"
    ), 1


def recognise(error: BaseException) -> BaseException:
    """Give our own error for what the system or torch raises when memory or disk runs out; else the error itself."""
    text = str(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError" or _is_allocation_failure(text):
        asked = re.search(r"(?:allocate|allocating) ([\d.]+ ?(?:[KMGT]i?B|bytes))", text)
        return MemoryLimitError(
            f"out of memory{f' (asked for {asked[1]} more)' if asked else ''}: scale the input down, choose a smaller "
            "--profile, or free memory; `realmaster doctor` shows what each profile needs"
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" while writing {error.filename}" if error.filename else ""
        return OutputError(f"no space left on the disk{where}: free some, or write the output to another disk")
    if isinstance(error, OSError) and error.filename and error.strerror:
        return RealMasterError(f"{error.filename}: {error.strerror.lower()}: check the path and its permissions")
    return error


def one_line(text: str) -> str:
    """Fold every run of white space and control characters into one space."""
    return re.sub(r"[\s\x00-\x1f\x7f]+", " ", text).strip()


def _is_allocation_failure(text: str) -> bool:
    return "DefaultCPUAllocator: can't allocate memory" in text or "not enough memory: you tried to allocate" in text
