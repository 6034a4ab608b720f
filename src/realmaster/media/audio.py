"""Carry sound from the input to the output: copied where the container holds it, else encoded as AAC.

Separate from the writer because sound has its own packets, its own clock and its own rules for cutting. Packets are
read as the picture advances, so memory does not grow with the clip.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from math import floor
from pathlib import Path
from typing import Any, Protocol

import av
import numpy as np

from realmaster.media.probe import first_time, opened

_COPIED = {  # by libav's names of codecs
    "mp4": {"aac", "mp3", "mp2", "ac3", "eac3", "opus", "flac", "alac"},
    "mov": {"aac", "mp3", "mp2", "ac3", "eac3", "alac", "pcm_s8", "pcm_u8", "pcm_alaw", "pcm_mulaw"}
    | {f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32", "f32", "f64") for order in ("le", "be")},
    "matroska": {"aac", "mp3", "mp2", "ac3", "eac3", "opus", "vorbis", "flac", "alac", "dts", "truehd", "wavpack"}
    | {"tta", "pcm_u8", "pcm_f32le", "pcm_f64le"}
    | {f"pcm_{kind}{order}" for kind in ("s16", "s24", "s32") for order in ("le", "be")},
}
_AAC_BIT_RATE = 96_000  # for each channel, two at least
_AAC_FRAME = 1024  # samples
_AAC_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000, 64000, 88200, 96000)
_ROUNDING_SECONDS = 0.05  # a gap or overlap shorter than this is a container's rounding, not silence


class AudioCarrier:
    """All sound tracks of one file, on their way into an output container.

    Attributes:
        warnings: what was changed, in plain sentences.
        pairs: each track that is carried, and the stream it becomes.
    """

    def __init__(self, source: Path, container: Any, muxer: str, start: Fraction) -> None:
        """Add a track to `container` for each of `source`; the output's time 0 is `start` seconds after its picture's.

        `start` is where the first frame shown lies, which may be off the moment that was asked for.

        Raises:
            MediaError: `source` is no media file.
        """
        self.warnings: list[str] = []
        self.pairs: list[tuple[Any, Any]] = []
        self._tracks: dict[int, _Track] = {}
        self._container = container
        self._closing = ExitStack()
        self._packets: Iterator[Any] = iter(())
        self._waiting: Any = None  # a packet whose time has not come
        origin = self._closing.enter_context(opened(source))
        zero = first_time(source) + start
        for stream in origin.streams.audio:
            track = _choose(stream, container, muxer, zero)
            if track is None:
                self.warnings.append(f"a sound track ({_codec(stream)}) could not be read: it was left out")
                continue
            if isinstance(track, _EncodedTrack):
                self.warnings.append(f"sound was encoded anew as AAC: {muxer} holds no {_codec(stream)}{track.mixing}")
            self.pairs.append((stream, track.output))
            self._tracks[stream.index] = track
        if self._tracks:  # to libav, no streams would mean all of them
            self._packets = self._read(origin)
        if self._tracks and start > 1:
            # audio alone seeks exactly enough: earlier packets are dropped by their times
            origin.seek(int((zero - 1) * av.time_base))

    def advance(self, until: Fraction) -> None:
        """Write the sound that begins before `until` seconds of the output."""
        while True:
            packet = self._waiting if self._waiting is not None else next(self._packets, None)
            self._waiting = None
            if packet is None:
                break
            track = self._tracks[packet.stream.index]
            if track.begins(packet) >= until:
                self._waiting = packet
                break
            self._container.mux(track.take(packet))

    def finish(self, end: Fraction) -> None:
        """Write what is still held of the sound before `end` seconds of the output."""
        self.advance(end)
        for track in self._tracks.values():
            self._container.mux(track.finish(end))

    def close(self) -> None:
        """Release the source file."""
        self._closing.close()

    def _read(self, origin: Any) -> Iterator[Any]:
        streams = [stream for stream in origin.streams.audio if stream.index in self._tracks]
        try:
            for packet in origin.demux(streams):
                if packet.size and packet.pts is not None:
                    yield packet
        except av.error.FFmpegError as error:
            self.warnings.append(f"sound ends early: its file is damaged ({error.strerror})")


class _Track(Protocol):
    output: Any

    def begins(self, packet: Any) -> Fraction: ...
    def take(self, packet: Any) -> list[Any]: ...
    def finish(self, end: Fraction) -> list[Any]: ...


def _choose(stream: Any, container: Any, muxer: str, zero: Fraction) -> _Track | None:
    if stream.codec_context is None or not stream.codec_context.sample_rate:
        return None
    if _codec(stream) in _COPIED[muxer]:
        return _CopiedTrack(stream, container, muxer, zero)
    return _EncodedTrack(stream, container, zero)


def _codec(stream: Any) -> str:
    """Name a codec, not libav's decoder of it: mp3, where that is called mp3float."""
    return str(stream.codec_context.codec.canonical_name) if stream.codec_context is not None else "of no known codec"


def _aac_layout(layout: Any) -> str:
    """Choose AAC's layout of channels: the source's own, else the usual one of as many channels, else stereo."""
    if layout.nb_channels > 7:
        return "5.1"  # PyAV fills no frames of more than 7 planes
    for name in (layout.name, f"{layout.nb_channels}c"):
        trial = av.CodecContext.create("aac", "w")
        try:
            trial.sample_rate, trial.format, trial.layout = 48000, "fltp", name
            trial.open()
        except (av.error.FFmpegError, ValueError):
            continue
        return str(trial.layout.name)
    return "stereo"


