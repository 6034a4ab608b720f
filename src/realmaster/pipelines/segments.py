"""Segmentations: the number of the segment at each pixel, as images, videos or RealMaster's own labels hold it.

Separate from `protect`, which makes weights of them: a number is a name, so it is read as it is stored, never as a
colour. Palette images give the palette's index; 16-bit images and labels all 16 bits.
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from realmaster.errors import MediaError
from realmaster.media.exr import read_exr
from realmaster.media.images import READABLE
from realmaster.media.sequences import find_images, is_pattern, number_gaps
from realmaster.pipelines.lossless import refuse_lossy_image

Segments = npt.NDArray[Any]

IMAGES = (*READABLE, ".tif", ".tiff")
"""Endings of single images that can be a mask."""

MAX_ID = 65535


def find_segmentations(path: Path) -> tuple[list[Path], list[str]]:
    """List the files of a segmentation in order, one a frame (a single one serves all); none if it is a video.

    Returns:
        The files, and warnings about missing numbers.

    Raises:
        MediaError: an empty folder, a pattern that nothing fits, or images of several kinds.
    """
    if path.is_file():
        return [path] if path.suffix.lower() in (*IMAGES, ".npz") else [], []
    if path.is_dir():
        labels = sorted(path.glob("*.npz"), key=lambda file: (len(file.name), file.name))
        return (labels, number_gaps(labels)) if labels else find_images(path)
    return find_images(path) if is_pattern(path) else ([], [])


def read_segments(path: Path) -> Segments:
    """Read one segmentation: whole numbers [H, W].

    Raises:
        MediaError: the file cannot be read, is of a lossy kind, or its colours are no numbers of segments.
    """
    refuse_lossy_image(path)
    try:
        if path.suffix.lower() == ".npz":
            return _read_labels(path)
        if path.suffix.lower() == ".exr":
            return one_channel(np.rint(read_exr(path).linear), path).astype(np.int64)
        with Image.open(path) as image:
            if image.mode.startswith("I;16") or image.mode not in ("P", "L", "I", "1"):
                stored = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_UNCHANGED)
                image.load()  # finds damage, which OpenCV shows as black
                if stored is not None:
                    return one_channel(stored, path)
            return one_channel(np.asarray(ImageOps.exif_transpose(image)), path)
    except (OSError, ValueError, SyntaxError, EOFError, zipfile.BadZipFile, Image.DecompressionBombError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0].replace(str(path), "file")
        raise MediaError(f"{path}: expected a segmentation, could not read it ({reason}): export it again") from error


def _read_labels(path: Path) -> Segments:
    with np.load(path) as labels:
        if "segmentation" not in labels:
            raise MediaError(
                f"{path}: expected labels with a segmentation, found {', '.join(labels.files) or 'none'}: render them "
                "with --passes segmentation"
            )
        stored = labels["segmentation"]
    if stored.ndim != 2 or not np.issubdtype(stored.dtype, np.integer):
        raise MediaError(f"{path}: expected whole numbers [H, W], got {stored.dtype} {stored.shape}: render it again")
    return np.asarray(stored)


def one_channel(stored: Segments, path: Path) -> Segments:
    """Take the numbers [H, W] of an image [H, W] or [H, W, C], whose last channel of 2 or 4 is alpha.

    Raises:
        MediaError: the channels of colour differ.
    """
    if stored.ndim == 2:
        return stored.astype(np.uint8) if stored.dtype == np.bool_ else stored
    first = stored[..., 0]
    for channel in range(1, 3 if stored.shape[2] > 2 else 1):
        if (stored[..., channel] != first).any():
            raise MediaError(
                f"{path}: expected the ids in one channel (a grey or palette image), got colours: export the ids "
                "themselves, or give a mask whose white is protected"
            )
    return first
