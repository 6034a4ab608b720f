"""The names of numbered images, as an output's pattern writes them.

Separate from reading sequences, which takes patterns loosely, because what an output's pattern matches is replaced:
here a name belongs to a pattern only if the pattern writes exactly that name.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from realmaster.errors import OutputError
from realmaster.media.images import READABLE
from realmaster.media.sequences import COUNTER, is_pattern

_PERCENT = re.compile(r"%(%|(?:0(\d{1,2}))?d)?")


@dataclass(frozen=True)
class NumberedName:
    """The names of numbered images: what stands before the number, its least width, what stands after."""

    before: str
    width: int
    after: str

    @property
    def suffix(self) -> str:
        """Give the ending of the names, with its dot."""
        return Path(self.of(0)).suffix

    def of(self, number: int) -> str:
        """Name the image of a number."""
        return f"{self.before}{str(number).zfill(self.width)}{self.after}"

    def number(self, name: str) -> int | None:
        """Give the number that this pattern writes under a name; None where it writes no such name."""
        if not (name.startswith(self.before) and name.endswith(self.after)):
            return None
        digits = name[len(self.before) : len(name) - len(self.after)]
        if not re.fullmatch(r"[0-9]+", digits) or self.of(int(digits)) != name:
            return None
        return int(digits)


def is_numbered(name: str) -> bool:
    """Tell an output's pattern such as `frame_%04d.png`, well written or not, from the name of a folder."""
    return "%" in name and bool(COUNTER.search(name) or Path(name).suffix.lower() in READABLE)


def read_pattern(name: str) -> NumberedName:
    """Read an output's pattern: one number, %d or %04d, and %% for a percent sign.

    Raises:
        OutputError: there is no number or more than one, or a percent sign that is neither.
    """
    parts, widths, end = [""], [], 0
    for found in _PERCENT.finditer(name):
        parts[-1] += name[end : found.start()]
        end = found.end()
        if found[1] == "%":
            parts[-1] += "%"
        elif found[1] is not None:
            widths.append(int(found[2] or 0))
            parts.append("")
        else:
            widths = []
            break
    if len(widths) != 1:
        raise OutputError(
            f"{name}: expected one number such as %04d in the name of the images, and %% for a percent sign, got "
            "another pattern: correct it"
        )
    return NumberedName(parts[0], widths[0], parts[1] + name[end:])


def would_join(name: str, folder: Path, source: Path) -> bool:
    """Say whether an image of this name in `folder` would become one of the images that `source` stands for."""
    if source.is_dir():
        return source.resolve() == folder.resolve()
    if not is_pattern(source) or source.parent.resolve() != folder.resolve():
        return False
    counter = COUNTER.search(source.name)
    if counter is None:
        return fnmatchcase(name, source.name)
    before, after = re.escape(source.name[: counter.start()]), re.escape(source.name[counter.end() :])
    return bool(re.fullmatch(rf"{before}\d+{after}", name))
