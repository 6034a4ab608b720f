"""Open anything that holds frames: a video file, a folder of images, a pattern, or one image."""

from __future__ import annotations

from fractions import Fraction
from math import inf
from pathlib import Path

from realmaster.errors import MediaError
from realmaster.media.absent import nothing_there
from realmaster.media.clip import ClipReader
from realmaster.media.images import READABLE
from realmaster.media.sequences import SequenceReader, is_pattern
from realmaster.media.video import VideoReader

__all__ = ["ClipReader", "open_clip"]


def open_clip(
    path: str | Path,
    *,
    start_seconds: float | Fraction = 0.0,
    duration_seconds: float | None = None,
    frame_rate: Fraction | None = None,
    image_rate: Fraction | None = None,
) -> ClipReader:
    """Open a clip for reading as RGB frames at a constant rate.

    Args:
        path: a video file, a folder of images, a pattern (`frame_%04d.png`, `*.png`), or one image.
        start_seconds: where to begin, from the first frame on; a fraction is exact.
        duration_seconds: how much to read; None reads to the end.
        frame_rate: rate of what is delivered; None keeps the clip's own. A whole multiple repeats each frame, any
            other rate takes the frame nearest in time.
        image_rate: images a second of an image sequence; None takes `frame_rate`, or else 16.

    Raises:
        MediaError: no name, nothing there, not readable as a clip, without frames, or over before `start_seconds`.
    """
    if not str(path):
        raise MediaError("expected the name of a clip, got an empty one: give a video, an image folder or a pattern")
    path = Path(path)
    if not 0 <= start_seconds < inf:
        raise MediaError(
            f"{path}: expected a start of 0 s or later, got {float(start_seconds):g} s: start at 0 or later"
        )
    if duration_seconds is not None and not 0 < duration_seconds < inf:
        raise MediaError(f"{path}: expected a duration above 0 s, got {duration_seconds:g} s: read at least one frame")
    for rate in (frame_rate, image_rate):
        if rate is not None and not 0 < rate <= 1000:
            raise MediaError(f"{path}: expected a frame rate above 0 and up to 1000, got {rate}: give another")
    frame_rate = None if frame_rate is None else Fraction(frame_rate)
    if path.is_dir() or is_pattern(path) or (path.suffix.lower() in READABLE and path.exists()):
        return SequenceReader(
            path,
            start_seconds=start_seconds,
            duration_seconds=duration_seconds,
            frame_rate=frame_rate,
            image_rate=None if image_rate is None else Fraction(image_rate),
        )
    if not path.exists():
        raise nothing_there(path)
    return VideoReader(path, start_seconds=start_seconds, duration_seconds=duration_seconds, frame_rate=frame_rate)
