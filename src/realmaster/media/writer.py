"""Write a clip: a video file or a folder of images, whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import av

from realmaster.errors import OutputError
from realmaster.media.color import UInt8
from realmaster.media.encode import MUXERS, Codec, FrameEncoder, choose_encoding
from realmaster.media.images import WRITABLE, encode_image
from realmaster.media.output import cannot_write, check_output, put_in_place, remove, temporary_path
from realmaster.types import ClipInfo


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
    ) -> None:
        """Check the output and begin it.

        Args:
            path: a video file; for codec "images" a new folder, or a pattern such as `folder/frame_%04d.jpg`.
            info: size and frame rate of the frames to come; `info.source` must not be the output.
            codec: "h264" (visually lossless), "prores" (422 HQ), "prores4444", "lossless" (bit-exact RGB: FFV1 in
                mkv, H.264 RGB in mp4 and mov), or "images".
            audio_from: a file whose sound is carried along, cut to the frames written.
            audio_start_seconds: where in that file the first frame lies.
            overwrite: replace what is there.

        Raises:
            OutputError: see `check_output`; unknown codec; or a size or rate that the encoder refuses.
        """
        self.path = Path(path)
        self.info = info
        self.num_frames = 0
        self.warnings: list[str] = []
        self._closed = False
        inputs = [source for source in (info.source, audio_from) if source]
        self._sink: _Sink
        if codec == "images":
            self._sink = _ImageSink(self.path, overwrite=overwrite, inputs=inputs)
            if audio_from is not None:
                self.warnings.append("images hold no sound: it was left out")
            return
        encoding, warnings = choose_encoding(codec, self.path.suffix, info)
        self.warnings += warnings
        check_output(self.path, overwrite=overwrite, inputs=inputs)
        if self.path.is_dir():
            raise OutputError(f"{self.path}: expected a file to replace, found a folder: choose another name")
        with _failures(self.path):
            self._sink = _VideoSink(self.path, encoding, info)

    def write(self, frames: UInt8) -> None:
        """Append frames, uint8 [n, H, W, 3].

        Raises:
            OutputError: the disk is full or the encoder failed; the temporary file is removed.
            ValueError: frames of another size or type than announced.
        """
        expected = (self.info.height, self.info.width, 3)
        if frames.ndim != 4 or frames.shape[1:] != expected or frames.dtype != "uint8":
            raise ValueError(f"expected uint8 frames [n, {expected}], got {frames.dtype} {frames.shape}")
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
            put_in_place(self._sink.part, self.path if not isinstance(self._sink, _ImageSink) else self._sink.folder)
        self._closed = True

    def abort(self) -> None:
        """Stop writing and leave nothing behind."""
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


class _Sink(Protocol):
    part: Path

    def write(self, frame: UInt8) -> None: ...
    def finish(self) -> None: ...
    def drop(self) -> None: ...


class _VideoSink:
    """A video file being written."""

    def __init__(self, path: Path, encoding: Any, info: ClipInfo) -> None:
        self.part = temporary_path(path)
        options = {"movflags": "+faststart"} if MUXERS[path.suffix.lower()] != "matroska" else {}
        self._container: Any = None
        try:
            self._container = av.open(
                f"file:{self.part}", "w", format=MUXERS[path.suffix.lower()], container_options=options
            )
            self._encoder = FrameEncoder(self._container, encoding, info)
            self._encoder.stream.codec_context.open()
        except BaseException:
            self.drop()
            raise

    def write(self, frame: UInt8) -> None:
        self._container.mux(self._encoder.encode(frame))

    def finish(self) -> None:
        self._container.mux(self._encoder.flush())
        self._container.close()

    def drop(self) -> None:
        if self._container is not None:
            with suppress(av.error.FFmpegError, OSError, ValueError):  # the file is thrown away
                self._container.close()
        remove(self.part)


class _ImageSink:
    """A folder of images being written."""

    def __init__(self, path: Path, *, overwrite: bool, inputs: list[str | Path]) -> None:
        is_pattern = "%" in path.name
        self.folder, self._name = (path.parent, path.name) if is_pattern else (path, "frame_%06d.png")
        suffix = Path(self._name).suffix
        if suffix.lower() not in WRITABLE:
            raise OutputError(f"{path}: expected images ending in {', '.join(WRITABLE)}, got {suffix!r}: rename them")
        check_output(self.folder, overwrite=overwrite or _is_empty(self.folder), inputs=inputs)
        _check_only_images(self.folder)
        self.part = temporary_path(self.folder)
        self._index = 0
        with _failures(path):
            self.part.mkdir()

    def write(self, frame: UInt8) -> None:
        data = encode_image(frame, Path(self._name).suffix)
        (self.part / (self._name % self._index)).write_bytes(data)
        self._index += 1

    def finish(self) -> None:
        pass

    def drop(self) -> None:
        remove(self.part)


@contextmanager
def _failures(path: Path) -> Iterator[None]:
    try:
        yield
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise cannot_write(path, error) from error


def _is_empty(folder: Path) -> bool:
    return folder.is_dir() and not any(folder.iterdir())


def _check_only_images(folder: Path) -> None:
    """Refuse to replace a folder that holds more than images: it is someone's, not an earlier output."""
    if not folder.exists():
        return
    if not folder.is_dir():
        raise OutputError(f"{folder}: expected a folder to replace, found a file: choose another name")
    for file in folder.iterdir():
        if not file.is_file() or file.suffix.lower() not in WRITABLE:
            raise OutputError(f"{folder}: expected only images to replace, found {file.name}: choose another folder")
