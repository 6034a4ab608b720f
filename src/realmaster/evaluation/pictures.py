"""The report's pictures: stills of render and film as WebP, and both in motion as one small video.

Separate because this is the only part of the page that reads clips. Both are read once, a frame of each in memory. The
video holds the render above the film in one stream, so that the two can never run apart in a player.
"""

from __future__ import annotations

import base64
import io
import logging
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from realmaster.errors import MediaError, OutputError
from realmaster.evaluation.side_by_side import Frame, evenly, frames_of, resized, side_by_side
from realmaster.media.encode import Encoding, FrameEncoder
from realmaster.types import ClipInfo

_STILL_SIDE, _STILL_QUALITY = 1280, 84  # longer side in pixels, WebP quality
_VIDEO_SIDE = 832
_VIDEO_SECONDS = 12
_VIDEO_BYTES = 8_000_000  # a page that can still be sent by mail
_VIDEO_SMALLEST = 16  # pixels; smaller frames are no picture in motion
_VIDEO = Encoding("libx264", "yuv420p", options={"preset": "veryfast", "crf": "26", "profile": "high"})

logger = logging.getLogger(__name__)


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
    max_stills: int = 8,
) -> Pictures:
    """Take stills at even distances through the clip, and its first twelve seconds in motion.

    Raises:
        MediaError: one of the clips cannot be read, or they have no frame in common.
    """
    with side_by_side(input_path, output_path, start_seconds, duration_seconds) as (source, output, expected):
        info = output.info
        rate = info.frame_rate
        chosen = frozenset(evenly(expected, max_stills))
        still_size, video_size = (_bounded(info, side) for side in (_STILL_SIDE, _VIDEO_SIDE))
        stills: list[Still] = []
        moving = _StackedVideo(video_size, rate) if expected > 1 else None
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


class _StackedVideo:
    """Encodes render above film into memory, up to a length and a size."""

    def __init__(self, size: tuple[int, int], rate: Fraction) -> None:
        # the format wants even sides
        self._size = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        self._most = max(1, int(rate * _VIDEO_SECONDS))
        self._file = io.BytesIO()
        self._container: Any = None
        self.num_frames = 0
        if min(size) < _VIDEO_SMALLEST:
            return
        self._container = av.open(self._file, "w", format="mp4")
        try:
            self._encoder = FrameEncoder(
                self._container, _VIDEO, ClipInfo(self._size[0], 2 * self._size[1], frame_rate=rate)
            )
        except (OutputError, av.error.FFmpegError, ValueError) as error:
            logger.warning("the report has stills only: this installation cannot encode H.264 (%s)", error)
            self._container = None

    def add(self, render: Frame, film: Frame) -> None:
        if self._container is None or self.num_frames >= self._most:
            return
        stacked = np.concatenate([resized(render, self._size), resized(film, self._size)])
        self._container.mux(self._encoder.encode(stacked))
        self.num_frames += 1
        if self._file.tell() > _VIDEO_BYTES:
            logger.info("the report has stills only: the clip in motion would be larger than %d bytes", _VIDEO_BYTES)
            self._container.close()
            self._container = None

    def finish(self) -> str | None:
        if self._container is None:
            return None
        self._container.mux(self._encoder.flush())
        self._container.close()
        if self._file.getbuffer().nbytes > _VIDEO_BYTES or self.num_frames < 2:
            return None
        return _data_uri("video/mp4", self._file.getvalue())


def _bounded(info: ClipInfo, side: int) -> tuple[int, int]:
    shrink = min(1.0, side / max(info.width, info.height))
    return max(1, round(info.width * shrink)), max(1, round(info.height * shrink))


def _webp(frame: Frame) -> str:
    done, data = cv2.imencode(".webp", frame[..., ::-1], [cv2.IMWRITE_WEBP_QUALITY, _STILL_QUALITY])
    if not done:
        raise MediaError(f"expected to encode a still of {frame.shape[1]}x{frame.shape[0]} as WebP, OpenCV could not")
    return _data_uri("image/webp", data.tobytes())


def _data_uri(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
