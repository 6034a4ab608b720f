from __future__ import annotations

import errno
import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from media_files import chart, numbered, read_numbers, write_video
from realmaster.errors import OutputError
from realmaster.media import output, sinks
from realmaster.media.reader import open_clip
from realmaster.media.writer import ClipWriter
from realmaster.types import ClipInfo

NOISE = np.random.default_rng(0).integers(0, 256, (6, 48, 64, 3), dtype=np.uint8)


def info_of(frames, rate=Fraction(16), source=""):
    return ClipInfo(frames.shape[2], frames.shape[1], Fraction(rate), source=source)


def write(path, frames, rate=Fraction(16), **options):
    with ClipWriter(path, info_of(frames, rate), **options) as writer:
        writer.write(frames[:1])
        writer.write(frames[1:])
    return path


def read(path, **options):
    with open_clip(path, **options) as clip:
        return np.concatenate(list(clip.chunks(4)))


@pytest.mark.parametrize("name", ["a.mkv", "a.mp4", "a.mov"])
@pytest.mark.parametrize("size", [(48, 64), (17, 33), (1, 1), (4, 4)])
def test_a_lossless_clip_comes_back_bit_for_bit(tmp_path, name, size):
    frames = NOISE[:, : size[0], : size[1]]
    assert (read(write(tmp_path / name, frames, codec="lossless")) == frames).all()


def test_a_lossless_copy_of_a_lossless_copy_is_the_same(tmp_path):
    first = write(tmp_path / "a.mkv", NOISE, codec="lossless")
    second = write(tmp_path / "b.mp4", read(first), codec="lossless")
    assert (read(second) == NOISE).all()


def test_a_colour_chart_survives_h264_within_2_levels(tmp_path):
    frames = np.repeat(chart(480, 832, patch=32)[None], 8, axis=0)  # 390 colours
    difference = np.abs(read(write(tmp_path / "a.mp4", frames)).astype(int) - frames)
    # chroma has half the resolution: a patch's border mixes with its neighbour
    inner = difference.reshape(8, 15, 32, 26, 32, 3)[:, :, 8:24, :, 8:24]
    assert inner.max() <= 2


def test_the_same_frames_give_the_same_bytes_however_often_they_are_written(tmp_path, checkout):
    street = checkout / "assets/demo/street.mp4"
    if not street.exists():
        pytest.skip("the demo's clip is not part of the source distribution")
    with open_clip(street) as clip:
        frames = next(clip.chunks(20))
    files = {write(tmp_path / f"{i}.mp4", frames).read_bytes() for i in range(4)}
    assert len(files) == 1  # x264's macroblock trees made four files of them


@pytest.mark.parametrize("codec", ["prores", "prores4444"])
def test_a_colour_chart_survives_prores_within_2_levels(tmp_path, codec):
    frames = np.repeat(chart(96, 128, patch=32)[None], 3, axis=0)
    difference = np.abs(read(write(tmp_path / "a.mov", frames, codec=codec)).astype(int) - frames)
    assert difference.reshape(3, 3, 32, 4, 32, 3)[:, :, 8:24, :, 8:24].max() <= 2


@pytest.mark.parametrize(
    ("name", "codec", "encoder", "pixel_format"),
    [
        ("a.mp4", "h264", "h264", "yuv420p"),
        ("a.mkv", "h264", "h264", "yuv420p"),
        ("a.mov", "prores", "prores", "yuv422p10le"),
        ("a.mov", "prores4444", "prores", "yuv444p12le"),
        ("a.mkv", "lossless", "ffv1", "bgr0"),
        ("a.mp4", "lossless", "h264", "gbrp"),
    ],
)
def test_colour_tags_say_what_was_written(tmp_path, name, codec, encoder, pixel_format):
    path = write(tmp_path / name, NOISE, codec=codec)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frame = next(container.decode(stream))
        assert stream.codec_context.name == encoder
        assert frame.format.name == pixel_format
        if codec == "lossless":
            assert (frame.color_range, frame.color_trc, frame.color_primaries) == (2, 13, 1)
        else:
            assert (frame.colorspace, frame.color_range, frame.color_trc, frame.color_primaries) == (1, 1, 1, 1)


