"""Sound is carried along and stays where it was."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from media_files import numbered, read_numbers, write_video
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter

RATE = 48000
SECONDS = 4
BEEPS = (0.5, 1.5, 2.5, 3.25)  # seconds


def beeps():
    """Silence with a short tone at each of `BEEPS`."""
    samples = np.zeros(RATE * SECONDS, np.float32)
    tone = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(RATE // 20) / RATE)
    for beep in BEEPS:
        begin = int(beep * RATE)
        samples[begin : begin + len(tone)] = tone
    return samples


def source(tmp_path, name="in.mp4", encoder="aac"):
    options = {"encoder": "mpeg4"} if name.endswith(".avi") else {}
    return write_video(tmp_path / name, list(numbered(16 * SECONDS)), audio=(encoder, RATE, beeps()), **options)


def carry(path, output, **options):
    """Copy a clip's frames, with its sound."""
    with (
        open_clip(path, **options) as clip,
        ClipWriter(output, clip.info, audio_from=path, audio_start_seconds=options.get("start_seconds", 0.0)) as writer,
    ):
        for chunk in clip.chunks(8):
            writer.write(chunk)
    return writer


def heard(path):
    """Where the tones begin, in seconds from the first picture, and where the sound ends."""
    with av.open(str(path)) as container:
        first = min(p.pts * p.time_base for p in container.demux(container.streams.video[0]) if p.pts is not None)
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        samples, times = [], []
        for frame in container.decode(stream):
            values = np.abs(frame.to_ndarray().astype(np.float32)).max(axis=0)
            samples.append(values / (32768 if frame.format.name.startswith("s16") else 1))
            times.append(float(frame.pts * frame.time_base - first) + np.arange(frame.samples) / frame.sample_rate)
    values, times = np.concatenate(samples), np.concatenate(times)
    loud = times[values > 0.2]
    begins = loud[np.flatnonzero(np.diff(loud, prepend=-1) > 0.2)]
    return begins, times[-1]


COPIES = [("in.mp4", "aac", "out.mp4"), ("in.mp4", "aac", "out.mkv"), ("in.mov", "pcm_s16le", "out.mov")]
ENCODES = [("in.avi", "pcm_s16le", "out.mp4"), ("in.mkv", "pcm_s16le", "out.mp4")]


@pytest.mark.parametrize(("name", "encoder", "output"), COPIES + ENCODES)
@pytest.mark.parametrize(("start", "duration"), [(0.0, None), (1.25, 1.875), (0.3, 1.5)])
def test_each_sound_stays_at_its_picture(tmp_path, name, encoder, output, start, duration):
    path = source(tmp_path, name, encoder)
    writer = carry(path, tmp_path / output, start_seconds=start, duration_seconds=duration)
    begins, end = heard(tmp_path / output)
    length = writer.num_frames / 16
    first = round(start * 16) / 16  # where the first frame shown lies
    expected = [beep - first for beep in BEEPS if 0 <= beep - first < length]
    np.testing.assert_allclose(begins, expected, atol=0.004)
    assert end <= length + 0.05
    if duration is not None:
        assert end >= length - 0.05


@pytest.mark.parametrize("start", [0.8, 1.2])
def test_sound_of_an_avi_whose_clock_counts_packets_is_no_part_of_one_off(tmp_path, start):
    path = source(tmp_path, "in.avi", "ac3")
    carry(path, tmp_path / "out.mp4", start_seconds=start)
    expected = heard(path)[0] - round(start * 16) / 16
    np.testing.assert_allclose(heard(tmp_path / "out.mp4")[0], expected[expected >= 0], atol=0.002)


@pytest.mark.parametrize("output", ["out.mp4", "out.mkv", "out.mov"])
def test_sound_is_cut_at_the_first_frame_shown_where_the_start_lies_between_frames(tmp_path, output):
    tone = np.zeros(RATE * 2, np.float32)
    tone[RATE:] = 0.8 * np.sin(2 * np.pi * 1000 * np.arange(RATE) / RATE)  # begins with frame 24
    encoder = "pcm_s16le"
    path = write_video(tmp_path / "in.mkv", list(numbered(48)), rate=24, audio=(encoder, RATE, tone))
    carry(path, tmp_path / output, start_seconds=0.52)  # frame 12 lies at 0.5 s
    with open_clip(tmp_path / output) as clip:
        assert read_numbers(next(clip.chunks(1))) == [12]
    np.testing.assert_allclose(heard(tmp_path / output)[0], [0.5], atol=0.002)


