"""Bring a clip to the grid a method works on, and the method's frames back to the render's: one rule for all.

In: every frame of the render once, whatever rate the method's authors trained at, so that none is dropped or
doubled; a clip longer than the method's is cut into as few parts as will do, of equal length; a part is filled up
with its last frame to 1 modulo the time stride; its size has the method's area and the clip's aspect, in whole
tokens. Out: the filling is dropped and each frame resized to the render's. A method that gives another rate (a
server may) gives the frame nearest in time. So each output has the render's size, rate and length, and metrics
compare nothing else.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import cv2
import numpy as np

from realmaster.errors import MediaError
from realmaster.evaluation.baselines.baseline import Frames
from realmaster.models.profiles import SizeSettings
from realmaster.types import round_up_frames


@dataclass(frozen=True)
class MethodGrid:
    """What a method works on: about height x width pixels, sides in whole strides, so many frames at most."""

    height: int
    width: int
    stride: int
    max_frames: int
    time_stride: int = 4

    def size_of(self, height: int, width: int) -> tuple[int, int]:
        """Give the size for a clip's: the same area whatever the aspect."""
        return SizeSettings(height=self.height, width=self.width).fit(height, width, stride=self.stride)

    def parts_of(self, num_frames: int) -> list[range]:
        """Cut a number of frames into as few equal parts as fit (the first ones a frame longer)."""
        count = -(-num_frames // self.max_frames)
        ends = [round(num_frames * (part + 1) / count) for part in range(count)]
        return [range(begin, end) for begin, end in zip([0, *ends[:-1]], ends, strict=True)]


def on_grid(frames: Frames, grid: MethodGrid, sample: Callable[[Frames], Frames]) -> Frames:
    """Apply a method that works on its own grid to frames uint8 [F, H, W, 3]; give the same shape.

    Raises:
        MediaError: the method gave fewer frames than it was given, or frames of no size.
    """
    height, width = frames.shape[1:3]
    size = grid.size_of(height, width)
    done = []
    for part in grid.parts_of(len(frames)):
        small = resized(frames[part.start : part.stop], size)
        padding = round_up_frames(len(small), grid.time_stride) - len(small)
        small = np.concatenate([small, np.repeat(small[-1:], padding, axis=0)])
        sampled = sample(small)
        if sampled.ndim != 4 or len(sampled) < len(part) or sampled.shape[-1] != 3:
            raise MediaError(
                f"expected {len(part)} frames or more from the method, got an array {sampled.shape}: this is a fault "
                "of the method"
            )
        done.append(resized(sampled[: len(part)], (height, width)))
    return np.concatenate(done)


def at_rate(frames: Frames, rate: Fraction, render_rate: Fraction, num_frames: int) -> Frames:
    """Take the frame nearest in time for each of the render's: [F', H, W, 3] at `rate` to [num_frames, H, W, 3].

    Raises:
        MediaError: the clips differ in length by more than a quarter of a second and a frame of either.
    """
    missing = Fraction(num_frames) / render_rate - Fraction(len(frames)) / rate
    if missing > Fraction(1, 4) + 1 / rate + 1 / render_rate:
        raise MediaError(
            f"expected {num_frames / float(render_rate):.2f} s of video back, got {len(frames) / float(rate):.2f} s: "
            "give shorter clips"
        )
    times = [min(len(frames) - 1, int(index * rate / render_rate + Fraction(1, 2))) for index in range(num_frames)]
    return frames[times]


def resized(frames: Frames, size: tuple[int, int]) -> Frames:
    """Resize uint8 [F, H, W, 3] to (height, width): by area averages where they shrink, cubic where they grow."""
    height, width = size
    if frames.shape[1:3] == (height, width):
        return frames
    shrinks = frames.shape[1] * frames.shape[2] > height * width
    method = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return np.stack([cv2.resize(frame, (width, height), interpolation=method) for frame in frames])
