"""Fixed clips translated while training, by the translator that users run, scored against the truth and shown.

Separate from the run, and ignorant of metrics: what a score is comes from outside, since evaluation and training do not
know each other. What is validated is what a user would get: same windows, same sampler, same transfer to full size.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.data.manifest import ManifestRow, read_manifest
from realmaster.data.pair_set import read_frames
from realmaster.errors import DataError
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter
from realmaster.pipelines.translate import Translator
from realmaster.training.settings import ValidationSettings
from realmaster.types import ClipInfo

logger = logging.getLogger(__name__)

Frames = npt.NDArray[np.uint8]
Score = Callable[[Frames, Frames], Mapping[str, float]]  # (output, truth), both uint8 [F, H, W, 3]
_PANEL_HEIGHT = 240
_MOST_ROWS = 8


@dataclass(frozen=True)
class ValidationClip:
    """One pair in memory: the render, the truth, and the prompt."""

    row: ManifestRow
    engine: Frames
    camera: Frames


@dataclass(frozen=True)
class Validated:
    """One clip after translation: its number, its scores, and its frames beside render and truth."""

    number: int
    scores: dict[str, float]
    panel: Frames  # [F, h, w, 3]


def read_validation(settings: ValidationSettings) -> list[ManifestRow]:
    """Give the rows that are validated on; none without a manifest.

    Raises:
        DataError: the manifest cannot be read.
    """
    return [] if settings.manifest is None else read_manifest(settings.manifest)[: settings.num_clips]


def validate_clips(
    translator: Translator, rows: Sequence[tuple[int, ManifestRow]], settings: ValidationSettings, score: Score | None
) -> list[Validated]:
    """Translate numbered rows and score each.

    Raises:
        MediaError: a clip cannot be read. DataError: the two looks of a row differ in size or length.
    """
    done = []
    for number, row in rows:
        clip = _read(row, settings.num_frames)
        output = translator.translate_frames(
            clip.engine,
            prompt=row.caption,
            num_inference_steps=settings.num_inference_steps,
            guidance_scale=settings.guidance_scale,
            seed=settings.seed,
        )
        scores = {} if score is None else {name: float(value) for name, value in score(output, clip.camera).items()}
        panel = np.concatenate([_small(look) for look in (clip.engine, output, clip.camera)], axis=2)
        done.append(Validated(number, scores, panel))
    return done


def mean_scores(validated: Sequence[Validated]) -> dict[str, float]:
    """Average each score over the clips that have it, those that are not finite left out."""
    names = {name for clip in validated for name in clip.scores}
    means = {}
    for name in sorted(names):
        values = [v for clip in validated if math.isfinite(v := clip.scores.get(name, math.nan))]
        if values:
            means[name] = float(np.mean(values))
    return means


def warn_unknown_figure(figure: str, validated: Sequence[Validated]) -> None:
    """Warn if no clip has the score that is to name the best checkpoint: none would be kept as the best."""
    names = sorted({name for clip in validated for name in clip.scores})
    if names and figure not in names:
        logger.warning("validation.figure %s has no effect: there are %s", figure, ", ".join(names))


def make_grid(validated: Sequence[Validated]) -> Frames:
    """Lay clips under each other, each as render, output, truth: uint8 [F, H, W, 3]; shorter ones hold their end."""
    panels = [clip.panel for clip in sorted(validated, key=lambda clip: clip.number)][:_MOST_ROWS]
    length, width = max(len(panel) for panel in panels), max(panel.shape[2] for panel in panels)
    rows = []
    for panel in panels:
        held = np.concatenate([panel, np.repeat(panel[-1:], length - len(panel), axis=0)])
        rows.append(np.pad(held, ((0, 0), (0, 0), (0, width - panel.shape[2]), (0, 0))))
    return np.concatenate(rows, axis=1)


def write_grid(grid: Frames, path: Path, row: ManifestRow) -> None:
    """Write a grid as a video at its first clip's frame rate.

    Raises:
        OutputError: the disk is full or not writable.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_clip(row.reference_video) as clip:
        frame_rate = clip.info.frame_rate
    with ClipWriter(path, ClipInfo(grid.shape[2], grid.shape[1], frame_rate), overwrite=True) as writer:
        writer.write(grid)


def _read(row: ManifestRow, num_frames: int | None) -> ValidationClip:
    engine, camera = (read_frames(path)[:num_frames] for path in (row.reference_video, row.video))
    if engine.shape != camera.shape:
        raise DataError(
            f"{row.where}: expected two looks of one size and length to validate on, got {list(engine.shape)} and "
            f"{list(camera.shape)}: choose other rows for validation.manifest"
        )
    return ValidationClip(row, engine, camera)


def _small(frames: Frames) -> Frames:
    """Bring frames to a panel's height, or leave them if they are lower; sides stay even, as codecs want them."""
    height, width = frames.shape[1:3]
    new_height = min(height, _PANEL_HEIGHT) // 2 * 2
    new_width = max(2, round(width * new_height / height / 2) * 2)
    if (new_height, new_width) == (height, width):
        return frames
    return np.stack([cv2.resize(f, (new_width, new_height), interpolation=cv2.INTER_AREA) for f in frames])
