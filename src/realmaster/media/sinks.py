"""Where frames go: what a writer fills, and a video file, under a temporary name until it is whole.

Separate from the writer, which checks, counts and cleans up and does not care whether it fills a video or images.
"""

from __future__ import annotations

from contextlib import suppress
from fractions import Fraction
from pathlib import Path
from typing import Protocol

import av

from realmaster.media.audio import AudioCarrier
from realmaster.media.color import UInt8
from realmaster.media.encode import MUXERS, Encoding, FrameEncoder
from realmaster.media.images import READABLE
from realmaster.media.output import leftovers, put_in_place, remove, temporary_path
from realmaster.media.probe import picture_start
from realmaster.media.tags import TagCarrier
from realmaster.media.timing import Clock
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

    def place(self, *, overwrite: bool) -> None:
        """Give what is finished its name."""

    def drop(self) -> None:
        """Close and remove the temporary file, whatever state it is in."""


class VideoSink:
    """A video file being written."""

    def __init__(
        self,
        path: Path,
        encoding: Encoding,
        info: ClipInfo,
        *,
        audio_from: Path | None,
        audio_start: Fraction,
        tags_from: Path | None = None,
    ) -> None:
        """Begin the temporary file; sound, tags and chapters begin with the frame shown at `audio_start`.

        Raises:
            OutputError: the encoder refuses this size or rate.
            MediaError: the sound's file is no media file.
            OSError, av.error.FFmpegError: the file cannot be written.
        """
        self.target = path
        self.part = temporary_path(path)
        self.warnings: list[str] = []
        left = leftovers(path)
        self._muxer = muxer = MUXERS[path.suffix.lower()]
        # the index goes to the front, so that a browser can begin to play; matroska has no such choice
        options = {"movflags": "+faststart"} if muxer != "matroska" else {}
        options["fflags"] = "+bitexact"  # no random ids: the same frames give the same bytes
        self._container = av.open(f"file:{self.part}", "w", format=muxer, container_options=options)
        self._audio: AudioCarrier | None = None
        self._tags: TagCarrier | None = None
        self._rate = info.frame_rate
        self._index = 0
        try:
            self._encoder = FrameEncoder(self._container, encoding, info)
            clock = Clock(info.frame_rate, audio_start)
            if audio_from is not None and audio_from.is_file():  # a folder or a pattern of images has no sound
                start = picture_start(audio_from, clock)
                self._audio = AudioCarrier(audio_from, self._container, muxer, start)
                self.warnings = self._audio.warnings  # grows while sound is read
            if tags_from is not None and tags_from.is_file() and tags_from.suffix.lower() not in READABLE:
                has_sound = self._audio is not None and tags_from == audio_from
                self._tags = TagCarrier(
                    tags_from,
                    self._container,
                    start=start if has_sound else picture_start(tags_from, clock),
                    rate=info.frame_rate,
                    num_frames=info.num_frames,
                    sound=self._audio.pairs if has_sound and self._audio is not None else (),
                )
            self._container.start_encoding()  # opens the file now: what cannot be written is said before the work
        except BaseException:
            self.drop()
            raise
        self.warnings += left

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
        if self._tags is not None:
            self.warnings += self._tags.warnings(self.part, self._muxer)

    def place(self, *, overwrite: bool) -> None:
        """Give the file its name.

        Raises:
            OutputError: there is something that may not be replaced; the work is kept under another name.
        """
        put_in_place(self.part, self.target, overwrite=overwrite)

    def drop(self) -> None:
        """Remove the temporary file."""
        with suppress(av.error.FFmpegError, OSError, ValueError):  # the file is thrown away
            if self._audio is not None:
                self._audio.close()
            self._container.close()
        remove(self.part)
