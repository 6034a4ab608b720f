"""`FromFolder`: keyframes edited by hand or by another tool, found again by what they show.

Separate because it needs no model. A keyframe is named by the hash of its pixels, so that a folder of edits serves
every clip and machine, and an edit can never be taken for another frame's.

    folder/to_edit/3f9a0c….png     written by the first run, with the prompt beside it (….txt)
    folder/edited/3f9a0c….png      put there by you, under the same name
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError, RealMasterError
from realmaster.media.output import temporary

Frames = npt.NDArray[np.uint8]
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff")


class EditMissingError(RealMasterError):
    """A keyframe that nobody has edited yet; it lies in the folder, to be edited."""


class FromFolder:
    """Edits made elsewhere: it asks for what is missing by writing the keyframes down."""

    def __init__(self, folder: Path | str) -> None:
        """Use the folder, which is made when the first keyframe has to be written."""
        self.folder = Path(folder)
        self.name = "folder"

    def describe(self) -> dict[str, Any]:
        """Name the kind alone: an edit is known by the pixels it was made of, wherever the folder lies."""
        return {"editor": self.name}

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        """Give the edits of keyframes uint8 [N, H, W, 3]; `seed` has no effect.

        Raises:
            EditMissingError: some are not there; all of them were written to `to_edit` first.
            MediaError: an edit cannot be read, or is of another size.
        """
        missing = [frame for frame in frames if self._find(frame) is None]
        if missing:
            names = [self._write(frame, prompt) for frame in missing]
            raise EditMissingError(
                f"expected {len(names)} more edits in {self.folder / 'edited'}, {names[0]} first: edit the pictures in "
                f"{self.folder / 'to_edit'}, save them there under the same names, and run again"
            )
        return np.stack([self._read(frame) for frame in frames])

    def _find(self, frame: Frames) -> Path | None:
        name = name_keyframe(frame)
        return next(
            (path for suffix in SUFFIXES if (path := self.folder / "edited" / f"{name}{suffix}").is_file()), None
        )

    def _read(self, frame: Frames) -> Frames:
        path = self._find(frame)
        assert path is not None, "the edit was there a moment ago"
        edited = cv2.imread(str(path), cv2.IMREAD_COLOR)
        if edited is None:
            raise MediaError(f"{path}: expected an edited keyframe, could not read it: save it again")
        if edited.shape != frame.shape:
            raise MediaError(
                f"{path}: expected an edit of {frame.shape[1]}x{frame.shape[0]} pixels as its keyframe has, got "
                f"{edited.shape[1]}x{edited.shape[0]}: save it at that size"
            )
        return np.ascontiguousarray(edited[..., ::-1], dtype=np.uint8)

    def _write(self, frame: Frames, prompt: str) -> str:
        name = name_keyframe(frame)
        path = self.folder / "to_edit" / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        (self.folder / "edited").mkdir(exist_ok=True)
        if not path.is_file():
            done, stored = cv2.imencode(".png", np.ascontiguousarray(frame[..., ::-1]))
            assert done, "a frame of bytes can be stored"
            with temporary(path.with_suffix(".txt")) as part:
                part.write_text(prompt + "\n", encoding="utf-8")
            with temporary(path) as part:
                part.write_bytes(stored.tobytes())
        return path.name


def name_keyframe(frame: Frames) -> str:
    """Name a keyframe uint8 [H, W, 3] by its size and pixels: 20 hexadecimal digits."""
    return hashlib.sha256(f"{frame.shape}".encode() + np.ascontiguousarray(frame).tobytes()).hexdigest()[:20]
