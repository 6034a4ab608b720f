from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import click
import pytest

from realmaster.cli import main as main_module
from realmaster.cli.main import COMMANDS, main
from realmaster.cli.problems import explain, one_line
from realmaster.errors import AdapterError, NumericalError, TruncatedMediaError


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch):
    """Give a function that makes a command `broken` raise an error when it is called."""

    def make(error: BaseException) -> None:
        @click.command
        def command() -> None:
            raise error

        monkeypatch.setitem(main_module.group.lazy_commands, "broken", main_module.LazyCommand("x:y", "Raises."))
        monkeypatch.setattr(main_module.LazyGroup, "get_command", lambda *_: command)

    return make


def run(*arguments: str, **kwargs) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import sys; from realmaster.cli.main import main; sys.exit(main())", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **kwargs)


def test_help_names_each_command_with_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in COMMANDS)
    assert all(command.help in shown for command in COMMANDS.values())


def test_no_command_shows_the_help_and_fails(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Commands:" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transalte"], "expected one of the commands translate, plan"),
        (["--bogus"], "No such option"),
        (["translate"], "Missing argument 'INPUT'"),
        (["translate", "-clip.mp4", "-o", "x.mp4"], "./-name"),
    ],
)
def test_a_wrong_call_is_one_line_and_exit_2(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("realmaster: ")
    assert output.err.count("\n") == 1
    assert said in output.err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (NumericalError("the model\nreturned NaN"), 2, "realmaster: the model returned NaN\n"),
        (AdapterError("expected x, got y"), 2, "expected x, got y"),
        (TruncatedMediaError("ended early"), 3, "ended early"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (MemoryError(), 2, "out of memory: scale the input down"),
        (OSError(errno.ENOSPC, "No space left on device", "/disk/out.mp4"), 2, "while writing /disk/out.mp4"),
        (PermissionError(errno.EACCES, "Permission denied", "/root/x"), 2, "/root/x: permission denied"),
        (ZeroDivisionError("division by zero"), 1, "REALMASTER_DEBUG=1"),
    ],
)
def test_each_error_is_one_line_with_its_exit_code(
    broken, error: BaseException, code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(error)
    assert main(["broken"]) == code
    shown = capsys.readouterr().err
    assert said in shown
    assert shown.count("\n") == 1


def test_memory_that_torch_could_not_get_is_told_with_its_size() -> None:
    line, code = explain(
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 4096000000 bytes. Error code 12"
        )
    )
    assert code == 2
    assert "asked for 4096000000 bytes" in line

    class OutOfMemoryError(RuntimeError):
        """As torch names it."""

    line, code = explain(OutOfMemoryError("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has ..."))
    assert (code, "asked for 2.50 GiB" in line) == (2, True)


