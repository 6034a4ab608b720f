"""Decoded frames to RGB: matrix, range, transfer, alpha, pixel shape and rotation, as the file tags them.

Separate from the reader, which knows files and time and nothing of colour.

Rules where a file does not say:
- matrix: bt601 up to 576 lines of fewer than 1280 pixels, else bt709 (mpv's rule; it fits what most tools write);
- range: full for RGB, grey and the `yuvj` formats, else limited;
- transfer and primaries: those of bt709. SDR transfers (bt601, bt709, sRGB) are shown alike by screens and pass as is.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import av
import numpy as np
from av.video.reformatter import ColorRange, Colorspace, Interpolation, VideoReformatter

from realmaster.media.color import UInt8
from realmaster.media.hdr import Transfer, to_sdr
from realmaster.media.images import over_black, square_size, to_8_bits

# codes of ITU-T H.273, as libav numbers them
_MATRICES = {
    1: ("bt709", Colorspace.ITU709),
    4: ("fcc", Colorspace.FCC),
    5: ("bt601", Colorspace.ITU601),
    6: ("bt601", Colorspace.ITU601),
    7: ("smpte240m", Colorspace.SMPTE240M),
    9: ("bt2020", Colorspace.BT2020),
    10: ("bt2020", Colorspace.BT2020),
}
_TRANSFERS: dict[int, Transfer] = {8: "linear", 16: "pq", 18: "hlg"}
_PRIMARIES = {9: "bt2020", 11: "p3", 12: "p3"}
_LIMITED, _FULL = 1, 2

EXACT_FLAGS = Interpolation.ACCURATE_RND | Interpolation.FULL_CHR_H_INT | Interpolation.FULL_CHR_H_INP
"""Without these swscale takes fast paths that are off by several levels and show chroma in blocks."""


@dataclass(frozen=True)
class FrameColor:
    """How a frame's numbers become light: names as in ffmpeg's tags."""

    matrix: str
    is_full_range: bool
    transfer: Transfer
    primaries: str
    has_alpha: bool
    is_guessed: bool  # no matrix is tagged
    has_unknown_matrix: bool  # one is tagged that this program does not know, such as YCgCo

    @classmethod
    def of(cls, frame: av.VideoFrame) -> FrameColor:
        """Read a decoded frame's tags and fill what they leave open."""
        is_rgb = frame.format.is_rgb or frame.format.name == "pal8"
        is_gray = frame.format.name.startswith(("gray", "ya", "mono"))
        guessed = "bt709" if frame.height > 576 or frame.width >= 1280 else "bt601"
        matrix = "rgb" if is_rgb else "gray" if is_gray else _MATRICES.get(frame.colorspace, (guessed,))[0]
        full_by_format = is_rgb or is_gray or frame.format.name.startswith("yuvj")
        return cls(
            matrix=matrix,
            is_full_range=full_by_format and not (is_gray and frame.color_range == _LIMITED)
            if frame.color_range != _FULL
            else True,
            transfer=_TRANSFERS.get(frame.color_trc, "sdr"),
            primaries=_PRIMARIES.get(frame.color_primaries, "bt709"),
            has_alpha=any(component.is_alpha for component in frame.format.components) or frame.format.name == "pal8",
            is_guessed=not is_rgb and not is_gray and frame.colorspace not in _MATRICES,
            has_unknown_matrix=not is_rgb and not is_gray and frame.colorspace not in (*_MATRICES, 0, 2, 3),
        )

    def __str__(self) -> str:
        """One phrase for a report: "bt601 limited (not tagged)"."""
        parts = [self.matrix, "full" if self.is_full_range else "limited"]
        parts += [self.transfer] if self.transfer != "sdr" else []
        parts += [f"{self.primaries} primaries"] if self.primaries != "bt709" else []
        return " ".join(parts) + (" (not tagged)" if self.is_guessed else "")


