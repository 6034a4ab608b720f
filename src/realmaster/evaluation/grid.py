"""Bring the clips of all methods to one grid, by a stated rule: the render decides.

Separate because methods differ in size, rate and length (81 frames at 16 a second, 93 at 24), and figures of different
grids do not compare. Size: the render's, shrunk to `max_area`. Time: the render's rate, the frame nearest in time.
Length: the shortest of render, output and truth, which may differ by a quarter of a second.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.evaluation.comparison_settings import GridSettings, Scene
from realmaster.evaluation.labels import Labels
from realmaster.evaluation.metrics.metric import Case
from realmaster.media.reader import open_clip

Clip = npt.NDArray[np.uint8]  # [F, H, W, 3]
MOST_FRAMES = 1024  # clips are held in memory, once for each method
_MOST_STRETCH = 0.02  # by this may aspects differ, as a logarithm: a row or column of rounding
_MOST_SECONDS = Fraction(1, 4)


@dataclass
class OpenScene:
    """A scene with its frames, read once for all methods."""

    scene: Scene
    grid: GridSettings
    render: Clip
    truth: Clip | None
    rate: Fraction
    _memories: dict[int, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, scene: Scene, grid: GridSettings) -> OpenScene:
        """Read render and truth.

        Raises:
            MediaError: one of them cannot be read, or the truth does not fit the render.
        """
        with open_clip(scene.render) as clip:
            info = clip.info
        scale = min(1.0, math.sqrt(grid.max_area / (info.width * info.height)))
        size = (max(1, round(info.height * scale)), max(1, round(info.width * scale)))
        render = _read(scene.render, info.frame_rate, size, (info.height, info.width), grid)
        opened = cls(scene, grid, render, None, info.frame_rate)
        if scene.truth is not None:
            opened.truth = opened._fitting(scene.truth)
        return opened

    def case(self, output: Path) -> Case:
        """Read a method's clip and put it beside the render.

        Raises:
            MediaError: the clip cannot be read, or is of another length or aspect.
        """
        frames = self.render if output == self.scene.render else self._fitting(output)
        length = min(len(frames), len(self.render), *([] if self.truth is None else [len(self.truth)]))
        return Case(
            frames[:length],
            self.render[:length],
            None if self.truth is None else self.truth[:length],
            None if self.scene.labels is None else Labels(self.scene.labels, self.render.shape[1:3]),
            scene_memory=self._memories.setdefault(length, {}),
        )

    def _fitting(self, path: Path) -> Clip:
        if not path.exists() and "%" not in path.name and "*" not in path.name:
            raise MediaError(f"{path}: expected a clip, found nothing there: make it, or correct the pattern")
        frames = _read(path, self.rate, self.render.shape[1:3], _size(self.scene.render), self.grid)
        if abs(len(frames) - len(self.render)) > max(1.0, float(_MOST_SECONDS * self.rate)):
            raise MediaError(
                f"{path}: expected the render's length, {len(self.render)} frames at {float(self.rate):g} a second, "
                f"got {len(frames)}: cut both alike"
            )
        return frames


def _size(path: Path) -> tuple[int, int]:
    with open_clip(path) as clip:
        return clip.info.height, clip.info.width


def _read(path: Path, rate: Fraction, size: tuple[int, int], render: tuple[int, int], grid: GridSettings) -> Clip:
    """Read a clip at the grid's rate and size: uint8 [F, H, W, 3]."""
    height, width = size
    most = grid.num_frames or MOST_FRAMES
    parts: list[Clip] = []
    count = 0
    with open_clip(path, frame_rate=rate, image_rate=rate) as clip:
        if abs(math.log(clip.info.width / clip.info.height * render[0] / render[1])) > _MOST_STRETCH:
            raise MediaError(
                f"{path}: expected the render's aspect, {render[1]}x{render[0]}, got {clip.info.width}x"
                f"{clip.info.height}: crop both alike"
            )
        shrinks = clip.info.width * clip.info.height > width * height
        interpolation = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
        for chunk in clip.chunks(16):
            chunk = chunk[: most - count]
            if chunk.shape[1:3] != size:
                chunk = np.stack([cv2.resize(frame, (width, height), interpolation=interpolation) for frame in chunk])
            parts.append(chunk)
            count += len(chunk)
            if count == most:
                if grid.num_frames is None:
                    raise MediaError(
                        f"{path}: expected fewer than {MOST_FRAMES} frames, got more: cut it, or set grid.num_frames"
                    )
                break
        if clip.truncated is not None:
            raise MediaError(f"{path}: expected a whole clip, it ends early ({clip.truncated}): make it again")
    return np.concatenate(parts)
