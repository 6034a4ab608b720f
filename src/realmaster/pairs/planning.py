"""The plan of a set: scan the footage, draw the clips, and write both down, so that every run works off the same list.

Separate from the sampler, which knows no folder. Scans are kept one by one, so that a run that is killed while it looks
through footage goes on with the next video.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from realmaster.data.sampler import Draw, Drawn, Footage, choose_size, draw_clips
from realmaster.data.scan import Scan, Stretch, scan_frames
from realmaster.data.sources.registry import open_source, open_sources
from realmaster.data.sources.source import SourceSettings, SourceVideo
from realmaster.errors import ConfigError, DataError, MediaError, RealMasterError
from realmaster.pairs.pair_set import WORK, PairSet
from realmaster.pairs.record import ClipSource, PlannedClip
from realmaster.pairs.settings import PairSettings
from realmaster.pairs.store import read_text, write_text

PLAN = "plan.json"
Progress = Callable[[int, int | None], None]


@dataclass(frozen=True)
class Plan:
    """The clips of a set; what of its footage is dropped, by video; and videos that cannot be used, with the reason."""

    clips: tuple[PlannedClip, ...]
    dropped: Mapping[str, tuple[Stretch, ...]]
    unusable: Mapping[str, str]
    missing: Mapping[str, int]


@dataclass(frozen=True)
class ScanTask:
    """One video to be looked through; small, so that it can travel to another machine."""

    source: SourceSettings
    video: SourceVideo
    settings: PairSettings

    @property
    def key(self) -> str:
        """Name of the video among all sources."""
        return f"{self.source.label}/{self.video.name}"

    @property
    def file(self) -> str:
        """Name of the scan's file: by everything that decides it."""
        parts = [self.source.model_dump(mode="json"), self.video.name, self.video.num_frames,
                 self.settings.sample.scan.model_dump(mode="json")]  # fmt: skip
        digest = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()
        return f"{WORK}/scans/{digest[:24]}.json"


Scanner = Callable[[Sequence[ScanTask]], Iterator[tuple[ScanTask, Scan | str]]]


def scan_one(task: ScanTask) -> Scan | str:
    """Look through one video; gives the reason where it cannot be read."""
    try:
        frames = open_source(task.source).frames(task.video.name, 0, task.video.num_frames)
        return scan_frames(frames, task.video.frame_rate, task.settings.sample.scan)
    except MediaError as error:
        return str(error)


def scan_here(tasks: Sequence[ScanTask]) -> Iterator[tuple[ScanTask, Scan | str]]:
    """Look through videos one after the other."""
    for task in tasks:
        yield task, scan_one(task)


def make_plan(
    pairs: PairSet, settings: PairSettings, *, scanner: Scanner = scan_here, progress: Progress | None = None
) -> Plan:
    """Make the plan of a set, or read it where it is there and big enough; more clips extend it.

    Raises:
        DataError: the footage has no room, or the plan that is there has clips that these settings do not draw.
        MediaError: a source's files are not there, or laid out otherwise.
        ConfigError: control wants a depth that a source does not have.
    """
    with pairs.exclusive("plan"):
        wanted = (settings.sample.train, settings.sample.validation)
        old = read_plan(pairs)
        if old is not None and old[1] == wanted:
            return old[0]
        plan = _draw(pairs, settings, scanner, progress)
        if old is not None:
            kept = {clip.id: clip for clip in plan.clips}
            lost = [clip.id for clip in old[0].clips if kept.get(clip.id) != clip and pairs.is_finished(clip.id)]
            if lost:
                raise DataError(
                    f"{pairs.root}: expected a plan that keeps the clips already made, {len(lost)} are not in it "
                    f"({lost[0]}): ask for at least as many clips as before, from the same footage, or choose "
                    "another folder"
                )
        write_text(pairs.store, PLAN, _as_json(plan, wanted))
        return plan


