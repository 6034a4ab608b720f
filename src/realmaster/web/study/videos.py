"""The files of a study, and the one place that turns a stored name into a path.

Separate because the server needs it and must not load the packages that decode video.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from realmaster.errors import StudyError

VIDEOS = "videos"


@dataclass(frozen=True)
class StudyVideo:
    """One file of a study: an original (no method), a method's output, or the damaged copy of one."""

    id: str
    clip: int
    method: str | None
    damaged: bool
    file: str


def video_path(folder: Path, file: str) -> Path:
    """Give the path of a stored video.

    Raises:
        StudyError: the name leads out of the study's folder (by dots, an absolute path or a symbolic link), or the
            file is gone.
    """
    inside = (folder / VIDEOS).resolve()
    path = (inside / file).resolve()
    if path.parent != inside or Path(file).name != file:
        raise StudyError(
            f"{folder}: expected videos inside the study's folder, {file!r} leads out of it: restore the study"
        )
    if not path.is_file():
        raise StudyError(f"{folder}: expected the video {file}, it is gone: restore the study from a copy")
    return path
