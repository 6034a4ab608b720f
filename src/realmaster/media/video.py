"""Read a video file as a stream of frames: seek, decode, conceal damage, notice an early end.

Separate from `probe.py`, which learns what the file is, and `convert.py`, which knows colour.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from realmaster.media.clip import ClipReader, starts_too_late
from realmaster.media.color import UInt8
from realmaster.media.convert import FrameColor, FrameConverter, Geometry
from realmaster.media.images import TRANSPARENT
from realmaster.media.probe import decoder_of, guesses_times, opened, probe, video_stream
from realmaster.media.timing import Clock, Timed, exact_seconds, on_the_sources_grid, snap
from realmaster.types import ClipInfo


class VideoReader(ClipReader):
    """A video file's frames."""

    def __init__(
        self,
        path: Path,
        *,
        start_seconds: float | Fraction,
        duration_seconds: float | None,
        frame_rate: Fraction | None,
    ) -> None:
        """Look at the file and its first frame.

        Raises:
            MediaError: not a video, without frames, or over before `start_seconds`.
        """
        self.path = path
        self._probe = facts = probe(path)
        clock = Clock(frame_rate or facts.rate, exact_seconds(start_seconds))
        limit = None
        if duration_seconds is not None:
            limit = Clock(clock.rate).count(exact_seconds(duration_seconds))
        if facts.end is not None and clock.start >= facts.end:
            raise starts_too_late(path, clock.start, facts.end)
        source_rate = facts.rate if facts.is_constant else None
        clock = on_the_sources_grid(source_rate, clock, facts.end)
        geometry = Geometry.of(facts.decoded, facts.pixel_aspect)
        color = FrameColor.of(facts.decoded)
        self._convert = FrameConverter(geometry)
        num_frames = None if facts.end is None else clock.count(facts.end)
        if limit is not None:
            num_frames = limit if num_frames is None else min(limit, num_frames)
        info = ClipInfo(
            width=geometry.size[0],
            height=geometry.size[1],
            frame_rate=clock.rate,
            num_frames=num_frames,
            duration_seconds=None if num_frames is None else float(num_frames / clock.rate),
            has_audio=facts.has_audio,
            has_alpha=color.has_alpha,
            source=str(path),
        )
        super().__init__(info, source_rate=source_rate, clock=clock, limit=limit)
        self.color = str(color)
        self._seen = _Seen()
        self._warn_of_changes(geometry, color)

    def _warn_of_changes(self, geometry: Geometry, color: FrameColor) -> None:
        facts = self._probe
        if not facts.is_constant:
            self._warn(f"the frame rate varies: frames were taken at {float(self.info.frame_rate):g} a second")
        if geometry.pixel_aspect != 1:
            width, height = geometry.square_size
            self._warn(
                f"pixels are not square ({geometry.pixel_aspect}): frames were stretched from "
                f"{geometry.stored_width}x{geometry.stored_height} to {width}x{height}"
            )
        if color.has_unknown_matrix:
            self._warn(f"the clip's colour matrix (number {facts.decoded.colorspace}) is not known: {color} was taken")
        if color.transfer in ("pq", "hlg"):
            self._warn(f"the clip is HDR ({color.transfer.upper()}): it was tone-mapped to SDR bt709")
        elif color.primaries != "bt709":
            self._warn(f"the clip has {color.primaries} primaries: colours outside bt709 were clipped")
        if facts.lost_alpha:
            self._warn("the clip has transparency that cannot be read here: it was taken as opaque")
        if facts.decoded.interlaced_frame:
            self._warn("the clip is interlaced and was not deinterlaced: moving edges may show combs")

    def _pixels(self, frame: av.VideoFrame) -> UInt8:
        if (frame.width, frame.height) != (self._convert.geometry.stored_width, self._convert.geometry.stored_height):
            self._warn("the frame size changes within the clip: later frames were scaled to the first one's size")
        rgb = self._convert(frame)
        if self._convert.saw_transparency:
            self._warn(TRANSPARENT)
        return rgb

    def _timed(self) -> Iterator[Timed[av.VideoFrame]]:
        facts = self._probe
        period = 1 / facts.rate
        latest: Fraction | None = None
        end = Fraction(0)
        for time, duration, frame in self._decoded():
            seconds = time - facts.first_time
            if facts.is_constant:
                seconds = snap(seconds, facts.rate, facts.tolerance)
                duration = facts.end - seconds if facts.end is not None and seconds == facts.last_time else period
            if latest is not None and seconds <= latest:
                continue  # a second frame for the same time
            latest = seconds
            end = seconds + (duration or period)
            yield Timed(seconds, duration or period, frame)
        self._report_damage(end)

    def _report_damage(self, end: Fraction) -> None:
        """Compare the end of the last frame with what the container states, and count what did not decode."""
        seen, stated = self._seen, self._probe.stated_end
        padding = Fraction(1, 10) if self._probe.has_audio else Fraction(0)  # sound is padded by less than a tenth
        if stated is None and seen.stated_end is not None and seen.any_end + padding < seen.stated_end:
            stated = seen.stated_end
        if seen.num_lost == 0:
            end = max(end, seen.video_end)  # the last frame may be held longer than its period
        if stated is not None and end + Fraction(1, 2) / self._probe.rate + self._probe.tolerance < stated:
            self.truncated = f"the file ends after {float(end):.2f} s of {float(stated):.2f} s"
        if seen.num_lost:
            self._warn(
                f"{seen.num_lost} damaged pieces did not decode: the frames beside them were shown in their place"
            )
        if seen.num_damaged:
            self._warn(f"{seen.num_damaged} frames are damaged and were shown as far as they decode")

    def _decoded(self) -> Iterator[tuple[Fraction, Fraction, av.VideoFrame]]:
        """Decode from at or before the clock's start: (time on the container's clock, duration, frame)."""
        start = self._probe.first_time + self._clock.start
        if self._clock.start > 1:
            # a second early: some containers seek by decoding time, which runs ahead of the frames' times
            frames = self._decode_from(start - 1)
            first = next(frames, None)
            if first is not None and first[0] <= start:
                yield first
                yield from frames
                return
            frames.close()  # the seek failed or landed behind the wanted frame
        yield from self._decode_from(None)

    def _decode_from(self, seek_to: Fraction | None) -> Generator[tuple[Fraction, Fraction, av.VideoFrame]]:
        with opened(self.path) as container:
            stream = video_stream(container, self.path)
            stream.thread_type = "AUTO"
            base = Fraction(stream.time_base)
            is_guessed = guesses_times(container, stream)
            if seek_to is not None and not is_guessed:
                try:
                    container.seek(int(seek_to / base), stream=stream)
                except av.error.FFmpegError:
                    return
            previous: Fraction | None = None
            for frame in self._pictures(container, stream):
                ticks = frame.pts if frame.pts is not None else frame.dts
                if ticks is not None and not is_guessed:
                    time = ticks * base
                else:
                    time = self._probe.first_time if previous is None else previous + 1 / self._probe.rate
                previous = time
                yield time, Fraction(frame.duration or 0) * base, frame

    def _pictures(self, container: Any, stream: Any) -> Iterator[av.VideoFrame]:
        """Decode packet by packet, stepping over those that do not decode; note what was seen in `_seen`."""
        first = self._probe.first_time
        seen = self._seen = _Seen()
        if container.duration and "matroska" in container.format.name:  # others state each stream's length
            seen.stated_end = Fraction(container.duration, av.time_base) - first  # its end, and not its length
        decoder = decoder_of(stream)
        packets = container.demux([stream, *container.streams.audio])
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                return  # the file is cut or damaged beyond reading: `_report_damage` compares with the stated end
            if packet is None:
                return
            if packet.pts is not None and not packet.is_corrupt:  # one that is cut is no end
                packet_end = (packet.pts + (packet.duration or 0)) * packet.time_base - first
                seen.any_end = max(seen.any_end, packet_end)
                if packet.stream is stream:
                    seen.video_end = max(seen.video_end, packet_end)
            if packet.stream is not stream:
                continue
            try:
                frames = decoder.decode(packet)
            except av.error.EOFError:
                continue
            except av.error.FFmpegError:
                seen.num_lost += 1
                continue
            for frame in frames:
                seen.num_damaged += frame.is_corrupt
                yield frame


@dataclass
class _Seen:
    """What one pass through the packets met. Times are in seconds from the first frame."""

    stated_end: Fraction | None = None  # of the whole file, sound included
    any_end: Fraction = Fraction(0)  # where the last packet of any stream ends
    video_end: Fraction = Fraction(0)  # where the last packet of the picture ends
    num_lost: int = 0  # packets that did not decode
    num_damaged: int = 0  # frames that decoded in part