def test_debug_shows_where_it_broke(
    broken, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REALMASTER_DEBUG", "0")
    broken(ZeroDivisionError("division by zero"))
    assert main(["--debug", "broken"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_line_stays_one_line_whatever_a_file_is_called() -> None:
    assert one_line("no file\n called\t\x1b[31mred") == "no file called [31mred"


def test_a_reader_that_leaves_early_is_no_error() -> None:
    shell = (
        f"{sys.executable} -c 'from realmaster.cli.main import main; import sys; sys.exit(main([\"--help\"]))' | true"
    )
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_a_closed_stream_is_no_error(tmp_path: Path, closed: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import click, sys\n"
        "from realmaster.cli import main as m\n"
        "@click.command\n"
        "def speak():\n"
        "    click.echo('out'); print('err', file=sys.stderr) if len(sys.argv) > 1 else None\n"
        "m.LazyGroup.get_command = lambda *_: speak\n"
        "sys.exit(m.main(['translate']))\n"
    )
    shell = f"{sys.executable} {program} {'loud' if '2>&-' in closed else ''} {closed}"
    done = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("encoding", "shown"), [("utf-8:strict", "caf\\udce9 漢"), ("latin-1", "caf\\udce9 \\u6f22")])
def test_a_name_that_the_terminal_cannot_write_is_written_as_an_escape(
    tmp_path: Path, encoding: str, shown: str
) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import click, sys\n"
        "from realmaster.cli import main as m\n"
        "@click.command\n"
        "def speak():\n"
        "    click.echo('caf\\udce9 \\u6f22')\n"
        "m.LazyGroup.get_command = lambda *_: speak\n"
        "sys.exit(m.main(['translate']))\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run([sys.executable, program], env=environment, capture_output=True, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.decode(encoding.partition(":")[0]) == f"{shown}\n"


def test_nohup_is_left_to_ignore_the_terminals_end(monkeypatch: pytest.MonkeyPatch) -> None:
    for ignored, endings in ((False, [signal.SIGTERM, signal.SIGHUP]), (True, [signal.SIGTERM])):
        monkeypatch.setattr(signal, "getsignal", lambda _, ignored=ignored: signal.SIG_IGN if ignored else None)
        assert main_module._endings() == endings


WAITING = (
    "import atexit, click, sys, time\n"
    "from realmaster.cli import main as m\n"
    "@click.command\n"
    "def wait():\n"
    "    atexit.register(print, 'at exit', flush=True)\n"
    "    try:\n"
    "        print('ready', flush=True); time.sleep(60)\n"
    "    finally:\n"
    "        print('cleaned', flush=True)\n"
    "m.LazyGroup.get_command = lambda *_: wait\n"
    "sys.argv = ['realmaster', 'translate']\n"
    "m.run()\n"
)


def start(program: Path, number: signal.Signals) -> subprocess.Popen[str]:
    """Run a program until it is ready; a job in the background is born deaf to Ctrl-C, this one is not."""
    process = subprocess.Popen(
        [sys.executable, str(program)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_the_program_dies_of_the_signal_that_ended_it_after_all_is_cleaned(
    tmp_path: Path, number: signal.Signals
) -> None:
    program = tmp_path / "program.py"
    program.write_text(WAITING)
    process = start(program, number)
    time.sleep(0.1)
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (-number, "cleaned\nat exit\n")
    assert err == ("realmaster: interrupted: nothing was left half-written\n" if number == signal.SIGINT else "")


def test_ctrl_c_stops_a_loop_of_the_shell(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(WAITING)
    loop = f"for shot in 1 2 3; do {sys.executable} {program}; done; echo went on"
    process = subprocess.Popen(
        ["bash", "-c", loop], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.1)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: the shell and its command
    out, _ = process.communicate(timeout=30)
    assert (process.returncode, out) == (-signal.SIGINT, "cleaned\nat exit\n")


@pytest.mark.parametrize(("words", "code"), [(["--version"], 0), (["--bogus"], 2)])
def test_the_program_ends_with_the_commands_exit_code(words: list[str], code: int) -> None:
    program = [sys.executable, "-c", "from realmaster.cli.main import run; run()", *words]
    assert subprocess.run(program, capture_output=True, timeout=60, check=False).returncode == code


def test_the_console_script_is_that_program() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]
    assert project["scripts"] == {"realmaster": "realmaster.cli.main:run"}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_signal_ends_the_command_through_its_clean_up(tmp_path: Path, number: signal.Signals, code: int) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import click, sys, time\n"
        "from realmaster.cli import main as m\n"
        "@click.command\n"
        "def wait():\n"
        "    try:\n"
        "        print('ready', flush=True); time.sleep(60)\n"
        "    finally:\n"
        "        print('cleaned', flush=True)\n"
        "m.LazyGroup.get_command = lambda *_: wait\n"
        "sys.exit(m.main(['translate']))\n"
    )
    process = start(program, number)
    time.sleep(0.1)
    os.kill(process.pid, number)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (code, "cleaned\n")
    assert err.count("\n") == (1 if number == signal.SIGINT else 0)


def test_python_m_is_the_same_program() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "realmaster", "--version"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.split()[0]) == (0, "realmaster")


def test_what_torch_reads_when_it_is_loaded_is_set_by_then_and_never_over_the_users() -> None:
    show = (
        "import os, sys; from realmaster.cli.main import main; main(['--version']); assert 'torch' not in sys.modules; "
    )
    show += "print(os.environ['OMP_WAIT_POLICY'], os.environ['PYTORCH_ALLOC_CONF'])"
    asked = {"OMP_WAIT_POLICY": "active", "PYTORCH_ALLOC_CONF": "backend:native"}
    bare = {name: value for name, value in os.environ.items() if name not in asked}
    for environment, expected in ((bare, "passive expandable_segments:True"), (bare | asked, "active backend:native")):
        done = subprocess.run([sys.executable, "-c", show], env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines()[-1] == expected
