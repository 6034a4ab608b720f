"""Colour is what the file's tags say: each case is stored by the textbook formula and read back."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import ExifTags, Image

from media_files import chart, to_yuv, video_frame, write_video
from realmaster.media.color import linear_to_srgb, primaries_matrix, srgb_to_linear
from realmaster.media.images import TRANSPARENT
from realmaster.media.reader import open_clip

CHART = chart()


def read(path):
    with open_clip(path) as clip:
        return np.concatenate(list(clip.chunks(4))), clip


def stored(tmp_path, planes, pixel_format, name="a.mkv", **tags):
    """Two frames stored without loss."""
    encoder = "ffv1" if not pixel_format.startswith("yuvj") else "libx264"
    options = {"slices": "4"} if encoder == "ffv1" else {"qp": "0", "preset": "ultrafast"}
    frame = video_frame(planes, pixel_format)
    return read(write_video(tmp_path / name, [frame, frame], encoder=encoder, options=options, **tags))


@pytest.mark.parametrize("matrix", ["bt601", "bt709", "bt2020"])
@pytest.mark.parametrize("full_range", [False, True])
@pytest.mark.parametrize("bits", [8, 10])
def test_the_tagged_matrix_range_and_depth_are_honoured(tmp_path, matrix, full_range, bits):
    planes = to_yuv(CHART, matrix, full_range=full_range, bits=bits)
    pixel_format = "yuv444p" if bits == 8 else "yuv444p10le"
    frames, clip = stored(tmp_path, planes, pixel_format, matrix=matrix, full_range=full_range)
    assert np.abs(frames[0].astype(int) - CHART).max() <= (2 if bits == 8 else 1)
    assert clip.color == f"{matrix} {'full' if full_range else 'limited'}"
    assert clip.warnings == []


@pytest.mark.parametrize(("size", "matrix"), [((48, 64), "bt601"), ((720, 64), "bt709"), ((48, 1280), "bt709")])
def test_without_a_tag_small_frames_are_bt601_and_large_ones_bt709(tmp_path, size, matrix):
    picture = chart(*size)
    planes = to_yuv(picture, matrix, full_range=False)
    frames, clip = stored(tmp_path, planes, "yuv444p", matrix=None, full_range=None, transfer=2, primaries=2)
    assert np.abs(frames[0].astype(int) - picture).max() <= 2
    assert clip.color == f"{matrix} limited (not tagged)"


def test_a_matrix_that_is_not_known_is_said(tmp_path):
    ycgco = 8
    options = {"qp": "0", "preset": "ultrafast", "x264-params": "colormatrix=YCgCo"}
    path = write_video(tmp_path / "a.mkv", [CHART] * 2, pixel_format="yuv444p", matrix=None, options=options)
    _, clip = read(path)
    assert f"colour matrix (number {ycgco}) is not known: bt601 limited" in clip.warnings[0]


def test_the_matrices_differ_enough_for_these_tests_to_fail(tmp_path):
    planes = to_yuv(CHART, "bt601", full_range=False)
    frames, _ = stored(tmp_path, planes, "yuv444p", matrix="bt709")
    assert np.abs(frames[0].astype(int) - CHART).max() > 10


def test_half_resolution_chroma_is_interpolated_without_a_shift_of_flat_colours(tmp_path):
    planes = to_yuv(CHART, "bt709", full_range=False)
    halved = [planes[0], planes[1][::2, ::2], planes[2][::2, ::2]]
    frames, _ = stored(tmp_path, halved, "yuv420p")
    inner = np.abs(frames[0].astype(int) - CHART).reshape(3, 16, 4, 16, 3)[:, 5:11, :, 5:11]
    assert inner.max() <= 2


@pytest.mark.parametrize(("full_range", "bits"), [(True, 8), (False, 8), (True, 10), (True, 16)])
def test_mono_becomes_grey_rgb_in_the_tagged_range(tmp_path, full_range, bits):
    ramp = np.tile(np.arange(0, 256, 4, dtype=np.uint8), (16, 1))
    unit = 2 ** (bits - 8)
    codes = ramp / 255 * (256 * unit - 1) if full_range else (16 + 219 * (ramp / 255)) * unit
    kind = {8: "gray", 10: "gray10le", 16: "gray16le"}[bits]
    plane = np.rint(codes).astype(np.uint8 if bits == 8 else np.uint16)
    frames, _ = stored(tmp_path, [plane], kind, matrix=None, full_range=full_range)
    assert (frames[0][..., 0] == frames[0][..., 1]).all()
    assert np.abs(frames[0][..., 0].astype(int) - ramp).max() <= 1


def test_rgb_video_passes_untouched(tmp_path):
    bgr0 = np.dstack([CHART[..., ::-1], np.zeros(CHART.shape[:2], np.uint8)])
    frames, clip = stored(tmp_path, [bgr0], "bgr0", matrix="rgb", full_range=True)
    assert (frames[0] == CHART).all()
    assert clip.color == "rgb full"


def test_transparent_video_is_laid_over_black_and_says_so(tmp_path):
    alpha = np.full(CHART.shape[:2], 255, np.uint8)
    alpha[:, :32] = 102  # 40 %
    planes = [*to_yuv(CHART, "bt709", full_range=False), alpha]
    frames, clip = stored(tmp_path, planes, "yuva444p")
    assert np.abs(frames[0].astype(int) - CHART * (alpha[..., None] / 255)).max() <= 2
    assert clip.info.has_alpha
    assert "laid over black" in clip.warnings[0]


@pytest.mark.parametrize(("transfer", "primaries"), [(1, 12), (1, 9), (16, 9), (18, 9)])
def test_a_transparent_video_of_wide_gamut_or_hdr_is_laid_over_black_too(tmp_path, transfer, primaries):
    alpha = np.full(CHART.shape[:2], 1023, np.uint16)
    tags = {"matrix": "bt2020", "transfer": transfer, "primaries": primaries}
    planes = [*to_yuv(CHART, "bt2020", full_range=False, bits=10), alpha]
    opaque, clip = stored(tmp_path, planes, "yuva444p10le", **tags)
    assert TRANSPARENT not in clip.warnings
    assert opaque[0][:, :16].max() > 100
    alpha[:, 16:32], alpha[:, 32:] = 409, 0  # 40 % and nothing
    frames, clip = stored(tmp_path, planes, "yuva444p10le", **tags)
    assert np.abs(frames[0].astype(int) - opaque[0] * (alpha[..., None] / 1023)).max() <= 1
    assert clip.info.has_alpha
    assert TRANSPARENT in clip.warnings


def test_a_transparent_prores_of_wide_gamut_is_laid_over_black(tmp_path):
    planes = [*to_yuv(CHART, "bt709", full_range=False, bits=10), np.zeros(CHART.shape[:2], np.uint16)]
    frame = video_frame(planes, "yuva444p10le")
    frame.colorspace, frame.color_trc, frame.color_primaries = 1, 1, 12  # this encoder takes its tags from frames
    path = write_video(tmp_path / "a.mov", [frame] * 2, encoder="prores_ks", options={"profile": "4444"}, primaries=12)
    frames, clip = read(path)
    assert (frames == 0).all()
    assert clip.color == "bt709 limited p3 primaries"
    assert clip.warnings[-1] == TRANSPARENT


def test_an_opaque_alpha_channel_is_not_worth_a_warning(tmp_path):
    planes = [*to_yuv(CHART, "bt709", full_range=False), np.full(CHART.shape[:2], 255, np.uint8)]
    frames, clip = stored(tmp_path, planes, "yuva444p")
    assert np.abs(frames[0].astype(int) - CHART).max() <= 2
    assert clip.warnings == []


def test_bt2020_primaries_are_brought_to_bt709_with_a_warning(tmp_path):
    muted = (CHART // 3 + 80).astype(np.uint8)  # inside bt709, so that nothing is clipped
    light = srgb_to_linear(muted) @ np.linalg.inv(primaries_matrix("bt2020")).T
    planes = to_yuv(linear_to_srgb(light), "bt2020", full_range=False, bits=10)
    frames, clip = stored(tmp_path, planes, "yuv444p10le", matrix="bt2020", primaries=9, transfer=14)
    assert np.abs(frames[0].astype(int) - muted).max() <= 1
    assert "bt2020 primaries" in clip.warnings[0]


@pytest.mark.parametrize(("transfer", "name"), [(16, "PQ"), (18, "HLG")])
def test_hdr_is_tone_mapped_to_sdr_with_a_warning(tmp_path, transfer, name):
    # grey steps from black to 1000 nits, on the transfer's own scale
    top = 0.7518 if name == "PQ" else 1.0  # PQ's code for 1000 nits
    steps = np.repeat(np.linspace(0, top, 8), 8)[None, :, None] * np.ones((16, 1, 3))
    planes = to_yuv(steps, "bt2020", full_range=False, bits=10)
    frames, clip = stored(tmp_path, planes, "yuv444p10le", matrix="bt2020", primaries=9, transfer=transfer)
    shown = frames[0][8, 4::8]
    assert (np.ptp(shown, axis=1) <= 1).all()  # grey stays grey
    levels = shown[:, 0].astype(int)
    assert (np.diff(levels) > 0).all()
    assert levels[0] == 0
    assert levels[-1] >= 253
    assert f"HDR ({name})" in clip.warnings[0]


def test_stretching_and_turning_come_together_in_the_right_order(tmp_path):
    # stored 64x48 with pixels twice as wide: shown 128x48, then turned to 48x128
    matrix = [0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30]
    path = write_video(
        tmp_path / "a.mov", [CHART] * 2, pixel_format="yuv444p", pixel_aspect=Fraction(2), display_matrix=matrix
    )
    frames, clip = read(path)
    assert (clip.info.width, clip.info.height) == (48, 128)
    expected = np.rot90(CHART.repeat(2, axis=1), -1)
    assert np.abs(frames[0].astype(int) - expected).reshape(4, 32, 3, 16, 3)[:, 8:24, :, 5:11].max() <= 4


def test_a_frame_with_exif_is_read_and_turned(tmp_path):
    stripes = np.zeros((48, 64, 3), np.uint8)
    stripes[:24] = (250, 250, 250)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6  # shown a quarter turn clockwise
    picture = io.BytesIO()
    Image.fromarray(stripes).save(picture, "JPEG", quality=95, exif=exif)
    with av.open(str(tmp_path / "a.avi"), "w") as container:
        stream = container.add_stream("mjpeg", rate=16)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuvj420p"
        for index in range(3):
            packet = av.Packet(picture.getvalue())
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, index, index, Fraction(1, 16)
            container.mux(packet)
    frames, _ = read(tmp_path / "a.avi")
    assert np.abs(frames[0].astype(int) - np.rot90(stripes, -1)).mean() < 5


def test_a_tiff_is_read_as_a_clip_of_one_frame(tmp_path):
    Image.fromarray(CHART).save(tmp_path / "a.tiff")
    frames, _ = read(tmp_path / "a.tiff")
    assert (frames[0] == CHART).all()