def read_plan(pairs: PairSet) -> tuple[Plan, tuple[int, int]] | None:
    """Read the plan, and the clips that were asked for (training, validation); None where there is none.

    Raises:
        DataError: the file was edited into nonsense.
    """
    if not pairs.store.exists(PLAN):
        return None
    try:
        values = json.loads(read_text(pairs.store, PLAN))
        clips = tuple(PlannedClip.from_mapping(clip, source=f"{pairs.root}/{PLAN}") for clip in values["clips"])
        dropped = {key: tuple(Stretch(**stretch) for stretch in found) for key, found in values["dropped"].items()}
        wanted = (int(values["wanted"]["train"]), int(values["wanted"]["validation"]))
        return Plan(clips, dropped, values["unusable"], values["missing"]), wanted
    except (ValueError, KeyError, TypeError, ConfigError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(
            f"{pairs.root}/{PLAN}: expected the plan of a set ({reason}): remove it, it is made again"
        ) from error


def _draw(pairs: PairSet, settings: PairSettings, scanner: Scanner, progress: Progress | None) -> Plan:
    sources = open_sources(settings.sources)
    tasks = [
        ScanTask(chosen, video, settings) for chosen in settings.sources for video in sources[chosen.label].videos()
    ]
    _check_passes(tasks, settings)
    scans, unusable = _scan(pairs, tasks, scanner, progress)
    for label, source in sources.items():
        unusable |= {f"{label}/{name}": reason for name, reason in getattr(source, "unusable", {}).items()}
    if unusable and not scans:
        raise MediaError(f"expected footage that can be read, none of {len(unusable)} videos can; the first: "
                         f"{next(iter(unusable.values()))}")  # fmt: skip
    footage = [Footage(task.source.label, task.video, scans[task.key]) for task in tasks if task.key in scans]
    drawn = draw_clips(footage, settings.sample, seed=settings.seed)
    return _plan(drawn, settings, unusable)


def _scan(
    pairs: PairSet, tasks: Sequence[ScanTask], scanner: Scanner, progress: Progress | None
) -> tuple[dict[str, Scan], dict[str, str]]:
    """Give the scans of the videos that can be read, and why the others cannot."""
    scans: dict[str, Scan] = {}
    unusable: dict[str, str] = {}
    new = []
    for task in tasks:
        known = _known_scan(pairs, task)
        if known is None:
            new.append(task)
        else:
            scans[task.key] = known
    for number, (task, found) in enumerate(scanner(new), start=1):
        if isinstance(found, Scan):
            scans[task.key] = found
            write_text(pairs.store, task.file, json.dumps(asdict(found)))
        else:
            unusable[task.key] = found
        if progress is not None:
            progress(number, len(new))
    return scans, unusable


def _known_scan(pairs: PairSet, task: ScanTask) -> Scan | None:
    """Read what an earlier run found; a file that was damaged since counts as none."""
    if not pairs.store.exists(task.file):
        return None
    try:
        values = json.loads(read_text(pairs.store, task.file))
        stretches = tuple(Stretch(**stretch) for stretch in values["dropped"])
        return Scan(int(values["num_frames"]), tuple(map(int, values["cuts"])), stretches)
    except (ValueError, KeyError, TypeError):
        return None


def _check_passes(tasks: Sequence[ScanTask], settings: PairSettings) -> None:
    if settings.control.kind == "depth":
        without = [task for task in tasks if "depth" not in task.video.passes]
        if without:
            raise ConfigError(
                f"control.kind: expected a depth of every video for depth, {len(without)} have none, {without[0].key} "
                "first: choose another control, or leave their source out"
            )


def _plan(drawn: Drawn, settings: PairSettings, unusable: Mapping[str, str]) -> Plan:
    several = len(settings.sources) > 1
    clips = tuple(_planned(draw, settings, several) for draw in drawn.draws)
    names = [clip.id for clip in clips]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise RealMasterError(f"expected a name for each clip, {twice} stands for two: give the sources names")
    return Plan(clips, drawn.dropped, unusable, dict(drawn.missing.items()))


def _planned(draw: Draw, settings: PairSettings, several: bool) -> PlannedClip:
    video, sample = draw.footage.video, settings.sample
    height, width = choose_size(video.height, video.width, sample)
    name = _slug(f"{draw.footage.source}-{video.name}" if several else video.name)
    clip = f"{name}-{draw.first_frame:06d}"
    digest = hashlib.sha256(f"{settings.seed}\n{clip}".encode()).digest()
    return PlannedClip(
        id=clip,
        split=draw.split,
        seed=int.from_bytes(digest[:4], "big"),
        caption=settings.caption if video.caption is None else video.caption,
        cut=ClipSource(
            source=draw.footage.source,
            video=video.name,
            first_frame=draw.first_frame,
            source_rate=str(video.frame_rate),
            frame_rate=sample.frame_rate,
            num_frames=sample.num_frames,
            height=height,
            width=width,
        ),
    )


def _slug(name: str) -> str:
    """Make a file's name of a video's: a short hash tells apart what becomes alike."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-._")[:120]
    if plain == name:
        return plain
    return f"{plain or 'video'}-{hashlib.sha256(name.encode()).hexdigest()[:6]}"


def _as_json(plan: Plan, wanted: tuple[int, int]) -> str:
    values: dict[str, Any] = {
        "wanted": {"train": wanted[0], "validation": wanted[1]},
        "missing": dict(plan.missing),
        "clips": [clip.model_dump(mode="json") for clip in plan.clips],
        "dropped": {key: [asdict(stretch) for stretch in found] for key, found in plan.dropped.items()},
        "unusable": dict(plan.unusable),
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"
