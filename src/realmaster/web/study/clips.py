"""Find the clips of a study: the same names among the originals and among each method's outputs.

Separate from their preparation because what is missing is said at once, before anything is decoded.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from realmaster.errors import StudyError
from realmaster.web.study.settings import StudySettings

VIDEOS = frozenset({".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".gif"})
CLIP = "{clip}"


@dataclass(frozen=True)
class ClipFiles:
    """One clip: its original, and each method's output by name."""

    name: str
    original: Path
    outputs: dict[str, Path]


def match_clips(settings: StudySettings, root: Path) -> list[ClipFiles]:
    """Match originals and outputs by name; `root` is the folder that relative paths begin at.

    Raises:
        StudyError: a folder is missing or empty, or a method lacks a clip; the message names both.
    """
    originals = find_clips(root, settings.originals)
    names = list(settings.clips) or sorted(originals)
    absent = [name for name in names if name not in originals]
    if absent:
        raise StudyError(
            f"clips: expected each among the originals in {settings.originals}, {absent[0]!r} is not there: "
            f"it holds {_some(sorted(originals))}"
        )
    outputs = {method: find_clips(root, place) for method, place in settings.methods.items()}
    for method, found in outputs.items():
        absent = [name for name in names if name not in found]
        if absent:
            raise StudyError(
                f"method {method}: expected an output for each of {len(names)} clips in {settings.methods[method]}, "
                f"{len(absent)} lack one ({_some(absent)}): make them, or list under `clips` what all have"
            )
    return [
        ClipFiles(name, originals[name], {method: found[name] for method, found in outputs.items()}) for name in names
    ]


def find_clips(root: Path, place: str) -> dict[str, Path]:
    """Find the clips of one folder, named by file stem or image folder, or those that fit a pattern with {clip}.

    Raises:
        StudyError: nothing is there, or two files have one name.
    """
    if place.count(CLIP) > 1:
        raise StudyError(f"{place}: expected {CLIP} once, found it {place.count(CLIP)} times: keep one")
    if CLIP in place:
        found = _fitting(root, place)
    else:
        folder = root / place
        if not folder.is_dir():
            raise StudyError(f"expected a folder of clips at {folder}, found none: correct the path")
        found = [
            (path.name if path.is_dir() else path.stem, path)
            for path in sorted(folder.iterdir())
            if not path.name.startswith(".") and (path.is_dir() or path.suffix.lower() in VIDEOS)
        ]
    clips = dict(found)
    if len(clips) != len(found):
        twice = next(name for index, (name, _) in enumerate(found) if name in dict(found[:index]))
        raise StudyError(f"{root / place}: expected one file a clip, found two called {twice!r}: remove one")
    if not clips:
        raise StudyError(
            f"{root / place}: expected clips, found none: give a folder of videos or a pattern with {CLIP}"
        )
    return clips


def _fitting(root: Path, place: str) -> list[tuple[str, Path]]:
    before, after = place.split(CLIP)
    start = root / before if before.endswith("/") or not before else (root / before).parent
    prefix = "" if before.endswith("/") or not before else Path(before).name
    suffix, _, rest = after.partition("/")
    if not start.is_dir():
        raise StudyError(f"{root / place}: expected the folder {start}, found none: correct the path")
    found = []
    for path in sorted(start.iterdir()):
        name = path.name
        if (
            not name.startswith(".")
            and name.startswith(prefix)
            and name.endswith(suffix)
            and len(name) > len(prefix) + len(suffix)
        ):
            target = path / rest if rest else path
            if target.exists():
                found.append((name[len(prefix) : len(name) - len(suffix)], target))
    return found


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
