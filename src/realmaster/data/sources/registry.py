"""Open a source by its kind: the built-in ones, and those that other packages bring."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from importlib.metadata import entry_points
from typing import Any

from realmaster.data.sources import carla, sail_vos, sequences, videos
from realmaster.data.sources.source import Source, SourceSettings
from realmaster.errors import ConfigError

GROUP = "realmaster.sources"
"""Entry points of this group are functions of `SourceSettings` that give a `Source`."""

BUILT_IN: dict[str, Callable[[SourceSettings], Source]] = {
    "video": videos.open_videos,
    "manifest": videos.open_manifest,
    "sequences": sequences.open_source,
    "sail-vos": sail_vos.open_source,
    "carla": carla.open_source,
}


def open_source(settings: SourceSettings) -> Source:
    """Open a source.

    Raises:
        ConfigError: no such kind; the message holds the nearest. MediaError: its files are not there, or laid out
            otherwise.
    """
    if settings.kind in BUILT_IN:
        return BUILT_IN[settings.kind](settings)
    others = {point.name: point for point in entry_points(group=GROUP)}
    if settings.kind not in others:
        known = [*BUILT_IN, *sorted(others)]
        near = get_close_matches(settings.kind, known, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"source {settings.label}: expected a kind of source, got {settings.kind!r}: {hint}")
    opened: Any = others[settings.kind].load()(settings)
    return opened


def open_sources(settings: Sequence[SourceSettings]) -> dict[str, Source]:
    """Open sources by their labels.

    Raises:
        ConfigError: two share a label. MediaError: see `open_source`.
    """
    sources: dict[str, Source] = {}
    for one in settings:
        if one.label in sources:
            raise ConfigError(f"expected sources of different names, got {one.label!r} twice: set name on one of them")
        sources[one.label] = open_source(one)
    return sources
