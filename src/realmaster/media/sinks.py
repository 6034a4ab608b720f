"""Where frames go: a video file or a folder of images, each under a temporary name until it is whole.

Separate from the writer, which checks, counts and cleans up and does not care which of the two it fills.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av

from realmaster.errors import OutputError
from realmaster.media.audio import AudioCarrier
from realmaster.media.color import UInt8
from realmaster.media.encode import MUXERS, Encoding, FrameEncoder
from realmaster.media.images import READABLE, WRITABLE, encode_image
from realmaster.media.output import check_output, remove, temporary_path
from realmaster.media.sequences import COUNTER
from realmaster.types import ClipInfo


class Sink(Protocol):
    """Takes frames; `part` becomes `target` when all is written."""

    part: Path
    target: Path
    warnings: list[str]

    def write(self, frame: UInt8) -> None:
        """Append one frame, uint8 [H, W, 3]."""

    def finish(self) -> None:
        """Write what is held back and close the temporary file."""

    def drop(self) -> None:
        """Close and remove the temporary file, whatever state it is in."""


class VideoSink:
    """A video file being written."""

    def __init__(
        self, path: Path, encoding: Encoding, info: ClipInfo, *, audio_from: Path | None, audio_start: Fraction
    ) -> None:
        """Begin the temporary file.

        Raises:
            OutputError: the encoder refuses this size or rate.
            MediaError: the sound's file is no media file.
            OSError, av.error.FFmpegError: the file cannot be written.
        """
        self.target = path
        self.part = temporary_path(path)
        self.warnings: list[str] = []
        muxer = MUXERS[path.suffix.lower()]
        # the index goes to the front, so that a browser can begin to play; matroska has no such choice
        options = {"movflags": "+faststart"} if muxer != "matroska" else {}
        options["fflags"] = "+bitexact"  # no random ids: the same frames give the same bytes
        self._container = av.open(f"file:{self.part}", "w", format=muxer, container_options=options)
        self._audio: AudioCarrier | None = None
        self._rate = info.frame_rate
        self._index = 0
        try:
            self._encoder = FrameEncoder(self._container, encoding, info)
            if audio_from is not None:
                self._audio = AudioCarrier(audio_from, self._container, muxer, audio_start)
                self.warnings = self._audio.warnings  # grows while sound is read
            self._container.start_encoding()  # opens the file now: what cannot be written is said before the work
        except BaseException:
            self.drop()
            raise

    def write(self, frame: UInt8) -> None:
        """Encode one frame, and carry the sound up to its end."""
        self._container.mux(self._encoder.encode(frame))
        self._index += 1
        if self._audio is not None:
            self._audio.advance(self._index / self._rate)

    def finish(self) -> None:
        """Flush the encoders and write the file's index."""
        self._container.mux(self._encoder.flush())
        if self._audio is not None:
            self._audio.finish(self._index / self._rate)
            self._audio.close()
        self._container.close()

    def drop(self) -> None:
        """Remove the temporary file."""
        with suppress(av.error.FFmpegError, OSError, ValueError):  # the file is thrown away
            if self._audio is not None:
                self._audio.close()
            self._container.close()
        remove(self.part)


class ImageSink:
    """A folder of images being written."""

    warnings: list[str]

    def __init__(self, path: Path, *, overwrite: bool, inputs: Iterable[str | Path]) -> None:
        """Begin the temporary folder.

        Raises:
            OutputError: see `check_images_output`.
            OSError: the folder cannot be written.
        """
        self.target, self._name = check_images_output(path, overwrite=overwrite, inputs=inputs)
        self.part = temporary_path(self.target)
        self.warnings = []
        self._index = 0
        self.part.mkdir()

    def write(self, frame: UInt8) -> None:
        """Write one image, numbered from 0."""
        data = encode_image(frame, Path(self._name).suffix)
        (self.part / (self._name % self._index)).write_bytes(data)
        self._index += 1

    def finish(self) -> None:
        """Do nothing: every image is whole already."""

    def drop(self) -> None:
        """Remove the temporary folder."""
        remove(self.part)


def check_images_output(path: Path, *, overwrite: bool, inputs: Iterable[str | Path]) -> tuple[Path, str]:
    """Refuse a folder that cannot become an image sequence; give the folder and the images' name pattern.

    A folder that holds anything but images is never replaced: it is no earlier output. An empty one always may be.

    Raises:
        OutputError: see `check_output`; an ending that is no image's; or a folder with other things in it.
    """
    folder, name = (path.parent, path.name) if COUNTER.search(path.name) else (path, "frame_%06d.png")
    if path.suffix.lower() in MUXERS:
        raise OutputError(
            f"{path}: expected a folder for images, got the name of a video: drop the ending {path.suffix}"
        )
    if folder == path and path.suffix.lower() in READABLE:
        raise OutputError(
            f"{path}: expected a folder for images or a pattern such as {path.stem}_%04d{path.suffix}, got the name of "
            "one image: give one of these"
        )
    suffix = Path(name).suffix
    if suffix.lower() not in WRITABLE:
        raise OutputError(f"{path}: expected images ending in {', '.join(WRITABLE)}, got {suffix!r}: rename them")
    is_empty = folder.is_dir() and not any(folder.iterdir())
    check_output(folder, overwrite=overwrite or is_empty, inputs=inputs)
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder to replace, found a file: choose another name")
    for file in folder.iterdir() if folder.is_dir() else ():
        if not file.is_file() or file.suffix.lower() not in WRITABLE:
            raise OutputError(f"{folder}: expected only images to replace, found {file.name}: choose another folder")
    return folder, name
