from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from realmaster.cli.progress import progress_bar


def on_a_terminal(program: str) -> str:
    """What a program writes to a terminal (one that does not know its width, as in a container)."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", program], stdin=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 4096):
            written += part
    except OSError:
        pass  # how Linux says that the other end is closed
    finally:
        os.close(ours)
    assert process.wait(timeout=30) == 0
    return written.decode()


def test_a_terminal_sees_frames_done_and_the_time_left() -> None:
    shown = on_a_terminal(
        "import time\n"
        "from realmaster.cli.progress import progress_bar\n"
        "with progress_bar() as progress:\n"
        "    for done in range(4): progress(done, 4); time.sleep(0.15)\n"
    )
    assert re.search(r"75%.*3/4 \[00:0\d<00:0\d", shown), shown


def test_a_clip_of_unknown_length_is_counted_without_a_share() -> None:
    shown = on_a_terminal("from realmaster.cli.progress import progress_bar\nwith progress_bar() as p: p(7, None)")
    assert "7frame" in shown
    assert "%" not in shown


def test_a_file_or_a_quiet_call_sees_nothing(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    with progress_bar() as progress:
        progress(3, 4)
    with progress_bar(quiet=True) as progress:
        progress(3, 4)
    assert capfd.readouterr() == ("", "")
