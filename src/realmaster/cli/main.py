"""The command `realmaster`: its table of commands, and the one place where an error becomes a line and an exit code."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import sys
import traceback
import warnings
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import NoReturn

import click

from realmaster import __version__
from realmaster.cli.lazy import LazyCommand, LazyGroup
from realmaster.cli.problems import BROKEN_PIPE, explain

COMMANDS = {
    "translate": LazyCommand("realmaster.cli.translate:command", "Turn a rendered clip into a photoreal one."),
    "plan": LazyCommand("realmaster.cli.plan:command", "Say what a translation takes, before anything is loaded."),
    "models": LazyCommand("realmaster.cli.models:command", "Fetch a profile's weights, or check them."),
    "doctor": LazyCommand("realmaster.cli.doctor:command", "Say what is installed and what this machine can run."),
    "render": LazyCommand("realmaster.cli.render:command", "Render exact pairs: one scene, as an engine and a camera."),
    "pairs": LazyCommand("realmaster.cli.pairs:command", "Make training pairs from rendered footage."),
    "evaluate": LazyCommand("realmaster.cli.evaluate:command", "Score outputs against their inputs and the truth."),
    "baselines": LazyCommand("realmaster.cli.baselines:command", "Run the methods to compare with."),
    "cache": LazyCommand("realmaster.cli.cache:command", "Check and encode the data of a training run ahead of it."),
    "train": LazyCommand("realmaster.cli.train:command", "Train an adapter: a profile's base learns to read renders."),
    "nano": LazyCommand("realmaster.cli.nano:command", "Make the embedded models again."),
    "study": LazyCommand("realmaster.cli.study:command", "Ask people which method's videos they prefer."),
    "adapter": LazyCommand("realmaster.cli.adapter:command", "Inspect adapter files; carry them to other programs."),
}
QUIET = {"TRANSFORMERS_VERBOSITY": "error", "DIFFUSERS_VERBOSITY": "error", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}


@click.group(cls=LazyGroup, lazy_commands=COMMANDS, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, message="realmaster %(version)s")
@click.option("--debug", is_flag=True, help="Show the traceback of an error (or set REALMASTER_DEBUG=1).")
def group(debug: bool) -> None:
    """RealMaster lifts rendered video into photoreal video and keeps every shape, motion and face."""
    if debug:
        os.environ["REALMASTER_DEBUG"] = "1"
    _quieten_libraries(debug=_debugging())


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit code.

    0 done; 2 refused, with the reason in one line on stderr; 3 done as far as a truncated clip decodes; 130 Ctrl-C;
    1 a defect of ours.
    """
    _open_closed_streams()
    _escape_what_stdout_cannot_write()
    if "PYTORCH_CUDA_ALLOC_CONF" not in os.environ:  # else blocks of many sizes leave gaps that nothing fits in
        os.environ.setdefault("PYTORCH_ALLOC_CONF", "expandable_segments:True")
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # threads that spin keep others off the cores they wait for
    previous = {number: signal.signal(number, _terminate) for number in _endings()}
    try:
        with group.make_context("realmaster", list(sys.argv[1:] if arguments is None else arguments)) as context:
            group.invoke(context)
        sys.stdout.flush()
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message())
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has gone (`realmaster doctor | head`): be quiet
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (Exception, KeyboardInterrupt) as error:
        if _debugging():
            traceback.print_exc()
        line, code = explain(error)
        click.echo(f"realmaster: {line}", err=True)
        return code
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
    return 0


def run() -> NoReturn:
    """Be the program `realmaster`: end with `main`'s exit code, or by the signal that ended it.

    A shell's loop goes on after a command that ends by itself with 130; after one that dies of Ctrl-C it stops.
    """
    ended_by: list[int] = []
    atexit.register(_die, ended_by)  # the first to be registered is the last to be called
    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    if code - 128 in (signal.SIGINT, *_endings()):
        ended_by.append(code - 128)
    sys.exit(code)


def _die(ended_by: list[int]) -> None:
    """Die of the signal that ended the command, where there are signals and one has."""
    if os.name != "posix" or not ended_by:
        return
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    signal.signal(ended_by[0], signal.SIG_DFL)
    os.kill(os.getpid(), ended_by[0])


def _debugging() -> bool:
    return os.environ.get("REALMASTER_DEBUG", "") not in ("", "0")


def _open_closed_streams() -> None:
    """Send what is said nowhere when stdout or stderr was closed (`>&-`), before a file can take its number."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - it stays open


def _escape_what_stdout_cannot_write() -> None:
    """Write a character that stdout's encoding lacks as an escape, as stderr does: it comes after the work is done."""
    if getattr(sys.stdout, "errors", None) == "strict" and hasattr(sys.stdout, "reconfigure"):
        sys.stdout.reconfigure(errors="backslashreplace")


def _endings() -> list[int]:
    """Name the signals that end the command: a scheduler's, and a closing terminal's unless nohup has it ignored."""
    hangup: int | None = getattr(signal, "SIGHUP", None)  # Windows has none
    if hangup is None or signal.getsignal(hangup) is signal.SIG_IGN:
        return [signal.SIGTERM]
    return [signal.SIGTERM, hangup]


def _terminate(number: int, frame: FrameType | None) -> NoReturn:
    """Leave by an exception, so that a writer removes its temporary file when a scheduler ends us."""
    raise SystemExit(128 + number)


def _quieten_libraries(*, debug: bool) -> None:
    """Keep other packages' chatter off the user's screen; with --debug it is shown, and ours in full."""
    logging.basicConfig(level=logging.WARNING, format="realmaster: %(message)s")
    if debug:
        logging.getLogger("realmaster").setLevel(logging.DEBUG)
    else:
        warnings.simplefilter("ignore")
        for name, value in QUIET.items():
            os.environ.setdefault(name, value)
