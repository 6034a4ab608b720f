"""Single images: read as 8-bit RGB, written as PNG or JPEG.

Separate from sequences, which know order and time. Pillow reads, because it refuses damaged files without noise;
OpenCV encodes, because it is faster; EXR, which neither of them knows, is read by `exr.py`.

- 16-bit images are rounded to 8 bits; grey becomes RGB; transparent images are laid over black.
- Of a file with several pictures the first is taken, and this is said.
- EXR (16 or 32-bit float) is taken for scene-linear light, brought to bt709 primaries where the file names others,
  clipped at 1, encoded as sRGB. Its colours are premultiplied by convention, so over black they stand as they are.
- A colour profile other than sRGB is not applied, and this is said.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
from PIL import ExifTags, Image, ImageOps

from realmaster.errors import MediaError, OutputError
from realmaster.media.color import Array, UInt8, linear_to_srgb_uint8, to_bt709_matrix
from realmaster.media.exr import exr_size, read_exr
from realmaster.media.icc import profile_note
from realmaster.media.output import temporary

READABLE = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".exr")
WRITABLE = (".png", ".jpg", ".jpeg", ".webp", ".bmp")

TRANSPARENT = "the clip is transparent in places: it was laid over black and alpha was dropped"

_JPEG_QUALITY = 95
_LONGEST_SIDES = {".webp": 16383, ".jpg": 65500, ".jpeg": 65500}
_MAX_HALF = 65504  # the largest 16-bit float


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
            # cameras and phones add a second view, a preview or a gain map to a JPEG (MPO): nothing moves in it
            what = "holds several pictures" if image.format == "MPO" else "is animated"
            notes.append(f"an image {what}: its first picture was taken")
        if note := profile_note(image.info.get("icc_profile")):
            notes.append(note)
        if image.mode.startswith("I;16") or _is_png_of_16_bits(path):
            image.load()  # finds damage without the noise that OpenCV makes on it
            rgb, is_transparent = _read_16_bits(path, image.info.get("transparency"))
            turned = Image.fromarray(rgb)
            turned.info = image.info  # where Pillow looks for the orientation
            rgb = np.asarray(ImageOps.exif_transpose(turned))
            return rgb, (*notes, TRANSPARENT) if is_transparent else tuple(notes)
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
        return square_size(*exr_size(path))
    with _opened(path) as image:
        # asking a PNG for Exif that was not found in front of its pixels would decode them
        exif = image.getexif() if "exif" in image.info else {}
        is_turned = exif.get(ExifTags.Base.Orientation, 1) in (5, 6, 7, 8)
        return (image.height, image.width) if is_turned else image.size


def square_size(width: int, height: int, pixel_aspect: Fraction | float) -> tuple[int, int]:
    """Give (width, height) with square pixels: the short axis is stretched, so no detail is lost."""
    if pixel_aspect >= 1:
        return max(1, round(width * pixel_aspect)), height
    return width, max(1, round(height / pixel_aspect))


def over_black(rgba: UInt8) -> UInt8:
    """Lay RGBA [H, W, 4], colours not premultiplied, over black: RGB [H, W, 3]."""
    alpha = rgba[..., 3:]
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    return ((rgba[..., :3].astype(np.uint16) * alpha + 127) // 255).astype(np.uint8)


def to_8_bits(values: Array) -> UInt8:
    """Round uint16 of any shape to uint8: 65535 becomes 255."""
    return ((values.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)


def write_image(path: str | Path, image: UInt8) -> None:
    """Write uint8 RGB [H, W, 3] (or grey [H, W]) as PNG, JPEG, WebP or BMP, by the name's ending; replaces a file.

    Raises:
        OutputError: unknown ending, a size that this kind cannot hold, or the file cannot be written.
    """
    path = Path(path)
    data = encode_image(image, path.suffix)
    with temporary(path) as part:
        part.write_bytes(data)


def encode_image(image: UInt8, suffix: str) -> bytes:
    """Encode uint8 RGB [H, W, 3] (or grey [H, W]) in the format of a file name's ending such as ".png".

    Raises:
        OutputError: unknown ending, or a size that this kind cannot hold.
    """
    if suffix.lower() not in WRITABLE:
        raise OutputError(f"expected an image name ending in {', '.join(WRITABLE)}, got {suffix!r}: rename the output")
    check_fits(suffix, image.shape[1], image.shape[0])
    # PNG as OpenCV has it by default: 32 ms for 832x480, and smaller than at zlib's level 4, which costs 67 ms
    options = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if suffix.lower() in (".jpg", ".jpeg") else []
    is_encoded, data = cv2.imencode(suffix, image[..., ::-1] if image.ndim == 3 else image, options)
    if not is_encoded:
        raise OutputError(
            f"expected a picture that can be stored as {suffix}, the encoder refused {image.shape[1]}x{image.shape[0]} "
            "pixels: choose .png"
        )
    return bytes(data)


def check_fits(suffix: str, width: int, height: int) -> None:
    """Refuse a size that images of this ending cannot hold.

    Raises:
        OutputError: a side is too long.
    """
    longest = _LONGEST_SIDES.get(suffix.lower())
    if longest is not None and max(width, height) > longest:
        raise OutputError(
            f"expected sides of at most {longest} pixels for {suffix} images, got {width}x{height}: choose .png"
        )


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


def _read_16_bits(path: Path, transparent: object) -> tuple[UInt8, bool]:
    """Read RGB [H, W, 3] over black, and whether anything is transparent.

    Args:
        path: a PNG.
        transparent: the grey level that stands for nothing there; OpenCV knows it in colour, but not in grey.
    """
    pixels = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
    assert pixels is not None, "Pillow has just read it"
    if pixels.ndim == 2:
        holes = pixels == transparent if isinstance(transparent, int) else np.zeros(pixels.shape, bool)
        return np.repeat(to_8_bits(np.where(holes, 0, pixels))[..., None], 3, axis=2), bool(holes.any())
    is_transparent = pixels.shape[2] == 4 and bool(pixels[..., 3].min() < 65535)
    pixels = to_8_bits(pixels)
    if pixels.shape[2] == 4:
        return over_black(np.ascontiguousarray(pixels[..., (2, 1, 0, 3)])), is_transparent
    return np.ascontiguousarray(pixels[..., ::-1]), False


def _read_exr(path: Path) -> tuple[UInt8, tuple[str, ...]]:
    linear, alpha, pixel_aspect, chromaticities = read_exr(path)
    notes = []
    if alpha is not None and alpha.min() < 1:
        notes.append(TRANSPARENT)
    if np.isnan(linear).any():
        linear = np.nan_to_num(linear, nan=0.0)
        notes.append("the EXR images hold values that are no numbers: they were shown black")
    matrix = None if chromaticities is None else to_bt709_matrix(chromaticities)
    if matrix is not None:
        linear = np.clip(linear, -_MAX_HALF, _MAX_HALF) @ matrix.T  # infinities would become no numbers
        notes.append(
            "the EXR images have primaries other than bt709: they were brought to bt709, colours outside were clipped"
        )
    height, width = linear.shape[:2]
    size = square_size(width, height, pixel_aspect)
    if size != (width, height):
        linear = cv2.resize(np.clip(linear, -_MAX_HALF, _MAX_HALF), size, interpolation=cv2.INTER_LINEAR)
        notes.append(
            f"pixels are not square ({pixel_aspect:g}): frames were stretched from {width}x{height} to "
            f"{size[0]}x{size[1]}"
        )
    if linear.max() > 1:
        notes.append("the EXR images hold light brighter than 1: it was clipped to white")
    return linear_to_srgb_uint8(linear), tuple(notes)
