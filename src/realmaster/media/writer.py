"""Write a clip: a video file or a folder of images, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import av

from realmaster.errors import OutputError
from realmaster.media.color import UInt8
from realmaster.media.encode import Codec, choose_encoding
from realmaster.media.image_sinks import image_sink
from realmaster.media.output import cannot_write, check_file, check_name
from realmaster.media.sinks import Sink, VideoSink
from realmaster.media.timing import exact_seconds
from realmaster.types import ClipInfo

__all__ = ["ClipWriter", "Codec"]


class ClipWriter:
    """Writes frames under a temporary name and renames on `close`.

    As a context manager it closes when the block ends and removes everything when the block fails, Ctrl-C included.

    Attributes:
        num_frames: frames written so far.
        warnings: what had to be changed, in plain sentences.
    """

    def __init__(
        self,
        path: str | Path,
        info: ClipInfo,
        *,
        codec: Codec = "h264",
        audio_from: str | Path | None = None,
        audio_start_seconds: float = 0.0,
        overwrite: bool = False,
        inputs: Iterable[str | Path] = (),
        numbers: Sequence[int] | None = None,
        tags_from: str | Path | None = None,
    ) -> None:
        """Check the output and begin it.

        Args:
            path: a video file; for codec "images" a new folder, or a pattern such as `folder/frame_%04d.jpg`, whose
                folder may hold other files.
            info: size and frame rate of the frames to come; `info.source` must not be the output.
            codec: "h264" (visually lossless), "prores" (422 HQ), "prores4444", "lossless" (bit-exact RGB: FFV1 in
                mkv, H.264 RGB in mp4 and mov), or "images".
            audio_from: a file whose sound is carried along, cut to the frames written.
            audio_start_seconds: where in that file the clip was asked to start; the sound begins with the frame shown
                there.
            overwrite: replace what is there.
            inputs: other files that must not be replaced, such as a mask.
            numbers: of the images, in order; None counts from 0.
            tags_from: a file whose tags, chapters and timecode are carried along, from `audio_start_seconds` on; None
                takes `audio_from`.

        Raises:
            OutputError: see `check_output`; an unknown codec, or one that refuses this container, size or rate.
            MediaError: `audio_from` or `tags_from` is no media file.
        """
        self.path = check_name(path)
        self._overwrite = overwrite
        self.info = info
        self.num_frames = 0
        self._closed = False
        self._warnings: list[str] = []
        self._sink: Sink
        inputs = [source for source in (info.source, audio_from, *inputs) if source]
        if codec == "images":
            if info.has_audio and audio_from is not None:
                self._warnings.append("images hold no sound: it was left out")
            with _failures(self.path):
                size = info.width, info.height
                self._sink = image_sink(self.path, overwrite=overwrite, inputs=inputs, numbers=numbers, size=size)
            return
        encoding, self._warnings = choose_encoding(codec, self.path.suffix, info)
        check_file(self.path, overwrite=overwrite, inputs=inputs)
        tags_from = audio_from if tags_from is None else tags_from
        with _failures(self.path):
            self._sink = VideoSink(
                self.path,
                encoding,
                info,
                audio_from=None if audio_from is None else Path(audio_from),
                audio_start=exact_seconds(audio_start_seconds),
                tags_from=None if tags_from is None else Path(tags_from),
            )

    @property
    def warnings(self) -> list[str]:
        """What had to be changed, in plain sentences."""
        return [*self._warnings, *self._sink.warnings]

    def write(self, frames: UInt8) -> None:
        """Append frames, uint8 [n, H, W, 3].

        Raises:
            OutputError: the disk is full or the encoder failed; the temporary file is removed.
            ValueError: frames of another size or type than announced, or a writer that is closed.
        """
        expected = (self.info.height, self.info.width, 3)
        if frames.ndim != 4 or frames.shape[1:] != expected or frames.dtype != "uint8":
            raise ValueError(f"expected uint8 frames [n, {expected}], got {frames.dtype} {frames.shape}")
        if self._closed:
            raise ValueError("this writer is closed")
        with self._or_abort():
            for frame in frames:
                self._sink.write(frame)
                self.num_frames += 1

    def close(self) -> None:
        """Finish the output and put it in place; does nothing the second time.

        Raises:
            OutputError: nothing was written, the disk is full, or the name cannot be taken.
        """
        if self._closed:
            return
        with self._or_abort():
            if self.num_frames == 0:
                raise OutputError(f"{self.path}: expected at least one frame to write, got none: check the input")
            self._sink.finish()
            self._sink.place(overwrite=self._overwrite)
        self._closed = True

    def abort(self) -> None:
        """Stop writing and leave nothing behind; does nothing after `close`."""
        if not self._closed:
            self._closed = True
            self._sink.drop()

    def __enter__(self) -> Self:
        """Give the writer itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close after success, abort after any failure."""
        if kind is None:
            self.close()
        else:
            self.abort()

    @contextmanager
    def _or_abort(self) -> Iterator[None]:
        try:
            with _failures(self.path):
                yield
        except BaseException:
            self.abort()
            raise


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise cannot_write(path, error) from error
