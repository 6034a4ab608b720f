"""The labels of a render (`realmaster render --passes`), read frame by frame at the size that is measured at.

Separate from the metrics because labels are resized by their own rules: no instance may be averaged with its
neighbour, and a flow grows with the picture.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError

Label = Literal["segmentation", "depth", "flow"]
Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Labels:
    """A folder of `NNNN.npz` from 0000, one a frame; `size` is (height, width) of what is given."""

    folder: Path
    size: tuple[int, int]

    def has(self, label: Label) -> bool:
        """Tell whether the first frame holds a label."""
        return self.frame(label, 0) is not None

    def frame(self, label: Label, index: int) -> Array | None:
        """Read a label of one frame, [H, W] or [H, W, 2]; None where there is no such frame or label.

        Raises:
            MediaError: the file is no frame of labels.
        """
        file = self.folder / f"{index:04d}.npz"
        if not file.is_file():
            return None
        try:
            with np.load(file, allow_pickle=False) as arrays:
                if label not in arrays:
                    return None
                array = arrays[label]
        except (OSError, ValueError, zipfile.BadZipFile) as error:
            raise MediaError(
                f"{file}: expected labels (.npz), could not read them ({error}): render them again"
            ) from error
        height, width = array.shape[:2]
        if (height, width) == self.size:
            return np.asarray(array)
        rows = ((np.arange(self.size[0]) + 0.5) * height / self.size[0]).astype(int)
        columns = ((np.arange(self.size[1]) + 0.5) * width / self.size[1]).astype(int)
        nearest = np.asarray(array[rows[:, None], columns[None, :]])
        if label == "flow":
            return nearest * np.array([self.size[1] / width, self.size[0] / height], nearest.dtype)
        return nearest


def boundaries(segmentation: Array) -> npt.NDArray[np.bool_]:
    """Return the pixels beside another instance: [H, W] to bool [H, W], both sides of each border."""
    return _both_sides(segmentation[:, 1:] != segmentation[:, :-1], segmentation[1:] != segmentation[:-1])


def depth_edges(depth: Array, ratio: float = 1.1) -> npt.NDArray[np.bool_]:
    """Return the pixels beside a jump in depth: metres [H, W], infinite for the sky, to bool [H, W].

    A jump is a ratio of 1.1 between neighbours; slanted surfaces stay below it. Between sky and sky there is none.
    """
    near = 1.0 / np.maximum(depth.astype(np.float64), 1e-6)  # the sky's is 0

    def jumps(a: Array, b: Array) -> Array:
        return np.maximum(a, b) > ratio * np.minimum(a, b)

    return _both_sides(jumps(near[:, 1:], near[:, :-1]), jumps(near[1:], near[:-1]))


def _both_sides(across: Array, down: Array) -> npt.NDArray[np.bool_]:
    found = np.zeros((across.shape[0], down.shape[1]), np.uint8)
    found[:, 1:] |= across
    found[:, :-1] |= across
    found[1:] |= down
    found[:-1] |= down
    return found > 0


def grown(mask: npt.NDArray[np.bool_], pixels: int) -> npt.NDArray[np.bool_]:
    """Grow a mask by some pixels along each axis."""
    side = 2 * pixels + 1
    return np.asarray(cv2.dilate(mask.astype(np.uint8), np.ones((side, side), np.uint8))) > 0
