"""What a file says beside picture and sound goes along, or is said to be left out."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from media_files import numbered
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter

RATE = 48000


def source(path, *, tags=(), timecode="01:00:00:00", chapters=True, sound=True, subtitles=False):
    """Two seconds at 24 a second, with two tracks of silence."""
    with av.open(str(path), "w") as container:
        container.metadata.update({"title": "The street", "comment": "take 3", **dict(tags)})
        picture = container.add_stream("libx264", rate=24)
        picture.width = picture.height = 32
        if timecode:
            picture.metadata["timecode"] = timecode
        tracks = [container.add_stream("aac", rate=RATE, layout="mono") for _ in range(2 if sound else 0)]
        for track, language in zip(tracks, ("fra", "jpn"), strict=False):
            track.metadata.update({"language": language, "title": f"voice {language}"})
        if subtitles:
            text = container.add_mux_stream("subrip")
            text.time_base = Fraction(1, 1000)
        if chapters:
            marks = [(0, 1000, "one"), (1000, 2000, "two")]
            container.set_chapters(
                [
                    {"id": i + 1, "start": a, "end": b, "time_base": Fraction(1, 1000), "metadata": {"title": name}}
                    for i, (a, b, name) in enumerate(marks)
                ]
            )
        for index, frame in enumerate(numbered(48)):
            content = av.VideoFrame.from_ndarray(frame, "rgb24").reformat(format="yuv420p")
            content.pts, content.time_base = index, Fraction(1, 24)
            container.mux(picture.encode(content))
        container.mux(picture.encode(None))
        for track in tracks:
            for begin in range(0, 2 * RATE, 1024):
                frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
                frame.sample_rate, frame.pts, frame.time_base = RATE, begin, Fraction(1, RATE)
                container.mux(track.encode(frame))
            container.mux(track.encode(None))
        if subtitles:
            packet = av.Packet(b"hello")
            packet.pts = packet.dts = 0
            packet.duration, packet.time_base, packet.stream = 1000, Fraction(1, 1000), text
            container.mux(packet)
    return path


def carry(path, output, start_seconds=0.0, **options):
    with (
        open_clip(path, start_seconds=start_seconds, **options) as clip,
        ClipWriter(output, clip.info, audio_from=path, audio_start_seconds=start_seconds) as writer,
    ):
        for chunk in clip.chunks(16):
            writer.write(chunk)
    return writer.warnings


def said(path):
    with av.open(str(path)) as container:
        tags = {name.lower(): value for name, value in container.metadata.items()}
        tracks = [track.metadata for track in container.streams.audio]
        names = [(track.get("language"), track.get("title") or track.get("name")) for track in tracks]
        picture = {name.lower(): value for name, value in container.streams.video[0].metadata.items()}
        chapters = [
            (*(float(chapter[side] * chapter["time_base"]) for side in ("start", "end")), chapter["metadata"]["title"])
            for chapter in container.chapters()
        ]
    return tags, names, picture.get("timecode"), chapters


KINDS = ["mp4", "mov", "mkv"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", KINDS)
def test_titles_languages_chapters_and_timecode_are_carried(tmp_path, kind, output):
    assert carry(source(tmp_path / f"in.{kind}"), tmp_path / f"out.{output}") == []
    tags, names, timecode, chapters = said(tmp_path / f"out.{output}")
    assert (tags["title"], tags["comment"]) == ("The street", "take 3")
    assert names == [("fra", "voice fra"), ("jpn", "voice jpn")]
    assert timecode == "01:00:00:00"
    assert chapters == [(0, 1, "one"), (1, 2, "two")]


@pytest.mark.parametrize("kind", KINDS)
def test_timecode_and_chapters_begin_with_the_first_frame_shown(tmp_path, kind):
    path = source(tmp_path / "in.mkv")
    assert carry(path, tmp_path / f"out.{kind}", 0.52, duration_seconds=1.0) == []  # frame 12, at 0.5 s
    _, _, timecode, chapters = said(tmp_path / f"out.{kind}")
    assert timecode == "01:00:00:12"
    assert chapters == [(0, 0.5, "one"), (0.5, 1, "two")]


def test_what_the_container_does_not_hold_is_said_in_one_sentence(tmp_path):
    path = source(tmp_path / "in.mkv", tags={"weather": "rain"}, subtitles=True)
    assert carry(path, tmp_path / "out.mp4") == ["not carried along into mp4: the tag weather, 1 subtitle tracks"]


def test_a_timecode_is_left_out_where_the_rate_changes(tmp_path):
    path = source(tmp_path / "in.mov", chapters=False)
    said_of = carry(path, tmp_path / "out.mov", frame_rate=Fraction(16))
    assert said_of == ["not carried along into mov: the timecode"]
    assert said(tmp_path / "out.mov")[2] is None


def test_a_file_without_sound_gives_its_tags_where_they_are_asked_for(tmp_path):
    path = source(tmp_path / "in.mov", sound=False, chapters=False)
    with open_clip(path) as clip:
        with ClipWriter(tmp_path / "with.mp4", clip.info, tags_from=path) as writer:
            writer.write(next(clip.chunks(4)))
        with ClipWriter(tmp_path / "without.mp4", clip.info) as plain:
            plain.write(next(clip.chunks(4)))
    assert writer.warnings == plain.warnings == []
    assert said(tmp_path / "with.mp4")[0]["title"] == "The street"
    assert said(tmp_path / "with.mp4")[2] == "01:00:00:00"
    assert "title" not in said(tmp_path / "without.mp4")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_source_gives_the_same_bytes_and_no_date(tmp_path, kind):
    path = source(tmp_path / "in.mov", tags={"creation_time": "2024-05-01T10:00:00Z"})
    for name in ("one", "two"):
        carry(path, tmp_path / f"{name}.{kind}")
    assert (tmp_path / f"one.{kind}").read_bytes() == (tmp_path / f"two.{kind}").read_bytes()
    assert "creation_time" not in said(tmp_path / f"one.{kind}")[0]