@pytest.mark.parametrize("name", ["a.mp4", "a.mov", "a.mkv"])
@pytest.mark.parametrize("rate", [Fraction(16), Fraction(24000, 1001), Fraction(8), Fraction(60000, 1001)])
def test_the_frame_rate_is_written_exactly(tmp_path, name, rate):
    path = write(tmp_path / name, numbered(20), rate=rate)
    with open_clip(path) as clip:
        assert clip.info.frame_rate == rate
        assert clip.info.num_frames == 20
    assert read_numbers(read(path)) == list(range(20))


def test_the_same_frames_give_the_same_bytes(tmp_path):
    for name, codec in (("a.mp4", "h264"), ("a.mov", "prores"), ("a.mkv", "lossless"), ("a.mkv", "h264")):
        one = write(tmp_path / f"1{name}", NOISE, codec=codec, overwrite=True)
        two = write(tmp_path / f"2{name}", NOISE, codec=codec, overwrite=True)
        assert one.read_bytes() == two.read_bytes()


def test_odd_sizes_keep_their_size_and_say_what_that_costs(tmp_path):
    frames = NOISE[:, :47, :63]
    with ClipWriter(tmp_path / "a.mp4", info_of(frames)) as writer:
        writer.write(frames)
    assert "63x47 is an odd size" in writer.warnings[0]
    assert read(tmp_path / "a.mp4").shape == frames.shape


def test_frames_too_wide_for_h264_are_refused_with_another_way(tmp_path):
    info = ClipInfo(20000, 8, Fraction(16))
    with pytest.raises(OutputError, match=r"got 20000x8 at 16 a second: choose codec lossless"):
        ClipWriter(tmp_path / "a.mp4", info)
    assert list(tmp_path.iterdir()) == []
    frames = np.zeros((2, 8, 20000, 3), np.uint8)
    assert (read(write(tmp_path / "a.mkv", frames, codec="lossless")) == 0).all()


def test_16384_wide_frames_are_written_and_read(tmp_path):
    frames = np.tile(chart(16, 64), (2, 1, 256, 1))
    assert read(write(tmp_path / "a.mp4", frames)).shape == (2, 16, 16384, 3)


def test_images_are_written_as_a_folder_that_reads_back_the_same(tmp_path):
    write(tmp_path / "clip", NOISE, codec="images")
    names = sorted(file.name for file in (tmp_path / "clip").iterdir())
    assert names == [f"frame_{index:06d}.png" for index in range(6)]
    assert (read(tmp_path / "clip") == NOISE).all()


def test_a_pattern_names_the_images(tmp_path):
    write(tmp_path / "clip" / "shot_%03d.jpg", NOISE, codec="images")
    names = sorted(file.name for file in (tmp_path / "clip").iterdir())
    assert names == [f"shot_{index:03d}.jpg" for index in range(6)]


# --- refusals


@pytest.mark.parametrize(
    ("name", "codec", "message"),
    [
        ("a.webm", "h264", r"expected a name ending in \.mp4, .*got '\.webm': rename"),
        ("a", "h264", "got '': rename"),
        ("a.mp4", "prores", r"expected a name ending in \.mov"),
        ("a.mp4", "av2", "expected a codec of h264, prores.* got 'av2'"),
        ("a.mp4", "images", "drop the ending"),
        ("shot.png", "images", r"a pattern such as shot_%04d\.png, got the name of one image"),
        ("shot.png", "h264", "with --codec images"),
        ("folder", "h264", "with --codec images"),
        ("a.gif", "lossless", "with --codec images"),
        ("%03d.tiff", "images", "expected images ending in"),
    ],
)
def test_names_and_codecs_that_do_not_go_together_are_refused(tmp_path, name, codec, message):
    with pytest.raises(OutputError, match=message):
        ClipWriter(tmp_path / name, info_of(NOISE), codec=codec)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_output_is_kept_unless_overwriting_is_allowed(tmp_path):
    path = write(tmp_path / "a.mkv", NOISE, codec="lossless")
    before = path.read_bytes()
    with pytest.raises(OutputError, match=r"a\.mkv: expected a free name, found something there"):
        ClipWriter(path, info_of(NOISE), codec="lossless")
    with pytest.raises(RuntimeError):
        write_and_fail(path, RuntimeError, codec="lossless", overwrite=True)
    assert path.read_bytes() == before
    write(path, NOISE[::-1], codec="lossless", overwrite=True)
    assert (read(path) == NOISE[::-1]).all()


