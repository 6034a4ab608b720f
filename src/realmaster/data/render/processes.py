"""Worker processes, started one a clip and ended with us.

Separate from the farm, which decides what is rendered: this file only knows how one process is run and heard.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Any, Self

from realmaster.data.render.settings import ClipSettings
from realmaster.data.render.worker import FACTS
from realmaster.errors import RealMasterError


class RenderFailure(RealMasterError):  # noqa: N818 - what failed is a clip; the run goes on
    """A clip whose process ended without a picture; the message is the process's last words."""


class Stopped(Exception):  # noqa: N818 - no error: the run ends, and a clip that was under way leaves no record
    """The run was ended from outside."""


class Processes:
    """The worker processes that are running; leaving the context ends them."""

    def __init__(self) -> None:
        self._running: set[subprocess.Popen[bytes]] = set()
        self._lock = Lock()
        self._stopped = False

    def render(self, clip: ClipSettings, folder: Path) -> dict[str, Any]:
        """Render a clip into a folder in a process of one thread; give its facts.

        Raises:
            RenderFailure: with the last line of what the process wrote.
            Stopped: `stop` was called.
        """
        clip_file, log = folder / "clip.json", folder / "blender.log"
        clip_file.write_text(clip.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "realmaster.data.render.worker", str(clip_file), str(folder)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENCV_LOG_LEVEL": "ERROR"}
        with log.open("wb") as words, self._lock:
            if self._stopped:
                raise Stopped
            process = subprocess.Popen(command, stdout=words, stderr=words, env=environment)
            self._running.add(process)
        code = process.wait()
        with self._lock:
            self._running.discard(process)
            if self._stopped:
                raise Stopped
        if code != 0 or not (folder / FACTS).is_file():
            raise RenderFailure(f"{_last_words(log)} (exit code {code})")
        facts: dict[str, Any] = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        return facts

    def stop(self) -> None:
        """End every process, and begin no other."""
        with self._lock:
            self._stopped = True
            for process in self._running:
                process.terminate()

    def __enter__(self) -> Self:
        """Give the processes themselves."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End what still runs."""
        self.stop()


def _last_words(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "the process said nothing"
