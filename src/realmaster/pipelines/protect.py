"""Masks of what stays as rendered: a HUD, text, a hero prop.

Separate because a mask comes as an image, a clip, or a segmentation with ids, and the translator wants weights.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.media.reader import open_clip

Weights = npt.NDArray[np.float32]


def split_ids(mask: str | Path) -> tuple[Path, frozenset[int] | None]:
    """Split "seg.png#3,17" into the path and the ids; a name without ids is a mask (white stays as rendered).

    Raises:
        MediaError: the ids are no whole numbers from 0 to 255.
    """
    name = str(mask)
    path, mark, ids = name.rpartition("#")
    if not mark or Path(name).exists():
        return Path(name), None
    try:
        numbers = frozenset(int(part) for part in ids.split(","))
    except ValueError:
        numbers = frozenset([-1])
    if not all(0 <= number <= 255 for number in numbers):
        raise MediaError(f"{name}: expected ids as whole numbers from 0 to 255 after '#', got {ids!r}: write MASK#3,17")
    return Path(path), numbers


def open_mask(
    mask: str | Path, *, width: int, height: int, frame_rate: Fraction, start_seconds: float
) -> Iterator[Weights]:
    """Give, frame by frame, how much of the translation each pixel takes: [H, W] in 0..1, 0 where protected.

    An image serves every frame; a clip is read along with the input from the same start, and its last frame serves
    what comes after its end.

    Raises:
        MediaError: the mask cannot be read.
    """
    path, ids = split_ids(mask)
    is_image = path.is_file() and path.suffix.lower() in {".png", ".jpg", ".jpeg", ".bmp", ".webp"}
    weights: Weights | None = None
    begin = 0.0 if is_image else start_seconds
    with open_clip(path, start_seconds=begin, frame_rate=None if is_image else frame_rate) as clip:
        for chunk in clip.chunks(8):
            for frame in chunk:
                weights = _weights(frame, ids, width, height)
                if is_image:
                    break
                yield weights
    if weights is None:
        raise MediaError(f"{path}: expected a mask with frames, found none: check --protect")
    while True:
        yield weights


def _weights(frame: npt.NDArray[np.uint8], ids: frozenset[int] | None, width: int, height: int) -> Weights:
    if ids is not None:
        kept = np.isin(frame[..., 0], list(ids)).astype(np.float32)
        kept = cv2.resize(kept, (width, height), interpolation=cv2.INTER_NEAREST)
    else:
        kept = frame.astype(np.float32).mean(axis=2) / 255
        if kept.shape != (height, width):
            kept = cv2.resize(kept, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(1 - kept, dtype=np.float32)
