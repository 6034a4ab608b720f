"""Cut and damaged videos: what decodes is delivered, and what is missing is said."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from media_files import chart, numbered, read_numbers, write_video
from realmaster.errors import MediaError
from realmaster.media.reader import open_clip

NOISE = np.random.default_rng(0).integers(0, 256, (48, 64, 64, 3), dtype=np.uint8)


def read(path, **options):
    with open_clip(path, **options) as clip:
        chunks = list(clip.chunks(8))
        return np.concatenate(chunks), clip


def cut(path, share):
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


CASES = {
    "a.mp4": {"container_options": {"movflags": "+faststart"}},
    "fragments.mp4": {"container_options": {"movflags": "+frag_keyframe+empty_moov"}, "options": {"g": "8", "qp": "1"}},
    "a.mkv": {},
    "a.webm": {"encoder": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
    "a.avi": {"encoder": "mpeg4"},
    "a.mov": {"encoder": "prores_ks", "pixel_format": "yuv422p10le", "container_options": {"movflags": "+faststart"}},
}


@pytest.mark.parametrize("name", CASES)
def test_a_cut_video_gives_what_decodes_and_says_where_it_ends(tmp_path, name):
    path = cut(write_video(tmp_path / name, list(NOISE), **CASES[name]), 0.5)
    frames, clip = read(path)
    assert 8 <= len(frames) <= 40
    if name != "fragments.mp4":  # its parts state no whole
        assert "ends after" in clip.truncated
        assert "of 3.00 s" in clip.truncated


@pytest.mark.parametrize("name", CASES)
def test_a_whole_video_is_not_called_cut(tmp_path, name):
    path = write_video(tmp_path / name, list(NOISE), **CASES[name])
    frames, clip = read(path)
    assert len(frames) == 48
    assert clip.truncated is None
    assert clip.warnings == []
    assert read(path, start_seconds=1.5)[1].truncated is None


@pytest.mark.parametrize("suffix", [".mp4", ".mov", ".mkv"])
def test_a_last_frame_that_is_held_longer_stays_for_as_long(tmp_path, suffix):
    path = write_video(tmp_path / f"in{suffix}", list(numbered(8)), options={"bf": "0"})
    with av.open(str(path)) as origin, av.open(str(tmp_path / f"out{suffix}"), "w") as container:
        stream = container.add_stream_from_template(origin.streams.video[0])
        packets = [packet for packet in origin.demux(video=0) if packet.dts is not None]
        packets[-1].duration = round(Fraction(6, 16) / packets[-1].time_base)
        for packet in packets:
            packet.stream = stream
            container.mux(packet)
    frames, clip = read(tmp_path / f"out{suffix}")
    assert read_numbers(frames) == [*range(8), 7, 7, 7, 7, 7]
    assert (clip.truncated, clip.info.num_frames) == (None, 13)
    frames, clip = read(tmp_path / f"out{suffix}", start_seconds=0.6)
    assert read_numbers(frames) == [7, 7, 7]  # nearest to 0.6 s is the tenth of thirteen, a held one


@pytest.mark.parametrize("name", ["a.mov", "a.mkv", "a.webm", "a.avi"])
def test_a_cut_that_takes_two_frames_is_said(tmp_path, name):
    given = {"container_options": {"movflags": "faststart"}} if name == "a.mov" else {}
    if name == "a.webm":
        given |= {"encoder": "libvpx-vp9", "options": {"lossless": "1", "deadline": "realtime"}}
    if name == "a.avi":
        given |= {"encoder": "mpeg4", "options": {"qscale": "1"}}
    whole = write_video(tmp_path / name, list(NOISE), rate=25, **given)
    assert read(whole)[1].truncated is None
    frames, clip = read(cut(whole, 0.955))
    assert 44 <= len(frames) <= 47
    assert "ends after" in clip.truncated


@pytest.mark.parametrize("suffix", [".mkv", ".webm"])
def test_a_whole_clip_whose_times_begin_late_is_not_called_cut(tmp_path, suffix):
    encoder = {"encoder": "libvpx-vp9", "options": {"deadline": "realtime"}} if suffix == ".webm" else {}
    times = [Fraction(index, 25) + 5 for index in range(20)]
    path = write_video(
        tmp_path / f"a{suffix}", list(numbered(20)), rate=25, times=times, time_base=Fraction(1, 1000), **encoder
    )
    frames, clip = read(path)
    assert (len(frames), clip.truncated) == (20, None)


def test_a_cut_behind_the_wanted_part_does_not_matter(tmp_path):
    path = cut(write_video(tmp_path / "a.mp4", list(NOISE), **CASES["a.mp4"]), 0.5)
    frames, clip = read(path, duration_seconds=0.5)
    assert len(frames) == 8
    assert clip.truncated is None


def test_an_mp4_cut_before_its_index_is_refused_with_the_likely_reason(tmp_path):
    path = cut(write_video(tmp_path / "a.mp4", list(NOISE)), 0.9)
    with pytest.raises(MediaError, match=r"expected a video \(or one cut off before its index was written\)"):
        open_clip(path)


def test_damage_in_the_middle_is_stepped_over_and_said(tmp_path):
    # every frame is a key frame of its own, so one ruined packet is one lost frame
    path = write_video(tmp_path / "a.mov", list(numbered(20, 64, 64)), encoder="png", options={}, pixel_format="rgb24")
    data = bytearray(path.read_bytes())
    starts = [place for place in range(len(data) - 4) if data[place : place + 4] == b"\x89PNG"]
    data[starts[10] : starts[10] + 8] = bytes(8)
    path.write_bytes(bytes(data))
    frames, clip = read(path)
    assert read_numbers(frames) == [*range(10), 9, *range(11, 20)]
    assert clip.warnings == ["1 damaged pieces did not decode: the frames beside them were shown in their place"]
    assert clip.truncated is None


def test_frames_that_the_codec_conceals_are_delivered_and_said(tmp_path):
    path = write_video(tmp_path / "a.mkv", list(NOISE), options={"g": "8", "qp": "10", "preset": "ultrafast"})
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 400] = np.random.default_rng(1).bytes(400)
    path.write_bytes(bytes(data))
    frames, clip = read(path)
    assert len(frames) >= 46
    assert any("damaged" in warning for warning in clip.warnings)


def test_a_video_whose_frames_all_fail_is_refused(tmp_path):
    path = write_video(tmp_path / "a.mov", [chart()] * 4, encoder="png", options={}, pixel_format="rgb24")
    path.write_bytes(path.read_bytes().replace(b"\x89PNG", b"\x00\x00\x00\x00"))
    with pytest.raises(MediaError, match=r"expected frames that decode, none does .*export it again"):
        open_clip(path)
