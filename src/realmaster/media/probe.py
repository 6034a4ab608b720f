"""What a video file holds, learnt from its packets without decoding them, and from its first frame.

Separate from the reader because containers cannot be trusted: rates are rounded, frame counts absent, and a variable
rate is not marked. The packets' own times tell, and reading a few thousand of them costs milliseconds.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from realmaster.errors import MediaError
from realmaster.media.timing import (
    STANDARD_RATES,
    Clock,
    constant_rate,
    first_time_shown,
    nominal_rate,
    on_the_sources_grid,
    snap,
)

MAX_PACKETS = 20_000
MAX_BYTES = 256 * 1024 * 1024
"""Bounds of the scan: of a longer or larger file only the beginning is looked at."""

_ALPHA_DECODERS = {"vp8": "libvpx", "vp9": "libvpx-vp9"}


@dataclass(frozen=True)
class Probe:
    """Facts about one video stream. Times are in seconds from the first frame shown."""

    first_time: Fraction  # of the first frame, on the container's own clock
    rate: Fraction  # constant, or chosen for a clip whose rate varies
    is_constant: bool
    tolerance: Fraction  # how far the container may round times
    end: Fraction | None  # when the last frame ceases to be shown, counted or else stated
    stated_end: Fraction | None  # by the container's own word for the video stream
    has_audio: bool
    decoded: av.VideoFrame  # the first frame
    pixel_aspect: Fraction | None
    last_time: Fraction | None = None  # of the last frame; None where the scan ended before it
    lost_alpha: bool = False  # the file holds alpha that no decoder here reads


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a file for demuxing; never a stream of the network, whatever its name looks like.

    Raises:
        MediaError: the file is no media file.
    """
    try:
        # "file:" keeps names such as "-clip.mp4" or "a:b.mp4" from being read as an option or a protocol
        container = av.open(
            f"file:{path.absolute()}", options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except (av.error.FFmpegError, ValueError) as error:
        raise not_a_video(path, error) from error
    with container:
        yield container


def not_a_video(path: Path, reason: object) -> MediaError:
    """Say that a file cannot be read as video."""
    text = getattr(reason, "strerror", None) or str(reason)
    if isinstance(reason, av.error.EOFError):
        text = "it ends before its first frame"
    hint = " (or one cut off before its index was written)" if path.suffix.lower() in (".mp4", ".mov", ".m4v") else ""
    return MediaError(
        f"{path}: expected a video{hint}, could not read it ({text}): "
        "give an mp4, mov, mkv, webm, avi or gif file, or a folder of images"
    )


def video_stream(container: Any, path: Path) -> Any:
    """Choose the video to read: the first that is no cover picture.

    Raises:
        MediaError: there is none.
    """
    streams = [stream for stream in container.streams.video if not is_cover(stream)]
    if not streams:
        raise not_a_video(path, "it has no video stream")
    if streams[0].codec_context is None:
        raise not_a_video(path, "its codec is not known here")
    return streams[0]


def is_cover(stream: Any) -> bool:
    """Tell the cover picture of a sound file from a video."""
    return bool(stream.disposition & av.stream.Disposition.attached_pic)


def decoder_of(stream: Any) -> Any:
    """Choose the decoder of a video stream: the stream's own, except where that one drops alpha.

    WebM stores alpha beside the picture, where libav's own VP8 and VP9 decoders do not look but libvpx does.
    """
    name = _ALPHA_DECODERS.get(stream.codec_context.codec.canonical_name) if _says_alpha(stream) else None
    if name is None:
        return stream.codec_context
    try:
        return av.CodecContext.create(name, "r")
    except ValueError:  # this build of libav lacks it
        return stream.codec_context


def _says_alpha(stream: Any) -> bool:
    return any(name.lower() == "alpha_mode" and value == "1" for name, value in stream.metadata.items())


def probe(path: Path) -> Probe:
    """Learn a video's rate, length and first frame.

    Raises:
        MediaError: not a video, no frames, or a first frame that does not decode.
    """
    with opened(path) as container:
        stream = video_stream(container, path)
        times, durations, is_complete = _scan(container, stream)
        if not times:
            raise MediaError(f"{path}: expected at least one frame, the video has none: give a clip with frames")
        time_base = Fraction(stream.time_base)
        last = max(range(len(times)), key=times.__getitem__)
        ordered = sorted(set(times))
        seconds = [(time - ordered[0]) * time_base for time in ordered]
        tolerance = max(time_base, Fraction(1, 1000))
        stated = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate) if rate]
        rate, is_constant = _rate(seconds, stated, tolerance)
        period = 1 / rate if is_constant or not durations[last] else durations[last] * time_base
        last_time = snap(seconds[-1], rate, tolerance) if is_constant else seconds[-1]
        if is_constant and is_complete and (held := _held(times, durations)):
            period = max(period, round(held * time_base * rate) / rate)
        stated_end = _stated_end(path, container, stream, ordered[0] * time_base)
        facts: dict[str, Any] = {
            "first_time": ordered[0] * time_base,
            "rate": rate,
            "is_constant": is_constant,
            "tolerance": tolerance,
            "end": last_time + period if is_complete else stated_end,
            "stated_end": stated_end,
            "last_time": last_time if is_complete else None,
            "has_audio": bool(container.streams.audio),
            "lost_alpha": _says_alpha(stream) and decoder_of(stream) is stream.codec_context,
        }
    decoded, pixel_aspect = _first_frame(path)
    return Probe(decoded=decoded, pixel_aspect=pixel_aspect, **facts)


