"""What can be refused before a model is loaded: paths, names, an input that is no video.

Separate because these checks need neither torch nor weights, so that a slip costs a second. The library makes the ones
that protect files again for those who call it from Python.
"""

from __future__ import annotations

import os
from pathlib import Path

from realmaster.errors import AdapterError, ConfigError, MediaError, OutputError

BESIDE_THE_OUTPUT = "beside the output"


def place_page(report: str | None, output: Path) -> Path | None:
    """Place the report's page: where asked, or beside the output under its name; None when no report is asked.

    Raises:
        ConfigError: the name is no page's, as when `--report` stands before INPUT and takes it for its value.
    """
    if report is None:
        return None
    if report == BESIDE_THE_OUTPUT:
        return output.with_name(f"{output.stem or output.name}.html")
    if Path(report).suffix.lower() not in (".html", ".htm"):
        raise ConfigError(
            f"expected --report PAGE.html, got {report!r}: write --report after INPUT, or with the name of a page"
        )
    return Path(report)


def refuse_paths(source: str, outputs: dict[str, Path | None], *, overwrite: bool) -> None:
    """Refuse outputs (by what they are: output, report) that equal the input, exist, or cannot be written.

    Raises:
        OutputError: with the path and what to do.
    """
    given = [(what, path) for what, path in outputs.items() if path is not None]
    for what, path in given:
        for taken in (Path(source), Path(source).parent):  # the parent counts where the input is a pattern of images
            if path.exists() and taken.exists() and path.samefile(taken):
                raise OutputError(f"expected an {what} other than the input, got {path} for both: choose another name")
        if path.exists() and not overwrite:
            raise OutputError(f"expected no file yet at {path}, found one: choose another name or add --overwrite")
        if not path.absolute().parent.is_dir():
            raise OutputError(f"expected a folder at {path.parent} for the {what}, found none: create it first")
        if not os.access(path.absolute().parent, os.W_OK):
            raise OutputError(f"expected to write in {path.parent}, the system refuses: choose another folder")
    if len({path.absolute() for _, path in given}) < len(given):
        raise OutputError(f"expected {' and '.join(outputs)} apart, got {given[0][1]} for both: choose another name")


def refuse_missing(adapter: str | None, protect: str | None) -> None:
    """Refuse an adapter or a mask that is not there.

    Raises:
        AdapterError, MediaError: with the path.
    """
    if adapter is not None and not Path(adapter).is_file():
        raise AdapterError(f"expected an adapter (.safetensors) at {adapter}, found none: check --adapter")
    if protect is not None and not Path(protect).exists():
        raise MediaError(f"expected a mask (image, folder or video) at {protect}, found none: check --protect")


def refuse_profile(name: str) -> None:
    """Refuse a profile that does not exist.

    Raises:
        ConfigError: with the names there are.
    """
    from realmaster.models.profiles import load_profile

    load_profile(name)


def refuse_unreadable(source: str, start_seconds: float, duration_seconds: float | None) -> None:
    """Refuse an input that is missing or no video, by opening it.

    Raises:
        MediaError: with the reason.
    """
    if not source:
        raise MediaError("expected the name of a clip, got an empty one: give a video, an image folder or a pattern")
    from realmaster.media.reader import open_clip

    open_clip(source, start_seconds=start_seconds, duration_seconds=duration_seconds).close()