def channels(path, layout, encoder):
    """A clip with a tone of its own in each channel."""
    count = av.AudioLayout(layout).nb_channels
    with av.open(str(path), "w") as container:
        picture = container.add_stream("libx264", rate=16)
        picture.width = picture.height = 32
        sound = container.add_stream(encoder, rate=RATE, layout=layout)
        for index, frame in enumerate(numbered(16)):
            content = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")
            content.pts, content.time_base = index, Fraction(1, 16)
            container.mux(picture.encode(content))
        container.mux(picture.encode(None))
        times = np.arange(RATE) / RATE
        tones = [0.3 * np.sin(2 * np.pi * 300 * (index + 1) * times) for index in range(count)]
        packed = (np.stack(tones, axis=1).reshape(1, -1) * 2**31).astype(np.int32)
        frame = av.AudioFrame.from_ndarray(packed, format="s32", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        kind = sound.codec_context.format
        for part in av.AudioResampler(format=kind, layout=layout, rate=RATE).resample(frame):
            container.mux(sound.encode(part))
        container.mux(sound.encode(None))
    return path


def strongest(path):
    """The layout, and the strongest frequency of each channel."""
    with av.open(str(path)) as container:
        stream = container.streams.audio[0]
        layout = stream.layout.name
        values = np.concatenate([frame.to_ndarray() for frame in container.decode(stream)], axis=1)
    values = values.reshape(-1, stream.layout.nb_channels).T if values.shape[0] == 1 else values
    middle = values[:, RATE // 4 : RATE // 4 * 3].astype(np.float64)
    return layout, [2 * int(np.abs(np.fft.rfft(channel)).argmax()) for channel in middle]


@pytest.mark.parametrize(("layout", "written"), [("5.1", "5.1"), ("3.0", "3.0"), ("stereo", "stereo")])
def test_sound_encoded_anew_keeps_its_channels(tmp_path, layout, written):
    writer = carry(channels(tmp_path / "in.mov", layout, "pcm_s16le"), tmp_path / "out.mp4")
    assert writer.warnings == ["sound was encoded anew as AAC: mp4 holds no pcm_s16le"]
    found, tones = strongest(tmp_path / "out.mp4")
    assert found == written
    expected = [300 * (index + 1) for index in range(len(tones))]
    assert [tone for index, tone in enumerate(tones) if index != 3] == expected[:3] + expected[4:]  # 3 is for bass


def test_channels_that_are_mixed_are_said(tmp_path):
    writer = carry(channels(tmp_path / "in.mov", "7.1", "pcm_s16le"), tmp_path / "out.mp4")
    assert writer.warnings == [
        "sound was encoded anew as AAC: mp4 holds no pcm_s16le, and mixed from 7.1 to 5.1",
    ]
    assert strongest(tmp_path / "out.mp4")[0] == "5.1"


@pytest.mark.parametrize("encoder", ["pcm_s16le", "pcm_s24le", "pcm_s32le", "pcm_f32le"])
@pytest.mark.parametrize("output", ["out.mov", "out.mkv"])
def test_uncompressed_sound_is_copied_into_mov_and_mkv(tmp_path, encoder, output):
    path = channels(tmp_path / "in.mov", "stereo", encoder)
    writer = carry(path, tmp_path / output)
    assert writer.warnings == []

    def samples(file):
        with av.open(str(file)) as container:
            return b"".join(bytes(packet) for packet in container.demux(container.streams.audio[0]) if packet.size)

    assert samples(path) == samples(tmp_path / output)


def test_mp3_is_copied_into_mp4(tmp_path):
    writer = carry(channels(tmp_path / "in.mkv", "stereo", "libmp3lame"), tmp_path / "out.mp4")
    assert writer.warnings == []


def test_sound_that_the_container_holds_is_copied_not_encoded_again(tmp_path):
    path = source(tmp_path)
    writer = carry(path, tmp_path / "out.mp4")
    assert writer.warnings == []

    def packets(file):
        with av.open(str(file)) as container:
            return [bytes(p) for p in container.demux(container.streams.audio[0]) if p.size]

    assert packets(path) == packets(tmp_path / "out.mp4")


def test_sound_that_the_container_does_not_hold_becomes_aac_and_is_said(tmp_path):
    writer = carry(source(tmp_path, "in.avi", "pcm_s16le"), tmp_path / "out.mp4")
    assert writer.warnings == ["sound was encoded anew as AAC: mp4 holds no pcm_s16le"]
    with open_clip(tmp_path / "out.mp4") as clip:
        assert clip.info.has_audio


def test_times_rounded_to_milliseconds_make_no_clicks_when_sound_is_encoded_anew(tmp_path):
    rate = 44100  # a packet of 1024 samples lasts 23.2 ms
    tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate * 2) / rate)
    path = write_video(tmp_path / "in.mkv", list(numbered(32)), audio=("pcm_s16le", rate, tone))
    carry(path, tmp_path / "out.mp4")
    with av.open(str(tmp_path / "out.mp4")) as container:
        values = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    steps = np.abs(np.diff(values[4096:-4096]))
    assert steps.max() < 1.1 * 0.5 * 2 * np.pi * 440 / rate  # the tone's own steepest slope


