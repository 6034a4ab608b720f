"""Several clips in one small video, one above the other, so that a player can never let them run apart.

Separate because the report of a translation stacks two and the page of a comparison one for each method.
"""

from __future__ import annotations

import base64
import io
import logging
from fractions import Fraction
from typing import Any

import av
import numpy as np

from realmaster.errors import OutputError
from realmaster.evaluation.side_by_side import Frame, resized
from realmaster.media.encode import Encoding, FrameEncoder
from realmaster.types import ClipInfo

_VIDEO_SECONDS = 12
_LAYER_BYTES = 4_000_000  # so that the page of a translation, with two, can still be sent by mail
_VIDEO_SMALLEST = 16  # pixels; smaller frames are no picture in motion
_VIDEO = Encoding("libx264", "yuv420p", options={"preset": "veryfast", "crf": "26", "profile": "high"})

logger = logging.getLogger(__name__)


class StackedVideo:
    """Encodes layers of one size, the first on top, into memory, up to a length and a size."""

    def __init__(self, size: tuple[int, int], rate: Fraction, num_layers: int = 2) -> None:
        """Take layers of (width, height) at a rate."""
        # the format wants even sides
        self._size = max(size[0] // 2 * 2, 2), max(size[1] // 2 * 2, 2)
        self._most = max(1, int(rate * _VIDEO_SECONDS))
        self._most_bytes = num_layers * _LAYER_BYTES
        self._file = io.BytesIO()
        self._container: Any = None
        self.num_frames = 0
        if min(size) < _VIDEO_SMALLEST:
            return
        self._container = av.open(self._file, "w", format="mp4")
        try:
            self._encoder = FrameEncoder(
                self._container, _VIDEO, ClipInfo(self._size[0], num_layers * self._size[1], frame_rate=rate)
            )
        except (OutputError, av.error.FFmpegError, ValueError) as error:
            logger.warning("the report has stills only: this installation cannot encode H.264 (%s)", error)
            self._container = None

    def add(self, *layers: Frame) -> None:
        """Add a frame: uint8 [h, w, 3] each, of any size."""
        if self._container is None or self.num_frames >= self._most:
            return
        stacked = np.concatenate([resized(layer, self._size) for layer in layers])
        self._container.mux(self._encoder.encode(stacked))
        self.num_frames += 1
        if self._file.tell() > self._most_bytes:
            logger.info(
                "the report has stills only: the clip in motion would be larger than %d bytes", self._most_bytes
            )
            self._container.close()
            self._container = None

    def finish(self) -> str | None:
        """Give the mp4 as a data URI; None where it has one frame, is tiny or large, or cannot be encoded."""
        if self._container is None:
            return None
        self._container.mux(self._encoder.flush())
        self._container.close()
        if self._file.getbuffer().nbytes > self._most_bytes or self.num_frames < 2:
            return None
        return data_uri("video/mp4", self._file.getvalue())


def data_uri(kind: str, data: bytes) -> str:
    """Write bytes so that a page can hold them."""
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
