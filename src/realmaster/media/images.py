"""Single images: read as 8-bit RGB, written as PNG or JPEG.

Separate from sequences, which know order and time. OpenCV reads what it can; EXR goes through PyAV's decoder.

- 16-bit images are rounded to 8 bits; grey becomes RGB; transparent images are laid over black.
- EXR (16 or 32-bit float) is taken for scene-linear light with bt709 primaries: clipped at 1, encoded as sRGB. Its
  colours are premultiplied by convention, so over black they stand as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from realmaster.errors import MediaError, OutputError
from realmaster.media.color import Float32, UInt8, linear_to_srgb_uint8
from realmaster.media.output import temporary

READABLE = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".exr")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

_JPEG_QUALITY = 95
_PNG_COMPRESSION = 3  # of 9; at 832x480 level 3 costs 15 ms a frame, level 9 150 ms for 5 % less


def read_image(path: str | Path) -> UInt8:
    """Read an image as uint8 RGB [H, W, 3], upright.

    Raises:
        MediaError: the file is missing, of another kind, or damaged.
    """
    rgb, _ = read_image_and_notes(Path(path))
    return rgb


def read_image_and_notes(path: Path) -> tuple[UInt8, tuple[str, ...]]:
    """Read an image, and say what was dropped in doing so.

    Raises:
        MediaError: the file is missing, of another kind, or damaged.
    """
    if path.suffix.lower() not in READABLE:
        raise MediaError(f"{path}: expected an image ({', '.join(READABLE)}): convert it to PNG")
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    try:
        data = np.frombuffer(path.read_bytes(), np.uint8)
    except OSError as error:
        raise MediaError(f"{path}: expected an image, could not read it ({error.strerror}): check the path") from error
    # IMREAD_UNCHANGED keeps alpha and 16 bits but ignores a photograph's orientation
    flags = cv2.IMREAD_COLOR if path.suffix.lower() in (".jpg", ".jpeg") else cv2.IMREAD_UNCHANGED
    try:
        pixels = cv2.imdecode(data, flags) if data.size else None
    except cv2.error:
        pixels = None
    if pixels is None:
        raise MediaError(f"{path}: expected an image, it is damaged or of another kind: export this frame again")
    return _to_rgb(pixels)


def write_image(path: str | Path, image: UInt8) -> None:
    """Write uint8 RGB [H, W, 3] (or grey [H, W]) as PNG, JPEG, WebP or BMP, by the name's ending; replaces a file.

    Raises:
        OutputError: unknown ending, or the file cannot be written.
    """
    path = Path(path)
    data = encode_image(image, path.suffix)
    with temporary(path) as part:
        part.write_bytes(data)


def encode_image(image: UInt8, suffix: str) -> bytes:
    """Encode uint8 RGB [H, W, 3] (or grey [H, W]) in the format of a file name's ending such as ".png".

    Raises:
        OutputError: unknown ending.
    """
    if suffix.lower() not in WRITABLE:
        raise OutputError(f"expected an image name ending in {', '.join(WRITABLE)}, got {suffix!r}: rename the output")
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY, cv2.IMWRITE_PNG_COMPRESSION, _PNG_COMPRESSION]
    options = {".png": options[2:], ".jpg": options[:2], ".jpeg": options[:2]}.get(suffix.lower(), [])
    _, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, options)
    return bytes(data)


def _to_rgb(pixels: Any) -> tuple[UInt8, tuple[str, ...]]:
    """Bring OpenCV's grey, BGR or BGRA of 8, 16 or 32 bits to 8-bit RGB."""
    notes: list[str] = []
    if pixels.dtype == np.uint16:
        pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.ndim == 2 or pixels.shape[2] == 1:
        return np.repeat(pixels.reshape(*pixels.shape[:2], 1), 3, axis=2), ()
    if pixels.shape[2] == 4:
        alpha = pixels[..., 3:]
        if alpha.min() < 255:
            notes.append(TRANSPARENT)
            pixels = ((pixels[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)
    return np.ascontiguousarray(pixels[..., 2::-1]), tuple(notes)


TRANSPARENT = "the clip is transparent in places: it was laid over black and alpha was dropped"


def _read_exr(path: Path) -> tuple[UInt8, tuple[str, ...]]:
    try:
        with av.open(f"file:{path.absolute()}", options={"protocol_whitelist": "file"}) as container:
            planes = _float_planes(next(container.decode(video=0)))
    except (av.error.FFmpegError, StopIteration, ValueError, IndexError) as error:
        reason = getattr(error, "strerror", None) or "no picture in it"
        message = f"{path}: expected an EXR image, could not read it ({reason}): export this frame again"
        raise MediaError(message) from error
    notes = []
    if len(planes) in (2, 4) and planes[-1].min() < 1:
        notes.append(TRANSPARENT)
    # libav's order of planes is green, blue, red
    linear = np.stack([planes[2], planes[0], planes[1]] if len(planes) > 2 else [planes[0]] * 3, axis=-1)
    if np.isnan(linear).any():
        linear = np.nan_to_num(linear, nan=0.0)
        notes.append("the EXR images hold values that are no numbers: they were shown black")
    if linear.max() > 1:
        notes.append("the EXR images hold light brighter than 1: it was clipped to white")
    return linear_to_srgb_uint8(linear), tuple(notes)


def _float_planes(frame: av.VideoFrame) -> list[Float32]:
    """Take a decoded EXR's planes as float32 [H, W] each."""
    stored = np.float16 if "f16" in frame.format.name else np.float32
    size = np.dtype(stored).itemsize
    return [
        np.frombuffer(plane, stored).reshape(plane.height, plane.line_size // size)[:, : plane.width].astype(np.float32)
        for plane in frame.planes
    ]
