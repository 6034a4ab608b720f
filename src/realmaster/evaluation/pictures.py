"""The report's pictures: stills of render and film as WebP, and both in motion as one small video.

Separate because this is the only part of the page that reads clips. Both are read once, a frame of each in memory. The
video holds the render above the film in one stream, so that the two can never run apart in a player.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import cv2

from realmaster.errors import MediaError
from realmaster.evaluation.side_by_side import Frame, evenly, frames_of, resized, side_by_side
from realmaster.evaluation.stacked import StackedVideo, data_uri
from realmaster.types import ClipInfo

_STILL_SIDE, _STILL_QUALITY = 1280, 84  # longer side in pixels, WebP quality
_VIDEO_SIDE = 832


@dataclass(frozen=True)
class Still:
    """One moment of the clip, as data URIs."""

    seconds: float
    render: str
    film: str


@dataclass(frozen=True)
class Pictures:
    """All pictures of a page; the video is absent where the clip is one frame, tiny, or the file would be large."""

    width: int  # of the output
    height: int
    stills: tuple[Still, ...]
    video: str | None  # data URI of an mp4: the render above the film
    video_seconds: float


def take_pictures(
    input_path: str | Path,
    output_path: str | Path,
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    image_rate: Fraction | None = None,
    max_stills: int = 8,
) -> Pictures:
    """Take stills at even distances through the clip, and its first twelve seconds in motion.

    Raises:
        MediaError: one of the clips cannot be read, or they have no frame in common.
    """
    with side_by_side(input_path, output_path, start_seconds, duration_seconds, image_rate) as (
        source,
        output,
        expected,
    ):
        info = output.info
        rate = info.frame_rate
        chosen = frozenset(evenly(expected, max_stills))
        still_size, video_size = (_bounded(info, side) for side in (_STILL_SIDE, _VIDEO_SIDE))
        stills: list[Still] = []
        moving = StackedVideo(video_size, rate) if expected > 1 else None
        for index, (film, render) in enumerate(zip(frames_of(output), frames_of(source), strict=False)):
            if index in chosen:
                pair = (_webp(resized(frame, still_size)) for frame in (render, film))
                stills.append(Still(float(index / rate), *pair))
            if moving is not None:
                moving.add(render, film)
        video = moving.finish() if moving is not None else None
        seconds = float(moving.num_frames / rate) if moving is not None else 0.0
    if not stills:
        raise MediaError(f"expected frames in both {input_path} and {output_path}, found none in common: check both")
    return Pictures(info.width, info.height, tuple(stills), video, seconds)


def _bounded(info: ClipInfo, side: int) -> tuple[int, int]:
    shrink = min(1.0, side / max(info.width, info.height))
    return max(1, round(info.width * shrink)), max(1, round(info.height * shrink))


def _webp(frame: Frame) -> str:
    done, data = cv2.imencode(".webp", frame[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _STILL_QUALITY])
    if not done:
        raise MediaError(f"expected to encode a still of {frame.shape[1]}x{frame.shape[0]} as WebP, OpenCV could not")
    return data_uri("image/webp", data.tobytes())
