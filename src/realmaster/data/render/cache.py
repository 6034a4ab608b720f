"""The renderer's cache: what takes a while to make and is the same for everyone is made once per user.

Separate because textures and bodies share one rule: a folder named by the version of what made it, complete or absent.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from pathlib import Path

from realmaster.errors import OutputError
from realmaster.media.output import put_in_place, remove, temporary_path

logger = logging.getLogger(__name__)


def cache_root() -> Path:
    """Give the folder for cached assets: $REALMASTER_CACHE, or the platform's cache folder."""
    if chosen := os.environ.get("REALMASTER_CACHE"):
        return Path(chosen) / "render"
    if sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    return base / "realmaster" / "render"


def cached_folder(name: str, fill: Callable[[Path], None], *, notice: str) -> Path:
    """Give a folder of the cache, made by `fill` the first time.

    Two processes may fill it at once: each works under its own temporary name, and the first rename wins.

    Args:
        name: the folder's name with the version of its content, e.g. "textures-1".
        fill: writes the content into the empty folder it is given.
        notice: a sentence for the log when the work begins.

    Raises:
        OutputError: the cache cannot be written.
    """
    folder = cache_root() / name
    if folder.is_dir():
        return folder
    logger.warning("%s", notice)
    part = temporary_path(folder)
    try:
        part.mkdir(parents=True)
        fill(part)
        if not folder.is_dir():
            put_in_place(part, folder)
    except OSError as error:
        raise OutputError(
            f"{folder}: expected a cache that can be written, could not ({error.strerror}): "
            "point REALMASTER_CACHE to another folder"
        ) from error
    finally:
        remove(part)
    return folder
