"""Render a whole set: one process a clip, a few at a time, failures written down while the rest go on."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from realmaster.data.render.pair_folder import PairFolder, Record
from realmaster.data.render.plan import clip_id, plan_clips
from realmaster.data.render.processes import Processes, RenderFailure
from realmaster.data.render.settings import ClipSettings, RenderSettings
from realmaster.errors import MissingExtraError

logger = logging.getLogger(__name__)

LEAST_CONTRAST = 8.0
"""A look with less is a wall in front of the lens; the least among 148 good pairs is 20."""
MANIFEST_EVERY = 20

Progress = Callable[[int, int | None], None]
Render = Callable[[ClipSettings, Path], dict[str, Any]]


@dataclass
class Tally:
    """What a run did."""

    num_accepted: int = 0
    num_rejected: int = 0
    num_failed: int = 0
    num_skipped: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)


def render_pairs(
    settings: RenderSettings,
    output: str | Path,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    render: Render | None = None,
) -> Tally:
    """Render the clips of a set that are not finished yet.

    Args:
        settings: what to render.
        output: the set's folder; an existing one is continued.
        workers: clips rendered at a time, each by one process of one thread.
        progress: called with (clips done, clips in all).
        render: renders one clip into a folder and gives its facts; by default a process with Blender.

    Raises:
        MissingExtraError: Blender or, for the first use, `anny` is not installed.
        OutputError: the folder cannot be written, or holds a clip of the same name with other settings.
    """
    if render is None:
        prepare()
    clips = plan_clips(settings)
    folder = PairFolder(Path(output))
    tally = Tally()
    try:
        waiting = []
        for clip in clips:
            record = folder.record_of(clip)
            if record is not None and record.is_finished:
                tally.num_skipped += 1
            else:
                waiting.append(clip)
        done = tally.num_skipped
        if progress is not None:
            progress(done, len(clips))
        for record in _render_all(waiting, folder, workers, render):
            _count(tally, record)
            done += 1
            if done % MANIFEST_EVERY == 0:
                folder.write_manifests()
            if progress is not None:
                progress(done, len(clips))
        tally.rows = folder.write_manifests()
    finally:
        folder.close()
    return tally


def prepare() -> None:
    """Make sure that Blender is there, and make textures and bodies once, before several processes want them.

    Raises:
        MissingExtraError: `bpy` is not installed, or `anny` for the first use.
        OutputError: the cache cannot be written.
    """
    if find_spec("bpy") is None:
        raise MissingExtraError(
            "expected Blender as the package 'bpy' to render, found none: install it under Python 3.11 with "
            "`pip install 'realmaster[render]'`"
        )
    from realmaster.data.render.assets.bodies import Bodies
    from realmaster.data.render.assets.texture_library import TextureLibrary

    TextureLibrary.open()
    Bodies.open()


def _render_all(clips: list[ClipSettings], folder: PairFolder, workers: int, render: Render | None) -> Iterator[Record]:
    with Processes() as processes, ThreadPoolExecutor(workers) as pool:
        render_one = render or processes.render
        futures: list[Future[Record]] = [pool.submit(_attempt, clip, folder, render_one) for clip in clips]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:  # an exception here, Ctrl-C included: no new clip begins, and those under way are ended
            pool.shutdown(wait=False, cancel_futures=True)
            processes.stop()


def _attempt(clip: ClipSettings, folder: PairFolder, render: Render) -> Record:
    """Render one clip and write its record, whatever happens; a full disk alone is not survived."""
    name, part = clip_id(clip), folder.begin(clip)
    try:
        facts = render(clip, part)
    except RenderFailure as error:
        record = Record(clip, "failed", str(error), {})
        logger.warning("%s failed: %s", name, error)
        folder.finish(record)
        return record
    dull = [look for look, contrast in facts["contrast"].items() if contrast < LEAST_CONTRAST]
    if dull:
        reason = f"nothing to see in the {dull[0]} look (contrast {facts['contrast'][dull[0]]} of 127)"
        record = Record(clip, "rejected", reason, facts)
        folder.finish(record)
    else:
        record = Record(clip, "accepted", None, facts)
        folder.finish(record, part)
    return record


def _count(tally: Tally, record: Record) -> None:
    if record.outcome == "accepted":
        tally.num_accepted += 1
        return
    tally.reasons[clip_id(record.clip)] = record.reason or ""
    if record.outcome == "rejected":
        tally.num_rejected += 1
    else:
        tally.num_failed += 1
