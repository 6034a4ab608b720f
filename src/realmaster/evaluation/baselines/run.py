"""Run a baseline over clips: each output whole or not at all, with a record; a second run goes on.

Separate from the methods, which know one clip. The record `<clip>.json` is written last: what has one is whole, and
is kept as long as method, settings, weights, prompt, seed and render are those of the record.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import numpy as np

from realmaster import __version__
from realmaster.data.content import ContentHashes
from realmaster.errors import ConfigError, MediaError, MissingWeightsError, OutputError, RealMasterError
from realmaster.evaluation.baselines.baseline import Baseline, Frames, RenderedClip
from realmaster.evaluation.comparison_settings import Scene
from realmaster.evaluation.grid import MOST_FRAMES
from realmaster.media.output import temporary
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter
from realmaster.pipelines.edit_folder import EditMissingError
from realmaster.types import ClipInfo

logger = logging.getLogger(__name__)
Progress = Callable[[int, int | None], None]
Codec = Literal["h264", "lossless"]
SUFFIX: dict[Codec, str] = {"h264": ".mp4", "lossless": ".mkv"}


@dataclass(frozen=True)
class Made:
    """What a run did: clips made now, kept from before, failed with the reason; and what the method reported."""

    made: tuple[str, ...]
    kept: tuple[str, ...]
    failed: dict[str, str]
    seconds: float
    reports: tuple[dict[str, Any], ...] = ()


def run_baseline(
    name: str,
    baseline: Baseline[Any],
    scenes: Sequence[Scene],
    output: Path,
    *,
    caption: str = "",
    seed: int = 0,
    codec: Codec = "h264",
    replace: bool = False,
    progress: Progress | None = None,
) -> Made:
    """Make each scene's clip, `<scene>.mp4` (or `.mkv`, lossless) in the folder `output`.

    Args:
        name: the baseline's name, for the records.
        baseline: the method.
        scenes: what to work on.
        output: folder; made if need be.
        caption: of scenes that have none of their own.
        seed: of every clip.
        codec: h264 is visually lossless.
        replace: make a clip again that was made otherwise; else that is refused.
        progress: called with (clips done, in all).

    Raises:
        MissingWeightsError: the method lacks something on this machine.
        ConfigError: a clip was made with other settings before, or its name is no file name.
        OutputError: the folder cannot be written.
    """
    lacking = baseline.lacking()
    if lacking is not None:
        raise MissingWeightsError(f"{name} cannot run here: {lacking}")
    for scene in scenes:
        check_name(scene.name)
    hashes, constant = ContentHashes(), {"baseline": name, "settings": _settings(baseline), **baseline.describe()}
    plans = [_Plan(scene, output, codec, caption, seed, baseline, constant, hashes) for scene in scenes]
    if not replace:
        for plan in plans:
            plan.refuse_other()
    _make_folder(output)
    made, kept, reports, failed = [], [], [], {}
    begin = time.perf_counter()
    for done, plan in enumerate(plans, start=1):
        if plan.is_done():
            kept.append(plan.scene.name)
        else:
            try:
                reports.append(plan.make(baseline))
                made.append(plan.scene.name)
            except (MediaError, EditMissingError) as error:  # of this clip alone
                logger.warning("%s, %s: %s", name, plan.scene.name, error)
                failed[plan.scene.name] = str(error)
        if progress is not None:
            progress(done, len(plans))
    return Made(tuple(made), tuple(kept), failed, time.perf_counter() - begin, tuple(reports))


def read_infos(scenes: Sequence[Scene]) -> list[ClipInfo]:
    """Read what is known of the renders, to count a cost.

    Raises:
        MediaError: one cannot be read.
    """
    infos = []
    for scene in scenes:
        with open_clip(scene.render) as clip:
            infos.append(clip.info)
    return infos


def todo(
    name: str, baseline: Baseline[Any], scenes: Sequence[Scene], output: Path, *, caption: str, seed: int, codec: Codec
) -> list[Scene]:
    """Give the scenes that a run would make, which are those that cost."""
    constant = {"baseline": name, "settings": _settings(baseline), **baseline.describe()}
    hashes = ContentHashes()
    plans = [_Plan(scene, output, codec, caption, seed, baseline, constant, hashes) for scene in scenes]
    return [plan.scene for plan in plans if not plan.is_done()]


def check_name(name: str) -> None:
    """Refuse a clip's name that would lead out of the output folder.

    Raises:
        ConfigError: with the name.
    """
    if name in ("", ".", "..") or set(name) & set("/\\\0") or len(name.encode()) > 200:
        raise ConfigError(f"expected a clip's name that can be a file's, got {name!r}: rename the clip")


class _Plan:
    """One clip to be: where, and everything that decides what it is."""

    def __init__(
        self,
        scene: Scene,
        folder: Path,
        codec: Codec,
        caption: str,
        seed: int,
        baseline: Baseline[Any],
        constant: dict[str, Any],
        hashes: ContentHashes,
    ) -> None:
        self.scene, self.seed, self.codec = scene, seed, codec
        self.path = folder / f"{scene.name}{SUFFIX[codec]}"
        self.record, self.state = folder / f"{scene.name}.json", folder / f".{scene.name}.state"
        own = scene.row.caption if scene.row is not None else ""
        self.prompt = baseline.ask(own or caption)
        self.wanted = {**constant, "prompt": self.prompt, "seed": seed, "render": hashes.of(scene.render)}

    def is_done(self) -> bool:
        """Tell whether the clip is there and was made in this way."""
        return self.path.is_file() and self._found() == self.wanted

    def refuse_other(self) -> None:
        """Refuse to replace what was made in another way, or by somebody else."""
        if self.path.exists() and self._found() != self.wanted:
            found = self._found()
            other = sorted(key for key in self.wanted if found.get(key) != self.wanted[key]) if found else []
            what = f"one made with other {', '.join(other)}" if other else "a file without a record of it"
            raise ConfigError(
                f"{self.path}: expected no clip there, found {what}: choose another folder or --overwrite"
            )

    def make(self, baseline: Baseline[Any]) -> dict[str, Any]:
        """Read, translate, write, record."""
        begin = time.perf_counter()
        frames, rate = _read(self.scene.render)
        clip = RenderedClip(self.scene.name, frames, rate, self.prompt, self.seed, self.scene.row, self.state)
        result = baseline.translate(clip)
        if result.shape != frames.shape or result.dtype != np.uint8:
            raise MediaError(
                f"{self.scene.name}: expected uint8 frames of the render's shape {frames.shape}, got {result.dtype} "
                f"{result.shape}: this is a fault of the method"
            )
        _, height, width, _ = frames.shape
        self.record.unlink(missing_ok=True)
        with ClipWriter(self.path, ClipInfo(width, height, rate), codec=self.codec, overwrite=True) as writer:
            writer.write(result)
        report = baseline.report()
        content = {
            **self.wanted,
            "report": report,
            "num_frames": len(result),
            "seconds": round(time.perf_counter() - begin, 3),
            "realmaster": __version__,
        }
        with temporary(self.record) as part:
            part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        self.state.unlink(missing_ok=True)
        return report

    def _found(self) -> dict[str, Any]:
        try:
            content = json.loads(self.record.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return {key: content[key] for key in self.wanted if key in content} if isinstance(content, dict) else {}


def _settings(baseline: Baseline[Any]) -> dict[str, Any]:
    """Give the settings that decide what a clip is."""
    dumped: dict[str, Any] = baseline.settings.model_dump(mode="json", exclude=set(baseline.without_effect))
    return dumped


def _read(path: Path) -> tuple[Frames, Fraction]:
    """Read a render whole: uint8 [F, H, W, 3], and its rate."""
    with open_clip(path) as clip:
        chunks: list[Frames] = []
        for chunk in clip.chunks(32):
            chunks.append(chunk)
            if sum(map(len, chunks)) > MOST_FRAMES:
                raise MediaError(f"{path}: expected at most {MOST_FRAMES} frames, got more: cut it into clips")
        if clip.truncated is not None:
            raise MediaError(f"{path}: expected a whole clip, it ends early ({clip.truncated}): make it again")
        return np.concatenate(chunks), clip.info.frame_rate


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{folder}: expected a folder for the clips, could not make it ({error.strerror}): choose another"
        ) from error


def describe_all(device: str | None = None) -> Iterator[tuple[str, str, str, RealMasterError | None]]:
    """Say of each baseline: its name, what it is, what it lacks with its defaults, and why it cannot be loaded."""
    from realmaster.evaluation.baselines.registry import list_baselines, make_baseline

    for name, entry in list_baselines().items():
        try:
            lacking = make_baseline(name, device=device).lacking()
        except RealMasterError as error:
            yield name, entry.help, "", error
            continue
        yield name, entry.help, "" if lacking is None else str(lacking), None
