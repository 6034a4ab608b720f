"""Read a video file as a stream of frames: seek, decode, conceal damage, notice an early end.

Separate from `probe.py`, which learns what the file is, and `convert.py`, which knows colour.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av

from realmaster.errors import MediaError
from realmaster.media.clip import ClipReader
from realmaster.media.color import UInt8
from realmaster.media.convert import FrameColor, FrameConverter, Geometry
from realmaster.media.images import TRANSPARENT
from realmaster.media.probe import opened, probe, video_stream
from realmaster.media.timing import Clock, Timed, exact_seconds, snap
from realmaster.types import ClipInfo


class VideoReader(ClipReader):
    """A video file's frames."""

    def __init__(
        self, path: Path, *, start_seconds: float, duration_seconds: float | None, frame_rate: Fraction | None
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
            raise past_the_end(path, clock.start, facts.end)
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
        super().__init__(info, source_rate=facts.rate if facts.is_constant else None, clock=clock, limit=limit)
        self.color = str(color)
        self._stated_end = facts.stated_end
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
        if color.transfer in ("pq", "hlg"):
            self._warn(f"the clip is HDR ({color.transfer.upper()}): it was tone-mapped to SDR bt709")
        elif color.primaries != "bt709":
            self._warn(f"the clip has {color.primaries} primaries: colours outside bt709 were clipped")
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
                seconds, duration = snap(seconds, facts.rate, facts.tolerance), period
            if latest is not None and seconds <= latest:
                continue  # a second frame for the same time
            latest = seconds
            end = seconds + (duration or period)
            yield Timed(seconds, duration or period, frame)
        stated = self._stated_end
        if stated is not None and end + max(period, facts.tolerance) * Fraction(3, 2) < stated:
            self.truncated = f"the file ends after {float(end):.3f} s of {float(stated):.3f} s"

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
            if seek_to is not None:
                try:
                    container.seek(int(seek_to / base), stream=stream)
                except av.error.FFmpegError:
                    return
            previous: Fraction | None = None
            for frame in self._pictures(container, stream):
                ticks = frame.pts if frame.pts is not None else frame.dts
                if ticks is not None:
                    time = ticks * base
                else:
                    time = self._probe.first_time if previous is None else previous + 1 / self._probe.rate
                previous = time
                yield time, Fraction(frame.duration or 0) * base, frame

    def _pictures(self, container: Any, stream: Any) -> Iterator[av.VideoFrame]:
        """Decode packet by packet, stepping over those that do not decode; note how far all streams reach."""
        num_lost = num_damaged = 0
        reached = Fraction(0)  # where the last packet of any stream ends, on the container's clock
        packets = container.demux([stream, *container.streams.audio])
        while True:
            try:
                packet = next(packets, None)
            except av.error.FFmpegError:
                break  # the file is cut or damaged beyond reading: `_timed` compares with the stated end
            if packet is None:
                break
            if packet.pts is not None:
                reached = max(reached, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream is not stream:
                continue
            try:
                frames = packet.decode()
            except av.error.EOFError:
                continue
            except av.error.FFmpegError:
                num_lost += 1
                continue
            for frame in frames:
                num_damaged += frame.is_corrupt
                yield frame
        if self._stated_end is None and container.duration:
            stated = Fraction(container.duration + (container.start_time or 0), av.time_base)
            if reached + Fraction(1, 2) < stated:  # containers round their duration, and pad sound
                self._stated_end = stated - self._probe.first_time
        if num_lost:
            self._warn(f"{num_lost} damaged pieces did not decode: the frames beside them were shown in their place")
        if num_damaged:
            self._warn(f"{num_damaged} frames are damaged and were shown as far as they decode")


def past_the_end(path: Path, start: Fraction, end: Fraction) -> MediaError:
    """Say that a clip is over before the wanted start."""
    return MediaError(
        f"{path}: expected a start before the clip's end at {float(end):.3f} s, got {float(start):g} s: start earlier"
    )