def test_sound_is_cut_with_the_picture_when_the_picture_ends_early(tmp_path):
    path = source(tmp_path)
    with open_clip(path) as clip, ClipWriter(tmp_path / "out.mp4", clip.info, audio_from=path) as writer:
        writer.write(next(clip.chunks(16)))
    _, end = heard(tmp_path / "out.mp4")
    assert 0.95 <= end <= 1.05


def test_changing_the_frame_rate_leaves_the_sound_alone(tmp_path):
    path = source(tmp_path)
    carry(path, tmp_path / "out.mp4", frame_rate=Fraction(24))
    np.testing.assert_allclose(heard(tmp_path / "out.mp4")[0], BEEPS, atol=0.004)


def test_a_source_without_sound_or_of_images_gives_a_silent_output(tmp_path):
    path = write_video(tmp_path / "in.mp4", list(numbered(4)))
    assert carry(path, tmp_path / "out.mp4").warnings == []
    with open_clip(tmp_path / "out.mp4") as clip:
        assert not clip.info.has_audio
    with open_clip(path) as clip, ClipWriter(tmp_path / "images", clip.info, codec="images") as writer:
        writer.write(next(clip.chunks(4)))
    carry(tmp_path / "images", tmp_path / "from_images.mp4")
    with open_clip(tmp_path / "from_images.mp4") as clip:
        assert not clip.info.has_audio


def test_images_say_that_they_hold_no_sound(tmp_path):
    path = source(tmp_path)
    with (
        open_clip(path, duration_seconds=0.25) as clip,
        ClipWriter(tmp_path / "out", clip.info, codec="images", audio_from=path) as writer,
    ):
        writer.write(next(clip.chunks(4)))
    assert writer.warnings == ["images hold no sound: it was left out"]


def test_several_tracks_are_all_carried(tmp_path):
    path = tmp_path / "in.mkv"
    with av.open(str(source(tmp_path))) as origin, av.open(str(path), "w") as container:
        pairs = [(s, container.add_stream_from_template(s)) for s in (origin.streams.video[0], origin.streams.audio[0])]
        second = container.add_stream_from_template(origin.streams.audio[0])
        for packet in origin.demux():
            if packet.dts is None:
                continue
            for stream, target in pairs:
                if packet.stream is stream:
                    copy = av.Packet(bytes(packet))
                    copy.pts, copy.dts, copy.time_base, copy.duration = (
                        packet.pts,
                        packet.dts,
                        packet.time_base,
                        packet.duration,
                    )
                    packet.stream = target
                    container.mux(packet)
                    if stream.type == "audio":
                        copy.stream = second
                        container.mux(copy)
    carry(path, tmp_path / "out.mkv")
    with av.open(str(tmp_path / "out.mkv")) as container:
        assert len(container.streams.audio) == 2