def test_an_existing_folder_of_images_is_replaced_only_on_request_and_only_if_it_holds_nothing_else(tmp_path):
    folder = write(tmp_path / "clip", NOISE, codec="images")
    with pytest.raises(OutputError, match="expected a free name"):
        ClipWriter(folder, info_of(NOISE), codec="images")
    write(folder, NOISE[:2], codec="images", overwrite=True)
    assert len(list(folder.iterdir())) == 2
    (folder / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match=r"expected only images to replace, found thesis\.txt"):
        ClipWriter(folder, info_of(NOISE), codec="images", overwrite=True)
    assert (folder / "thesis.txt").exists()
    assert [file.name for file in tmp_path.iterdir()] == ["clip"]


def test_an_output_that_is_the_input_is_refused_even_through_links_and_when_overwriting(tmp_path):
    source = write_video(tmp_path / "a.mp4", list(numbered(2)))
    (tmp_path / "soft.mp4").symlink_to(source)
    os.link(source, tmp_path / "hard.mp4")
    before = source.read_bytes()
    for name in ("a.mp4", "soft.mp4", "hard.mp4", "../" + tmp_path.name + "/a.mp4"):
        with pytest.raises(OutputError, match="expected an output other than the input"):
            ClipWriter(tmp_path / name, info_of(NOISE, source=str(source)), overwrite=True)
    assert source.read_bytes() == before


@pytest.mark.parametrize("source", ["", "*.png", "frame_%06d.png", "frame_000000.png"])
def test_the_folder_that_images_come_from_is_never_replaced(tmp_path, source):
    folder = write(tmp_path / "clip", NOISE, codec="images")
    with pytest.raises(OutputError, match="expected an output other than the input"):
        ClipWriter(folder, info_of(NOISE, source=str(folder / source)), codec="images", overwrite=True)
    assert len(list(folder.iterdir())) == 6


def test_an_output_that_cannot_be_written_is_refused_at_once(tmp_path):
    with pytest.raises(OutputError, match="to exist, it does not: make it first"):
        ClipWriter(tmp_path / "none" / "a.mp4", info_of(NOISE))
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="to exist, it does not: make it first"):
        ClipWriter(tmp_path / "file" / "a.mp4", info_of(NOISE))
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(OutputError, match="expected a file to replace, found a folder"):
        ClipWriter(tmp_path / "folder.mp4", info_of(NOISE), overwrite=True)
    (tmp_path / "dangling.mp4").symlink_to(tmp_path / "nowhere" / "a.mp4")
    with pytest.raises(OutputError, match="a link that leads nowhere"):
        ClipWriter(tmp_path / "dangling.mp4", info_of(NOISE))


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("clip", "images")])
def test_a_folder_without_write_permission_is_refused(tmp_path, monkeypatch, name, codec):
    if os.geteuid() == 0:  # root may write anywhere: the system's answer is stood in for
        monkeypatch.setattr(os, "access", lambda path, mode: False)
    else:
        tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="expected a folder that can be written"):
        ClipWriter(tmp_path / name, info_of(NOISE), codec=codec)
    tmp_path.chmod(0o700)


def test_a_link_stays_a_link_and_what_it_leads_to_is_replaced(tmp_path):
    path = write(tmp_path / "a.mkv", NOISE, codec="lossless")
    (tmp_path / "link.mkv").symlink_to(path)
    write(tmp_path / "link.mkv", NOISE[::-1], codec="lossless", overwrite=True)
    assert (tmp_path / "link.mkv").is_symlink()
    assert (read(path) == NOISE[::-1]).all()


# --- failures on the way


def write_and_fail(path, failure, **options):
    was_there = path.exists()
    with ClipWriter(path, info_of(NOISE), **options) as writer:
        writer.write(NOISE)
        assert path.exists() == was_there  # nothing half-written under the real name
        assert len(list(path.parent.iterdir())) == 1 + was_there
        raise failure


def write_chunks(writer, num_chunks):
    for _ in range(num_chunks):
        writer.write(NOISE)


@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mkv", "lossless"), ("clip", "images")])
@pytest.mark.parametrize("failure", [RuntimeError, KeyboardInterrupt])
def test_a_failure_or_ctrl_c_leaves_nothing(tmp_path, name, codec, failure):
    with pytest.raises(failure):
        write_and_fail(tmp_path / name, failure, codec=codec)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("codec", ["h264", "images"])