class _CopiedTrack:
    """Packets passed on with shifted times; cut to whole packets (about 20 ms)."""

    def __init__(self, stream: Any, container: Any, muxer: str, zero: Fraction) -> None:
        self.output = container.add_stream_from_template(stream)
        self._zero = zero
        self._sample = Fraction(1, stream.codec_context.sample_rate)
        # mp4 and mov hide what lies before time 0, so the packet that a decoder needs to warm up may stay
        self._keeps_lead_in = muxer != "matroska"

    def begins(self, packet: Any) -> Fraction:
        return packet.pts * packet.time_base - self._zero

    def take(self, packet: Any) -> list[Any]:
        begin = self.begins(packet)
        end = begin + (packet.duration or 0) * packet.time_base
        if end < 0 or (begin < 0 and not self._keeps_lead_in):
            return []
        if packet.time_base > self._sample:  # AVI counts whole packets: a shift of half of one would be heard
            packet.pts, packet.dts, packet.duration = (
                None if ticks is None else round(ticks * packet.time_base / self._sample)
                for ticks in (packet.pts, packet.dts, packet.duration)
            )
            packet.time_base = self._sample
        shift = round(self._zero / packet.time_base)
        packet.pts -= shift
        packet.dts = packet.pts if packet.dts is None else packet.dts - shift
        packet.stream = self.output
        return [packet]

    def finish(self, end: Fraction) -> list[Any]:
        return []


class _EncodedTrack:
    """Sound decoded, cut to the sample, and encoded as AAC."""

    def __init__(self, stream: Any, container: Any, zero: Fraction) -> None:
        source = stream.codec_context
        rate = source.sample_rate if source.sample_rate in _AAC_RATES else 48000
        layout = _aac_layout(source.layout)
        # "6 channels" is 5.1 that the file does not name, so nothing is changed
        is_same = source.layout.name in (layout, f"{av.AudioLayout(layout).nb_channels} channels")
        self.mixing = "" if is_same else f", and mixed from {source.layout.name} to {layout}"
        self.output = container.add_stream("aac", rate=rate)
        self.output.bit_rate = _AAC_BIT_RATE * max(2, av.AudioLayout(layout).nb_channels)
        self.output.codec_context.layout = layout
        self.output.codec_context.format = "fltp"
        self.output.codec_context.open()
        self._rate, self._layout, self._zero = rate, layout, zero
        self._resampler = av.AudioResampler(format="fltp", layout=layout, rate=rate)
        # float32 [channels, n]: decoded and not yet encoded; the first is sample number `_encoded` of the output
        self._samples = np.zeros((self.output.codec_context.layout.nb_channels, 0), np.float32)
        self._encoded = 0
        self._has_begun = False

    def begins(self, packet: Any) -> Fraction:
        return packet.pts * packet.time_base - self._zero

    def take(self, packet: Any) -> list[Any]:
        try:
            frames = packet.decode()
        except av.error.FFmpegError:
            return []  # a damaged piece: silence fills the gap when the next piece arrives
        packets = []
        for frame in frames:
            begin = round((frame.pts * Fraction(frame.time_base) - self._zero) * self._rate)
            for part in self._resampler.resample(frame):
                packets += self._append(part.to_ndarray(), begin)
                begin += part.samples
        return packets

    def finish(self, end: Fraction) -> list[Any]:
        rest = floor(end * self._rate) - self._encoded
        packets = self._encode(max(0, rest))
        return [*packets, *self.output.encode(None)]

    def _append(self, samples: Any, begin: int) -> list[Any]:
        """Add samples [channels, n] whose first belongs at `begin`: overlap is cut, a gap is filled with silence."""
        gap = begin - self._encoded - self._samples.shape[1]
        if self._has_begun and abs(gap) < _ROUNDING_SECONDS * self._rate:
            gap = 0  # containers round times: following on without a click is right
        packets = []
        while gap > 0:
            silence = min(gap, self._rate)
            self._samples = np.pad(self._samples, ((0, 0), (0, silence)))
            packets += self._encode_whole()
            gap -= silence
        samples = samples[:, max(0, -gap) :]
        if samples.shape[1]:
            self._has_begun = True
            self._samples = np.concatenate([self._samples, samples], axis=1)
        return packets + self._encode_whole()

    def _encode_whole(self) -> list[Any]:
        """Encode whole AAC frames, but keep the last second back: the clip may end within it."""
        return self._encode(max(0, self._samples.shape[1] - self._rate) // _AAC_FRAME * _AAC_FRAME)

    def _encode(self, count: int) -> list[Any]:
        packets = []
        ready, self._samples = self._samples[:, :count], self._samples[:, count:]
        for begin in range(0, ready.shape[1], _AAC_FRAME):
            block = np.ascontiguousarray(ready[:, begin : begin + _AAC_FRAME])
            frame = av.AudioFrame.from_ndarray(block, format="fltp", layout=self._layout)
            frame.sample_rate = self._rate
            frame.time_base = Fraction(1, self._rate)
            frame.pts = self._encoded
            self._encoded += block.shape[1]
            packets += self.output.encode(frame)
        return packets
