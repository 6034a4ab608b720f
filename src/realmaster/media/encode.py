"""Codecs a clip can be written with: containers, pixel formats, encoder options and colour tags.

Separate from the writer, which knows files. RGB becomes YUV by swscale with exact rounding; tags always say what the
numbers mean: bt709, limited range, for H.264 and ProRes; RGB, full range, sRGB for lossless.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from realmaster.errors import OutputError
from realmaster.media.color import UInt8
from realmaster.media.convert import EXACT_FLAGS
from realmaster.types import ClipInfo

Codec = Literal["h264", "prores", "prores4444", "lossless", "images"]

MUXERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}

_SUFFIXES = {
    "h264": (".mp4", ".m4v", ".mov", ".mkv"),
    "prores": (".mov", ".mkv"),
    "prores4444": (".mov", ".mkv"),
    "lossless": (".mkv", ".mp4", ".mov"),
}


@dataclass(frozen=True)
class Encoding:
    """One way to encode frames."""

    encoder: str
    pixel_format: str
    is_rgb: bool = False
    options: dict[str, str] = field(default_factory=dict)


def choose_encoding(codec: str, suffix: str, info: ClipInfo) -> tuple[Encoding, list[str]]:
    """Pick encoder and pixel format for a codec's name, a file name's ending and a frame size, with warnings.

    Raises:
        OutputError: unknown codec, or one that this container does not hold.
    """
    if codec not in _SUFFIXES:
        names = ", ".join([*_SUFFIXES, "images"])
        raise OutputError(f"expected a codec of {names}, got {codec!r}: choose one of these")
    if suffix.lower() not in _SUFFIXES[codec]:
        allowed = ", ".join(_SUFFIXES[codec])
        raise OutputError(
            f"expected a name ending in {allowed} for codec {codec}, got {suffix!r}: rename the output, or write a "
            "folder of images with --codec images"
        )
    if codec == "h264":
        # the demo's 81 frames, 832x480: 3.0 s of CPU, 4.3 MB and 43.7 dB; with the preset's own search for motion
        # (subme=2) 1.7 s, 4.3 MB and 42.6 dB, and what is nearly still flickers more; flat colours stay within 2
        # levels, which they do not without trellis or with one thread; a set number of threads gives the same bytes
        # on any machine
        options = {"preset": "veryfast", "crf": "12", "x264-params": "trellis=1:threads=3:subme=7"}
        if info.width % 2 == 0 and info.height % 2 == 0:
            return Encoding("libx264", "yuv420p", options=options), []
        return Encoding("libx264", "yuv444p", options=options), [
            f"{info.width}x{info.height} is an odd size: H.264 was written as 4:4:4, which some players do not show"
        ]
    if codec == "prores" and info.width % 2 == 0:
        return Encoding("prores_ks", "yuv422p10le", options={"profile": "hq", "vendor": "apl0"}), []
    if codec in ("prores", "prores4444"):
        return Encoding("prores_ks", "yuv444p10le", options={"profile": "4444", "vendor": "apl0"}), []
    if suffix.lower() == ".mkv" and min(info.width, info.height) >= 4:  # FFV1's four slices need as many pixels
        return Encoding("ffv1", "bgr0", is_rgb=True, options={"level": "3", "slicecrc": "1", "slices": "4"}), []
    # slower presets cost 4 times as much for a file 15 % smaller
    return Encoding("libx264rgb", "bgr24", is_rgb=True, options={"preset": "ultrafast", "qp": "0"}), []


class FrameEncoder:
    """Encodes RGB frames of one size into packets of one stream."""

    def __init__(self, container: Any, encoding: Encoding, info: ClipInfo) -> None:
        """Add the stream to an output container.

        Raises:
            OutputError: the encoder refuses this size or rate.
        """
        options = dict(encoding.options)
        if encoding.encoder.startswith("libx264"):
            # its macroblock trees differ from run to run, in one of three files of 81 frames
            options["x264-params"] = ":".join(filter(None, [options.get("x264-params"), "mbtree=0"]))
        self.stream = container.add_stream(encoding.encoder, rate=info.frame_rate, options=options)
        context = self.stream.codec_context
        context.width, context.height = info.width, info.height
        context.pix_fmt = encoding.pixel_format
        context.time_base = 1 / info.frame_rate
        # ITU-T H.273: bt709 is 1 throughout; matrix 0 is RGB, transfer 13 is sRGB; range 1 limited, 2 full
        self._tags = (1, 13 if encoding.is_rgb else 1)
        context.color_primaries, context.color_trc = self._tags
        context.colorspace = 0 if encoding.is_rgb else 1
        context.color_range = ColorRange.JPEG if encoding.is_rgb else ColorRange.MPEG
        try:
            context.open()
        except (av.error.FFmpegError, ValueError) as error:
            raise OutputError(
                f"expected frames that {encoding.encoder} can encode, got {info.width}x{info.height} at "
                f"{info.frame_rate} a second: choose codec lossless in an .mkv, prores, or images"
            ) from error
        self._encoding = encoding
        self._time_base = Fraction(1) / info.frame_rate
        self._reformatter = VideoReformatter()
        self._index = 0

    def encode(self, rgb: UInt8) -> list[Any]:
        """Encode uint8 [H, W, 3]; packets may come later."""
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb), format="rgb24")
        limited = not self._encoding.is_rgb
        frame = self._reformatter.reformat(
            frame,
            format=self._encoding.pixel_format,
            src_colorspace=Colorspace.ITU709,
            dst_colorspace=Colorspace.ITU709,
            src_color_range=ColorRange.JPEG,
            dst_color_range=ColorRange.MPEG if limited else ColorRange.JPEG,
            # averaging chroma over its area rings less at hard edges than cubic or Lanczos filters
            interpolation=Interpolation.AREA | EXACT_FLAGS,
        )
        # ProRes takes its tags from the frames, not from the encoder's context
        frame.color_primaries, frame.color_trc = self._tags
        frame.pts = self._index
        frame.time_base = self._time_base
        self._index += 1
        return self.stream.encode(frame)

    def flush(self) -> list[Any]:
        """Give the packets still held back."""
        return self.stream.encode(None)