def test_a_clip_without_frames_is_no_output(tmp_path, codec):
    path = tmp_path / ("a.mp4" if codec == "h264" else "clip")
    with (
        pytest.raises(OutputError, match="at least one frame to write, got none"),
        ClipWriter(path, info_of(NOISE), codec=codec),
    ):
        pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device that is always full exists on Linux only")
@pytest.mark.parametrize(("name", "codec"), [("a.mp4", "h264"), ("a.mkv", "h264"), ("a.mkv", "lossless")])
@pytest.mark.parametrize("num_chunks", [1, 200])
def test_a_full_disk_is_said_and_leaves_nothing(tmp_path, monkeypatch, name, codec, num_chunks):
    def on_full_disk(path):
        part = tmp_path / ("part" + path.suffix)
        part.symlink_to("/dev/full")
        return part

    monkeypatch.setattr(sinks, "temporary_path", on_full_disk)
    with (
        pytest.raises(
            OutputError, match=r"No space left on device\): free some space .*nothing was left behind"
        ) as caught,
        ClipWriter(tmp_path / name, info_of(NOISE), codec=codec) as writer,
    ):
        write_chunks(writer, num_chunks)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_between_images_leaves_nothing(tmp_path, monkeypatch):
    write_bytes = Path.write_bytes

    def fills_up(self, data):
        if self.name == "frame_000003.png":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write_bytes(self, data)

    monkeypatch.setattr(Path, "write_bytes", fills_up)
    with (
        pytest.raises(OutputError, match=r"No space left on device\): free some space"),
        ClipWriter(tmp_path / "clip", info_of(NOISE), codec="images") as writer,
    ):
        writer.write(NOISE)
    assert list(tmp_path.iterdir()) == []


def test_a_rename_that_fails_puts_the_old_folder_back(tmp_path, monkeypatch):
    folder = write(tmp_path / "clip", NOISE, codec="images")
    replace = Path.replace

    def refuses(self, target):
        if self.name.endswith(".part"):
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", refuses)
    with (
        pytest.raises(OutputError, match="busy"),
        ClipWriter(folder, info_of(NOISE), codec="images", overwrite=True) as writer,
    ):
        writer.write(NOISE[:1])
    assert [file.name for file in tmp_path.iterdir()] == ["clip"]
    assert len(list(folder.iterdir())) == 6


def test_frames_of_another_size_are_a_programmers_error(tmp_path):
    with pytest.raises(ValueError, match="expected uint8 frames"), ClipWriter(tmp_path / "a.mp4", info_of(NOISE)) as w:
        w.write(NOISE[:, :10])
    assert list(tmp_path.iterdir()) == []


def test_closing_twice_is_harmless_and_writing_after_is_not(tmp_path):
    writer = ClipWriter(tmp_path / "a.mp4", info_of(NOISE))
    writer.write(NOISE)
    writer.close()
    writer.close()
    writer.abort()
    assert (tmp_path / "a.mp4").exists()
    with pytest.raises(ValueError, match="closed"):
        writer.write(NOISE)


def test_temporary_names_are_hidden_neighbours_with_the_same_ending(tmp_path):
    part = output.temporary_path(tmp_path / ("x" * 200 + ".mp4"))
    assert part.parent == tmp_path
    assert part.name.startswith(".")
    assert part.suffix == ".mp4"
    assert len(part.name) < 255


def test_no_name_is_no_output():
    with pytest.raises(OutputError, match="got an empty one"):
        ClipWriter("", info_of(NOISE))


@pytest.mark.parametrize(("name", "codec"), [("mask.mkv", "lossless"), ("masks", "images")])
def test_other_inputs_are_never_replaced(tmp_path, name, codec):
    mask = write(tmp_path / name, NOISE, codec=codec)
    with pytest.raises(OutputError, match="other than the input"):
        ClipWriter(mask, info_of(NOISE), codec=codec, overwrite=True, inputs=[mask])
    assert mask.exists()


def test_images_too_wide_for_their_kind_are_refused_before_any_work(tmp_path):
    info = ClipInfo(16384, 8, Fraction(16))
    with pytest.raises(OutputError, match=r"expected sides of at most 16383 pixels for \.webp images"):
        ClipWriter(tmp_path / "out_%d.webp", info, codec="images")
    assert not list(tmp_path.iterdir())
