"""Videos of the containers and shapes that people have."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction

import av
import numpy as np
import pytest

from media_files import chart, numbered, read_numbers, to_yuv, video_frame, write_video
from realmaster.errors import MediaError
from realmaster.media import probe
from realmaster.media.reader import open_clip


def read(path, size=4, **options):
    with open_clip(path, **options) as clip:
        return np.concatenate(list(clip.chunks(size))), clip


CONTAINERS = [
    ("a.mp4", "libx264", None, None),
    ("a.mov", "prores_ks", {"profile": "hq"}, "yuv422p10le"),
    ("a.mkv", "ffv1", {}, "yuv420p"),
    ("a.mkv", "libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}, "yuv420p10le"),
    ("a.webm", "libvpx-vp9", {"deadline": "realtime", "lossless": "1"}, "yuv420p"),
    ("a.avi", "mpeg4", {"qmin": "1", "qmax": "1"}, "yuv420p"),
    ("a.avi", "mjpeg", {"qmin": "1", "qmax": "1"}, "yuvj420p"),
    ("a.gif", "gif", {}, "rgb8"),
]


@pytest.mark.parametrize(("name", "encoder", "options", "pixel_format"), CONTAINERS)
def test_each_container_gives_its_frames_rate_and_length(tmp_path, name, encoder, options, pixel_format):
    write_video(
        tmp_path / name,
        list(numbered(10)),
        encoder=encoder,
        options=options,
        pixel_format=pixel_format,
        rate=10,
        full_range=None if encoder == "mjpeg" else False,
    )
    frames, clip = read(tmp_path / name)
    expected = numbered(10).astype(int)
    assert np.abs(frames.astype(int) - expected)[..., 0].mean() < (20 if name == "a.gif" else 4)
    assert (clip.info.width, clip.info.height, clip.info.frame_rate) == (32, 32, 10)
    assert (clip.info.num_frames, clip.info.duration_seconds, clip.truncated) == (10, 1.0, None)
    if name != "a.gif":  # a gif of 256 fixed colours does not keep steps of 4 levels
        assert read_numbers(frames) == list(range(10))


def test_chunks_have_the_size_asked_for_and_the_last_the_rest(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(10)))
    with open_clip(path) as clip:
        assert [len(chunk) for chunk in clip.chunks(4)] == [4, 4, 2]
        assert [len(chunk) for chunk in clip.chunks(5)] == [5, 5]  # a clip can be read again
        with pytest.raises(ValueError, match="at least one"):
            next(clip.chunks(0))


def test_8_frames_a_second_become_16_by_repeating(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(6)), rate=8)
    frames, clip = read(path, frame_rate=Fraction(16))
    assert read_numbers(frames) == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]
    assert (clip.info.num_frames, clip.info.frame_rate) == (12, 16)


def test_other_rates_take_the_nearest_frame(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(12)), rate=24)
    frames, _ = read(path, frame_rate=Fraction(16))
    assert read_numbers(frames) == [0, 1, 3, 4, 6, 7, 9, 10]  # 1.5 lies between 1 and 2: the earlier


def test_ntsc_rates_are_exact_in_a_container_that_rounds_to_milliseconds(tmp_path):
    rate = Fraction(30000, 1001)
    path = write_video(tmp_path / "a.mkv", list(numbered(40)), rate=rate)
    frames, clip = read(path)
    assert clip.info.frame_rate == rate
    assert read_numbers(frames) == list(range(40))


def test_a_variable_rate_is_made_constant_by_nearest_time_and_said(tmp_path):
    times = [Fraction(t, 1000) for t in (0, 30, 140, 170, 400, 430, 460, 500)]
    path = write_video(tmp_path / "a.mkv", list(numbered(8)), times=times, time_base=Fraction(1, 1000), rate=20)
    frames, clip = read(path)
    rate = clip.info.frame_rate
    assert rate == 15  # 7 steps in half a second: 14 on average, 15 is the next standard rate
    nearest = [min(range(8), key=lambda i: (abs(times[i] - k / rate), i)) for k in range(len(frames))]
    assert read_numbers(frames) == nearest
    assert "rate varies" in clip.warnings[0]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("start", [0.0, 0.25, 1.5, 2.875])
def test_a_start_is_exact_with_and_without_key_frames_near(tmp_path, name, start):
    frames = list(numbered(56))
    encoder, options = (
        ("mpeg4", {"g": "12", "qmin": "1", "qmax": "1"})
        if name == "a.avi"
        else ("libx264", {"g": "12", "bf": "2", "qp": "1"})
    )
    path = write_video(tmp_path / name, frames, encoder=encoder, options=options)
    got, clip = read(path, start_seconds=start, duration_seconds=0.5)
    first = int(start * 16)
    assert read_numbers(got) == list(range(first, first + 8))
    assert clip.info.num_frames == 8


def test_a_late_start_does_not_decode_all_that_comes_before(tmp_path, monkeypatch):
    from realmaster.media.video import VideoReader

    path = write_video(tmp_path / "a.mp4", list(numbered(56)), options={"g": "12", "qp": "1"})
    decoded, pictures = [], VideoReader._pictures
    monkeypatch.setattr(VideoReader, "_pictures", lambda *a: (decoded.append(f) or f for f in pictures(*a)))
    read(path, start_seconds=3)
    assert len(decoded) < 40


def test_a_duration_beyond_the_end_is_cut_to_the_clip_without_complaint(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(10)))
    frames, clip = read(path, start_seconds=0.25, duration_seconds=100)
    assert read_numbers(frames) == [4, 5, 6, 7, 8, 9]
    assert (clip.info.num_frames, clip.truncated) == (6, None)


def test_a_start_beyond_the_end_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(8)))
    with pytest.raises(MediaError, match=r"before the clip's end at 0\.500 s, got 3 s: start earlier"):
        open_clip(path, start_seconds=3)


@pytest.mark.parametrize(
    "options",
    [
        {"start_seconds": -1.0},
        {"start_seconds": float("nan")},
        {"duration_seconds": 0.0},
        {"duration_seconds": float("inf")},
        {"frame_rate": Fraction(0)},
        {"frame_rate": Fraction(100000)},
    ],
)
def test_times_and_rates_that_make_no_sense_are_refused(tmp_path, options):
    path = write_video(tmp_path / "a.mp4", list(numbered(2)))
    with pytest.raises(MediaError, match="expected a"):
        open_clip(path, **options)


ORIENTATIONS = {
    # what a player shows, and the display matrix that asks for it
    "upright": ([1, 0, 0, 1], lambda f: f),
    "quarter clockwise": ([0, 1, -1, 0], lambda f: np.rot90(f, -1)),
    "half": ([-1, 0, 0, -1], lambda f: np.rot90(f, 2)),
    "quarter counter-clockwise": ([0, -1, 1, 0], lambda f: np.rot90(f, 1)),
    "mirrored": ([-1, 0, 0, 1], lambda f: f[:, ::-1]),
    "upside down": ([1, 0, 0, -1], lambda f: f[::-1]),
    "transposed": ([0, 1, 1, 0], lambda f: f.transpose(1, 0, 2)),
    "anti-transposed": ([0, -1, -1, 0], lambda f: f[::-1, ::-1].transpose(1, 0, 2)),
}


@pytest.mark.parametrize("name", ORIENTATIONS)
def test_rotation_metadata_is_applied(tmp_path, name):
    (a, b, c, d), shown = ORIENTATIONS[name]
    matrix = [value << 16 for value in (a, b)] + [0] + [value << 16 for value in (c, d)] + [0, 0, 0, 1 << 30]
    picture = chart(48, 64)
    path = write_video(tmp_path / "a.mov", [picture] * 2, pixel_format="yuv444p", display_matrix=matrix)
    frames, clip = read(path)
    assert (clip.info.height, clip.info.width) == shown(picture).shape[:2]
    assert np.abs(frames[0].astype(int) - shown(picture)).max() <= 4


def test_pixels_that_are_not_square_are_stretched_and_said(tmp_path):
    path = write_video(tmp_path / "a.mp4", [chart(32, 48)] * 2, pixel_aspect=Fraction(4, 3))
    frames, clip = read(path)
    assert frames.shape[1:3] == (32, 64) == (clip.info.height, clip.info.width)
    assert "not square (4/3)" in clip.warnings[0]
    path = write_video(tmp_path / "b.mp4", [chart(32, 48)] * 2, pixel_aspect=Fraction(1, 2))
    assert read(path)[0].shape[1:3] == (64, 48)


@pytest.mark.parametrize("size", [(1, 1), (33, 17), (2, 16384)])
def test_odd_tiny_and_very_wide_frames_are_read(tmp_path, size):
    picture = chart(*size)
    planes = to_yuv(picture, "bt709", full_range=False)
    path = write_video(tmp_path / "a.mkv", [video_frame(planes, "yuv444p")] * 2)
    frames, _ = read(path)
    assert frames.shape == (2, *size, 3)
    assert np.abs(frames[0].astype(int) - picture).max() <= 3


def test_interlaced_video_is_said(tmp_path):
    options = {"preset": "ultrafast", "qp": "10", "x264-params": "tff=1"}
    _, clip = read(write_video(tmp_path / "a.mkv", [chart(64, 64)] * 4, options=options))
    assert "interlaced" in clip.warnings[0]


def test_a_frame_size_that_changes_is_brought_to_the_first_and_said(tmp_path):
    # bare H.264 has no container to state a size, so two clips can follow each other
    small = write_video(tmp_path / "small.h264", list(numbered(4, 32, 32)))
    large = write_video(tmp_path / "large.h264", list(numbered(8, 64, 64))[4:])
    (tmp_path / "both.h264").write_bytes(small.read_bytes() + large.read_bytes())
    frames, clip = read(tmp_path / "both.h264")
    assert frames.shape[1:] == (32, 32, 3)
    assert read_numbers(frames) == list(range(8))
    assert any("size changes" in warning for warning in clip.warnings)


def test_one_frame_is_a_clip(tmp_path):
    for name in ("a.mp4", "a.mkv", "a.gif"):
        options = {"encoder": "gif", "options": {}, "pixel_format": "rgb8"} if name == "a.gif" else {}
        frames, clip = read(write_video(tmp_path / name, list(numbered(1)), **options))
        assert len(frames) == 1
        assert clip.info.num_frames == 1
        assert clip.truncated is None


def test_a_name_that_looks_like_an_option_or_a_protocol_is_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("-clip.mp4", "a:b.mp4", "http:x.mp4", "frame%03d.mp4", "clip[1].mp4"):
        write_video(tmp_path / "plain.mp4", list(numbered(2))).rename(tmp_path / name)
        assert len(read(name)[0]) == 2


def test_memory_does_not_grow_with_the_clip(tmp_path):
    def peak(num_frames):
        frame = video_frame(to_yuv(chart(96, 96), "bt709", full_range=False), "yuv444p")
        path = write_video(tmp_path / f"{num_frames}.mkv", [frame] * num_frames)
        tracemalloc.start()
        with open_clip(path) as clip:
            count = sum(len(chunk) for chunk in clip.chunks(8))
        _, largest = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert count == num_frames
        return largest

    peak(16)
    assert peak(400) < peak(40) + 100_000  # the longer clip's frames are 10 MB more


def test_sound_alone_and_a_text_file_are_no_videos(tmp_path):
    with av.open(str(tmp_path / "a.wav"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(MediaError, match=r"a\.wav: expected a video, .*no video stream"):
        open_clip(tmp_path / "a.wav")
    (tmp_path / "a.mp4").write_text("this is a text " * 100)
    with pytest.raises(MediaError, match=r"a\.mp4: expected a video .*Invalid data"):
        open_clip(tmp_path / "a.mp4")
    (tmp_path / "empty.mkv").write_bytes(b"")
    with pytest.raises(MediaError, match=r"empty\.mkv: expected a video"):
        open_clip(tmp_path / "empty.mkv")


def test_nothing_there_is_said_with_the_path(tmp_path):
    with pytest.raises(MediaError, match=r"none\.mp4: expected a video, .* found nothing there: check the path"):
        open_clip(tmp_path / "none.mp4")
    with pytest.raises(MediaError, match="found nothing there"):
        open_clip(tmp_path / "clip[1].mp4")


def test_a_video_without_frames_is_refused(tmp_path):
    with av.open(str(tmp_path / "a.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=16)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()
    with pytest.raises(MediaError, match="ends before its first frame"):
        open_clip(tmp_path / "a.mkv")


@pytest.mark.parametrize("encoder", ["libvpx", "libvpx-vp9"])
def test_alpha_beside_a_webm_picture_is_laid_over_black_and_said(tmp_path, monkeypatch, encoder):
    white = np.full((32, 32, 4), 255, np.uint8)
    white[:, :16, 3] = 0
    frames = [av.VideoFrame.from_ndarray(white, format="rgba").reformat(format="yuva420p") for _ in range(3)]
    path = write_video(tmp_path / "a.webm", frames, encoder=encoder, options={"auto-alt-ref": "0"})
    shown, clip = read(path)
    assert len(shown) == 3
    assert clip.info.has_alpha
    assert shown[:, :, :12].max() <= 4
    assert shown[:, :, 20:].min() >= 250
    assert any("laid over black" in warning for warning in clip.warnings)
    monkeypatch.setattr(probe, "_ALPHA_DECODERS", {"vp8": "no-such-decoder", "vp9": "no-such-decoder"})
    shown, clip = read(path)
    assert shown.min() >= 250
    assert "transparency that cannot be read here" in clip.warnings[0]


def test_from_a_start_between_frames_none_comes_twice(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(10)), rate=10)
    for start, expected in ((0.44, range(4, 10)), (0.47, range(5, 10)), (0.99, [9])):
        with open_clip(path, start_seconds=start) as clip:
            assert read_numbers(np.concatenate(list(clip.chunks(20)))) == [*expected]
            assert clip.info.num_frames == len(expected)


@pytest.mark.parametrize("encoder", ["libx264", "mpeg4", "mpeg2video"])
def test_an_avi_with_frames_stored_out_of_order_is_read_in_order(tmp_path, encoder):
    options = {"preset": "medium", "x264-params": "scenecut=0:b-adapt=0:keyint=8"} if encoder == "libx264" else {}
    path = write_video(tmp_path / "a.avi", list(numbered(45)), rate=25, encoder=encoder, options={"bf": "2"} | options)
    for start, first in ((0, 0), (1.2, 30)):
        with open_clip(path, start_seconds=start) as clip:
            shown = read_numbers(np.concatenate(list(clip.chunks(50))))
            assert shown == pytest.approx(range(first, 45), abs=0 if encoder == "libx264" else 1)  # levels are lossy
            assert clip.truncated is None
            assert clip.info.num_frames == 45 - first


@pytest.mark.parametrize("suffix", [".avi", ".mp4", ".mkv"])
def test_a_title_in_another_alphabet_s_bytes_does_not_matter(tmp_path, suffix):
    path = tmp_path / f"a{suffix}"
    with (
        av.open(str(write_video(tmp_path / "b.mp4", list(numbered(5)), encoder="mpeg4"))) as origin,
        av.open(str(path), "w") as out,
    ):
        out.metadata["title"] = "CafeXX"
        stream = out.add_stream_from_template(origin.streams.video[0])
        for packet in origin.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                out.mux(packet)
    path.write_bytes(path.read_bytes().replace(b"CafeXX", b"Caf\xe9XX"))
    with open_clip(path) as clip:
        assert len(np.concatenate(list(clip.chunks(9)))) == 5


def test_a_codec_that_nothing_here_decodes_is_refused_in_one_line(tmp_path):
    path = write_video(tmp_path / "a.mp4", list(numbered(5)))
    path.write_bytes(path.read_bytes().replace(b"avc1", b"brxq"))  # Blackmagic RAW
    with pytest.raises(MediaError, match=r"could not read it \(its codec is not known here"):
        open_clip(path)


def test_a_rate_that_is_no_usual_fraction_can_be_written_again(tmp_path):
    times = [Fraction(round(index / 30.0004 * 1_000_000), 1_000_000) for index in range(2603)]
    frames = list(numbered(1)) * 2603
    path = write_video(
        tmp_path / "a.mp4", frames, times=times, time_base=Fraction(1, 1_000_000),
        container_options={"video_track_timescale": "1000000"}, options={"bf": "0", "preset": "ultrafast"},
    )  # fmt: skip
    with open_clip(path) as clip:
        rate = clip.info.frame_rate
        assert float(rate) == pytest.approx(30.0004, abs=1e-6)
        assert max(rate.numerator, rate.denominator) < 2**31