@dataclass(frozen=True)
class Geometry:
    """How the stored picture becomes the shown one: stretched to square pixels, then turned and flipped."""

    stored_width: int
    stored_height: int
    pixel_aspect: Fraction = Fraction(1)  # width of a pixel over its height
    quarter_turns: int = 0  # counter-clockwise, after the flip
    is_flipped: bool = False  # left to right

    @classmethod
    def of(cls, frame: av.VideoFrame, pixel_aspect: Fraction | None) -> Geometry:
        """Read a decoded frame's size and display matrix."""
        turns, flipped = _orientation(frame)
        aspect = pixel_aspect if pixel_aspect else Fraction(1)
        return cls(frame.width, frame.height, aspect, turns, flipped)

    @property
    def square_size(self) -> tuple[int, int]:
        """(width, height) with square pixels, not yet turned."""
        return square_size(self.stored_width, self.stored_height, self.pixel_aspect)

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as shown."""
        width, height = self.square_size
        return (height, width) if self.quarter_turns % 2 else (width, height)

    def upright(self, rgb: UInt8) -> UInt8:
        """Turn and flip one frame [H, W, 3]."""
        if self.is_flipped:
            rgb = rgb[:, ::-1]
        return np.rot90(rgb, self.quarter_turns) if self.quarter_turns else rgb


class FrameConverter:
    """Turns decoded frames of one stream into RGB; keeps swscale's state between frames."""

    def __init__(self, geometry: Geometry) -> None:
        """Every frame is delivered in this geometry, whatever its own size."""
        self.geometry = geometry
        self.saw_transparency = False
        self._reformatter = VideoReformatter()

    def __call__(self, frame: av.VideoFrame) -> UInt8:
        """Convert one frame to uint8 [H, W, 3], upright, square pixels, bt709 primaries, full range, over black."""
        color = FrameColor.of(frame)
        if color.transfer != "sdr" or color.primaries != "bt709":
            deep = self._rgb(frame, color, "rgba64le" if color.has_alpha else "rgb48le")
            rgb = to_sdr(deep[..., :3], color.transfer, color.primaries)
            if color.has_alpha:
                rgb = self._over_black(np.dstack([rgb, to_8_bits(deep[..., 3])]))
        elif color.has_alpha:
            rgb = self._over_black(self._rgb(frame, color, "rgba"))
        else:
            rgb = self._rgb(frame, color, "rgb24")
        return self.geometry.upright(rgb)

    def _over_black(self, rgba: UInt8) -> UInt8:
        self.saw_transparency = self.saw_transparency or bool(rgba[..., 3].min() < 255)
        return over_black(rgba)

    def _rgb(self, frame: av.VideoFrame, color: FrameColor, pixel_format: str) -> Any:
        width, height = self.geometry.square_size
        matrix = next((space for name, space in _MATRICES.values() if name == color.matrix), Colorspace.ITU709)
        # swscale takes grey for full range whatever the tag says; limited grey is stretched below
        full = color.is_full_range or color.matrix == "gray"
        converted = self._reformatter.reformat(
            frame,
            width=width,
            height=height,
            format=pixel_format,
            src_colorspace=matrix,
            dst_colorspace=matrix,
            src_color_range=ColorRange.JPEG if full else ColorRange.MPEG,
            dst_color_range=ColorRange.JPEG,
            interpolation=Interpolation.BICUBIC | EXACT_FLAGS,
        ).to_ndarray()
        if color.matrix == "gray" and not color.is_full_range:
            top = 255 if converted.dtype == np.uint8 else 65535
            stretched = (converted[..., :3].astype(np.float32) - 16 * (top / 255)) * (255 / 219)
            converted[..., :3] = np.clip(np.rint(stretched), 0, top)
        return converted


def _orientation(frame: av.VideoFrame) -> tuple[int, bool]:
    """Read the display matrix: (quarter turns counter-clockwise after the flip, is flipped left to right)."""
    try:
        side_data = next((data for data in frame.side_data if data.type.name == "DISPLAYMATRIX"), None)
    except ValueError:  # a kind of side data that PyAV has no name for, such as Exif, hides all others
        return int(np.rint(frame.rotation / 90)) % 4, False
    if side_data is None:
        return 0, False
    a, b, _, c, d = np.frombuffer(bytes(side_data), np.int32)[:5].astype(np.int64)
    # libav's matrix maps (x, y) to (a x + c y, b x + d y) with y downwards
    flipped = a * d - b * c < 0
    if flipped:
        a, b = -a, -b  # the matrix is a turn applied after mirroring x
    angle = np.degrees(np.arctan2(-b, a))  # counter-clockwise as seen, y being downwards
    return int(np.rint(angle / 90)) % 4, bool(flipped)
