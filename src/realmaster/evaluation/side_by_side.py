"""Open an output and the stretch of the input it was made from, so that their frames correspond by order.

Separate because the alignment and the report's pictures must look at the same frames.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.media.reader import ClipReader, open_clip

Frame = npt.NDArray[np.uint8]  # [H, W, 3]
_SAME_RATE = 1e-3


class SideBySide(NamedTuple):
    """The two clips, and how many frames the output says it has (some containers say one too many)."""

    source: ClipReader
    output: ClipReader
    expected: int


@contextmanager
def side_by_side(
    input_path: str | Path,
    output_path: str | Path,
    start_seconds: float,
    duration_seconds: float | None,
    image_rate: Fraction | None = None,
) -> Iterator[SideBySide]:
    """Open both clips, the input read at the output's rate; images of the input have `image_rate`, or else 16.

    Raises:
        MediaError: one of the two cannot be read.
    """
    with ExitStack() as stack:
        source = stack.enter_context(
            open_clip(input_path, start_seconds=start_seconds, duration_seconds=duration_seconds, image_rate=image_rate)
        )
        output = stack.enter_context(open_clip(output_path, image_rate=source.info.frame_rate))
        rate = output.info.frame_rate
        if abs(float(rate / source.info.frame_rate) - 1.0) > _SAME_RATE:
            source.close()
            source = stack.enter_context(
                open_clip(
                    input_path,
                    start_seconds=start_seconds,
                    duration_seconds=duration_seconds,
                    frame_rate=rate,
                    image_rate=image_rate,
                )
            )
        expected = output.info.num_frames
        if expected is None:
            with open_clip(output_path, image_rate=rate) as clip:
                expected = sum(1 for _ in frames_of(clip))
        yield SideBySide(source, output, expected)


def frames_of(clip: ClipReader) -> Iterator[Frame]:
    """Read a clip frame by frame: uint8 [H, W, 3] each."""
    for chunk in clip.chunks(1):
        yield chunk[0]


def evenly(count: int, most: int) -> list[int]:
    """Choose at most `most` numbers from 0 to count - 1, at even distances, the first and the last among them."""
    if count < 1:
        return []
    return np.unique(np.linspace(0, count - 1, min(count, max(most, 1))).round().astype(int)).tolist()


def resized(frame: Frame, size: tuple[int, int]) -> Frame:
    """Bring a frame to (width, height) by averaging areas; a frame of that size is given back as it is."""
    if (frame.shape[1], frame.shape[0]) == size:
        return frame
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
