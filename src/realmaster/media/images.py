"""Single images: read as 8-bit RGB, written as PNG or JPEG.

Separate from sequences, which know order and time. Pillow reads, because it refuses damaged files without noise;
OpenCV encodes, because it is faster; EXR, which neither of them knows, is read by `exr.py`.

- 16-bit images are rounded to 8 bits; grey becomes RGB; transparent images are laid over black.
- EXR (16 or 32-bit float) is taken for scene-linear light with bt709 primaries: clipped at 1, encoded as sRGB. Its
  colours are premultiplied by convention, so over black they stand as they are.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from realmaster.errors import MediaError, OutputError
from realmaster.media.color import UInt8, linear_to_srgb_uint8
from realmaster.media.exr import exr_size, read_exr
from realmaster.media.output import temporary

READABLE = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".exr")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

TRANSPARENT = "the clip is transparent in places: it was laid over black and alpha was dropped"

_JPEG_QUALITY = 95


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
    _check_kind(path)
    if path.suffix.lower() == ".exr":
        return _read_exr(path)
    with _opened(path) as image:
        notes = []
        if getattr(image, "n_frames", 1) > 1:
            notes.append("an image is animated: its first picture was taken")
        if image.mode.startswith("I;16") or _is_png_of_16_bits(path):
            image.load()  # finds damage without the noise that OpenCV makes on it
            return _read_16_bits(path), tuple(notes)
        upright = ImageOps.exif_transpose(image)
        if not upright.has_transparency_data:
            return np.asarray(upright.convert("RGB")), tuple(notes)
        rgba = np.asarray(upright.convert("RGBA"))
        if rgba[..., 3].min() < 255:
            notes.append(TRANSPARENT)
        return over_black(rgba), tuple(notes)


def image_size(path: Path) -> tuple[int, int]:
    """Read an image's (width, height) as shown, from its header alone.

    Raises:
        MediaError: the file is missing, of another kind, or damaged at its beginning.
    """
    _check_kind(path)
    if path.suffix.lower() == ".exr":
        return exr_size(path)
    with _opened(path) as image:
        # asking a PNG for Exif that was not found in front of its pixels would decode them
        exif = image.getexif() if "exif" in image.info else {}
        is_turned = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        return (image.height, image.width) if is_turned else image.size


def over_black(rgba: UInt8) -> UInt8:
    """Lay RGBA [H, W, 4], colours not premultiplied, over black: RGB [H, W, 3]."""
    alpha = rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


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
    # PNG as OpenCV has it by default: 32 ms for 832x480, and smaller than at zlib's level 4, which costs 67 ms
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix.lower() in (".jpg", ".jpeg") else []
    _, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, options)
    return bytes(data)


def _check_kind(path: Path) -> None:
    if path.suffix.lower() not in READABLE:
        raise MediaError(f"{path}: expected an image ({', '.join(READABLE)}), got another kind: convert it to PNG")


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    """Open an image with Pillow, and turn every failure until the block's end into a MediaError."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large frames are wanted here
            with Image.open(path) as image:
                yield image
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].replace(str(path), "file")
        raise MediaError(
            f"{path}: expected an image, could not read it ({reason}): check the path or export this frame again"
        ) from error


def _is_png_of_16_bits(path: Path) -> bool:
    # Pillow drops the low byte of 16-bit colour without a word; byte 24 of a PNG is its bit depth
    with path.open("rb") as file:
        header = file.read(25)
    return header[:4] == b"\x89PNG" and header[24] == 16


def _read_16_bits(path: Path) -> UInt8:
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, "Pillow has just read it"
    pixels = ((pixels.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 4:
        return over_black(np.ascontiguousarray(pixels[..., (2, 1, 0, 3)]))
    return np.ascontiguousarray(pixels[..., ::-1])


def _read_exr(path: Path) -> tuple[UInt8, tuple[str, ...]]:
    linear, alpha = read_exr(path)
    notes = []
    if alpha is not None and alpha.min() < 1:
        notes.append(TRANSPARENT)
    if np.isnan(linear).any():
        linear = np.nan_to_num(linear, nan=0.0)
        notes.append("the EXR images hold values that are no numbers: they were shown black")
    if linear.max() > 1:
        notes.append("the EXR images hold light brighter than 1: it was clipped to white")
    return linear_to_srgb_uint8(linear), tuple(notes)