def first_time(path: Path) -> Fraction:
    """Time of a file's first picture on its container's clock, in seconds; of sound alone, 0.

    Raises:
        MediaError: the file is no media file.
    """
    with opened(path) as container:
        streams = [stream for stream in container.streams.video if not is_cover(stream)]
        if not streams:
            return Fraction(0)
        times, _, _ = _scan(container, streams[0], max_packets=64)  # pictures are stored at most 16 out of order
        return min(times, default=0) * Fraction(streams[0].time_base)


def picture_start(path: Path, clock: Clock) -> Fraction:
    """Time of the first picture that a reader with this clock shows, in seconds from the file's first picture.

    Raises:
        MediaError: the file is no media file.
    """
    if clock.start == 0:
        return clock.start
    with opened(path) as container:
        if all(is_cover(stream) for stream in container.streams.video):
            return clock.start  # sound alone has no grid
    facts = probe(path)
    rate = facts.rate if facts.is_constant else None
    return first_time_shown(rate, on_the_sources_grid(rate, clock, facts.end))


def guesses_times(container: Any, stream: Any) -> bool:
    """Tell a stream of whose frames the times that libav gives are wrong: H.264 and HEVC with B-frames in AVI.

    AVI stores no times. Its frames come out in their order, one a period.
    """
    codec = stream.codec_context
    return container.format.name == "avi" and codec.codec.canonical_name in ("h264", "hevc") and codec.has_b_frames


def _held(times: list[int], durations: list[int]) -> int:
    """How many ticks longer than the others the last frame is shown, if it is held: all of them, else 0."""
    last = max(range(len(times)), key=times.__getitem__)
    usual = sorted(durations)[len(durations) // 2]
    held = max(time + duration for time, duration in zip(times, durations, strict=True)) - times[last]
    return held if 2 * held > 3 * usual > 0 else 0


def _scan(container: Any, stream: Any, *, max_packets: int = MAX_PACKETS) -> tuple[list[int], list[int], bool]:
    """Collect the packets' times and durations in ticks, up to the bounds; tell whether all were seen."""
    times: list[int] = []
    durations: list[int] = []
    num_bytes = 0
    period = round(1 / Fraction(stream.average_rate or 25) / stream.time_base)
    is_guessed = guesses_times(container, stream)
    try:
        for packet in container.demux(stream):
            time = packet.pts if packet.pts is not None and not is_guessed else packet.dts
            if packet.size == 0 or packet.is_discard:
                continue
            if time is None:  # a bare stream has no times: its frames follow each other
                time = times[-1] + period if times else 0
            times.append(time)
            durations.append(packet.duration or 0)
            num_bytes += packet.size
            if len(times) >= max_packets or num_bytes >= MAX_BYTES:
                return times, durations, False
    except av.error.FFmpegError:
        return times, durations, True  # the reader meets the same damage and reports it
    return times, durations, True


def _rate(seconds: list[Fraction], stated: list[Fraction], tolerance: Fraction) -> tuple[Fraction, bool]:
    if len(seconds) < 2:  # one frame has any rate: only a stated one that makes sense is kept
        return next((rate for rate in stated if rate <= STANDARD_RATES[-1]), Fraction(16)), True
    average = (len(seconds) - 1) / seconds[-1]
    candidates = [_tidy(rate) for rate in stated]
    candidates += sorted(STANDARD_RATES, key=lambda rate: abs(rate - average))[:3]
    # libav takes numerators of 31 bits; a millionth of a frame a second is no error over a day
    candidates += [Fraction(max(1, round(average))), *map(average.limit_denominator, (1001, 1_000_000))]
    constant = constant_rate(seconds, candidates, tolerance)
    return (constant, True) if constant else (nominal_rate(average), False)


def _tidy(rate: Fraction) -> Fraction:
    """Undo libav's bound on fractions, by which matroska's 60000/1001 reads as 19001/317."""
    near = min(STANDARD_RATES, key=lambda standard: abs(standard - rate))
    return near if abs(near - rate) <= rate / 10_000 else rate


def _stated_end(path: Path, container: Any, stream: Any, first: Fraction) -> Fraction | None:
    """End of the video stream by the container's word, relative to the first frame's time."""
    if not stream.duration:
        return None
    end = ((stream.start_time or 0) + stream.duration) * Fraction(stream.time_base) - first
    if container.format.name != "avi":
        return end
    # of a cut AVI libav guesses the length from what is left; the header still has the truth
    with path.open("rb") as file:
        header = file.read(52)
    if header[24:28] != b"avih" or len(header) < 52:
        return end
    (microseconds,), (total,) = struct.unpack_from("<I", header, 32), struct.unpack_from("<I", header, 48)
    return max(end, Fraction(microseconds * total, 1_000_000) - first)


def _first_frame(path: Path) -> tuple[av.VideoFrame, Fraction | None]:
    with opened(path) as container:
        stream = video_stream(container, path)
        decoder = decoder_of(stream)
        error: Exception | None = None
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets, None)
                if packet is None:
                    break
                for frame in decoder.decode(packet):
                    aspect = stream.sample_aspect_ratio or stream.codec_context.sample_aspect_ratio
                    return frame, Fraction(aspect) if aspect else None
            except av.error.FFmpegError as caught:
                if isinstance(caught, av.error.EOFError):
                    break
                error = caught
    raise MediaError(
        f"{path}: expected frames that decode, none does ({error or 'no picture in it'}): "
        "the file is damaged, export it again"
    )
