"""EXR images: every kind is written by libav or OpenEXR and read back; what cannot be read is refused by its name."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from media_files import write_exr
from realmaster.errors import MediaError
from realmaster.media import exr_header
from realmaster.media.color import linear_to_srgb
from realmaster.media.exr import exr_size, is_lossy_exr, read_exr
from realmaster.media.images import TRANSPARENT, image_size, read_image, read_image_and_notes


@pytest.mark.parametrize("half", [False, True])
def test_exr_is_scene_linear_and_becomes_srgb(tmp_path, half):
    linear = np.random.default_rng(0).random((6, 8, 3)).astype(np.float32)
    write_exr(tmp_path / "a.exr", linear, half=half)
    expected = np.rint(linear_to_srgb(linear) * 255)
    assert np.abs(read_image(tmp_path / "a.exr") - expected).max() <= 1
    assert image_size(tmp_path / "a.exr") == (8, 6)


def test_exr_light_above_1_is_clipped_and_says_so(tmp_path):
    write_exr(tmp_path / "a.exr", np.full((4, 4, 3), 7.5, np.float32))
    image, notes = read_image_and_notes(tmp_path / "a.exr")
    assert (image == 255).all()
    assert "clipped" in notes[0]


def test_exr_holes_that_are_no_numbers_are_black_and_said(tmp_path):
    linear = np.full((4, 4, 3), 1.0, np.float32)
    linear[0, 0, 1] = np.nan
    image, notes = read_image_and_notes(write_exr(tmp_path / "a.exr", linear))
    assert image[0, 0].tolist() == [255, 0, 255]
    assert "no numbers" in notes[0]


def test_exr_alpha_is_premultiplied_so_colours_stand_over_black(tmp_path):
    linear = np.full((4, 4, 3), 0.25, np.float32)
    path = write_exr(tmp_path / "a.exr", linear, alpha=np.full((4, 4), 0.5, np.float32))
    image, notes = read_image_and_notes(path)
    assert notes == (TRANSPARENT,)
    assert (image == 137).all()


def with_attribute(path, name, kind, value):
    """Add an attribute to an EXR image, or replace the value of one that is there."""
    data = path.read_bytes()
    begin = data.find(name + b"\0" + kind + b"\0")
    if begin >= 0:
        place = begin + len(name) + len(kind) + 6
        path.write_bytes(data[:place] + value + data[place + len(value) :])
        return path
    header = exr_header.parse_header(path, data)
    added = name + b"\0" + kind + b"\0" + len(value).to_bytes(4, "little") + value
    _, top, _, bottom = exr_header.window(header, b"dataWindow", path)
    table = 8 * (bottom - top + 1)  # one row a block where nothing is compressed
    assert header.compression == 0
    rows = np.frombuffer(data[header.end : header.end + table], np.uint64) + np.uint64(len(added))
    end = header.end - 1
    path.write_bytes(data[:end] + added + b"\0" + rows.tobytes() + data[header.end + table :])
    return path


def test_exr_pixels_that_are_not_square_are_made_square_and_said(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.full((6, 8, 3), 0.5, np.float32))
    with_attribute(path, b"pixelAspectRatio", b"float", struct.pack("<f", 2.0))
    image, notes = read_image_and_notes(path)
    assert image.shape == (6, 16, 3)
    assert (image == 188).all()
    assert notes == ("pixels are not square (2): frames were stretched from 8x6 to 16x6",)
    assert image_size(path) == (16, 6)


def test_exr_light_in_other_primaries_is_brought_to_bt709_and_said(tmp_path):
    colors = np.array([[[0.5, 0.5, 0.5], [0.2, 0.4, 0.3]]], np.float32).repeat(4, 0)
    path = write_exr(tmp_path / "a.exr", colors)
    bt2020 = (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, 0.3127, 0.3290)
    with_attribute(path, b"chromaticities", b"chromaticities", struct.pack("<8f", *bt2020))
    image, notes = read_image_and_notes(path)
    # ITU-R BT.2087, linear bt2020 to linear bt709
    matrix = [[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]]
    expected = np.rint(linear_to_srgb(colors @ np.array(matrix).T) * 255)
    assert np.abs(image - expected).max() <= 1
    assert notes == (
        "the EXR images have primaries other than bt709: they were brought to bt709, colours outside were clipped",
    )


def test_exr_primaries_with_another_white_keep_grey_grey(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.full((4, 4, 3), 0.5, np.float32))
    acescg = (0.713, 0.293, 0.165, 0.830, 0.128, 0.044, 0.32168, 0.33767)
    with_attribute(path, b"chromaticities", b"chromaticities", struct.pack("<8f", *acescg))
    assert np.abs(read_image(path).astype(int) - 188).max() <= 1


def test_exr_primaries_of_bt709_say_nothing(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.full((4, 4, 3), 0.5, np.float32))
    bt709 = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06, 0.3127, 0.3290)
    with_attribute(path, b"chromaticities", b"chromaticities", struct.pack("<8f", *bt709))
    assert read_image_and_notes(path)[1] == ()


def save_exr(path, channels, **header):
    OpenEXR = pytest.importorskip("OpenEXR", reason="needs the package OpenEXR")
    kinds = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **header}
    with OpenEXR.File(kinds, channels) as file:
        file.write(str(path))
    return path


def test_exr_colours_of_mixed_kinds_are_read(tmp_path):
    linear = np.random.default_rng(0).random((20, 24, 4)).astype(np.float32)
    kinds = {"R": np.float16, "G": np.float32, "B": np.float16, "A": np.float32}
    channels = {name: linear[..., index].astype(kind) for index, (name, kind) in enumerate(kinds.items())}
    image, notes = read_image_and_notes(save_exr(tmp_path / "a.exr", channels))
    assert np.abs(image - np.rint(linear_to_srgb(linear[..., :3]) * 255)).max() <= 1
    assert notes == (TRANSPARENT,)


def test_exr_kinds_that_cannot_be_read_are_named(tmp_path):
    plane = np.full((8, 8), 0.5, np.float32)
    whole = {name: np.full((8, 8), 3, np.uint32) for name in "RGB"}
    with pytest.raises(MediaError, match=r"found whole numbers \(uint32\): export as half or float"):
        read_image(save_exr(tmp_path / "uint.exr", whole))
    with pytest.raises(MediaError, match=r"channels R, G and B, found Z: export the picture alone"):
        read_image(save_exr(tmp_path / "depth.exr", {"Z": plane}))
    import OpenEXR

    header = {"type": OpenEXR.scanlineimage, "compression": OpenEXR.ZIP_COMPRESSION}
    parts = [
        OpenEXR.Part({**header, "name": "depth"}, {"Z": plane}, "depth"),
        OpenEXR.Part({**header, "name": "beauty"}, dict.fromkeys("RGB", plane), "beauty"),
    ]
    with OpenEXR.File(parts) as file:
        file.write(str(tmp_path / "parts.exr"))
    with pytest.raises(MediaError, match=r"its first part holds Z and its second B, G, R: export"):
        read_image(tmp_path / "parts.exr")
    path = write_exr(tmp_path / "j2k.exr", np.zeros((4, 4, 3), np.float32))
    with_attribute(path, b"compression", b"compression", b"\x0a")
    with pytest.raises(MediaError, match=r"found HTJ2K, which cannot be read here: export with ZIP"):
        read_image(path)


def test_an_exr_whose_picture_is_a_layer_says_which_layers_there_are(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.zeros((4, 4, 3), np.float32))
    before, after = path.read_bytes().split(b"channels\0chlist\0", 1)
    size = int.from_bytes(after[:4], "little")
    names = [b"ViewLayer.Combined.B", b"ViewLayer.Combined.G", b"ViewLayer.Combined.R", b"ViewLayer.Depth.Z"]
    kind = after[4 + 2 : 4 + 2 + 16]  # behind the first name: its number, linearity, sampling
    channels = b"".join(name + b"\0" + kind for name in names) + b"\0"
    data = before + b"channels\0chlist\0" + len(channels).to_bytes(4, "little") + channels + after[4 + size :]
    table = exr_header.parse_header(path, data).end  # where each of the 4 rows begins
    rows = np.frombuffer(data[table : table + 32], np.uint64) + np.uint64(len(channels) - size)
    path.write_bytes(data[:table] + rows.tobytes() + data[table + 32 :])
    said = r"found the layers ViewLayer\.Combined, ViewLayer\.Depth: export the picture alone"
    with pytest.raises(MediaError, match=said):
        read_image(path)


def test_an_exr_that_lacks_its_last_bytes_is_refused(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.random.default_rng(0).random((64, 64, 3)).astype(np.float32))
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(MediaError, match="damaged"):
        read_image(path)


def save_windows(path, display, data, header=None, part=None):
    """Write noise of 16-bit floats whose windows are (left, top, right, bottom), and give its pixels."""
    OpenEXR = pytest.importorskip("OpenEXR", reason="needs the package OpenEXR")
    left, top, right, bottom = data
    pixels = np.random.default_rng(0).random((bottom - top + 1, right - left + 1, 3)).astype(np.float16)
    windows = {
        name: (np.array(box[:2], np.int32), np.array(box[2:], np.int32))
        for name, box in (("displayWindow", display), ("dataWindow", data))
    }
    kinds = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage, **windows, **(header or {})}
    channels = {name: pixels[..., index].copy() for index, name in enumerate("RGB")}
    parts = [OpenEXR.Part({**kinds, "name": "beauty"}, channels, "beauty")]
    if part is not None:
        plain = {"compression": OpenEXR.NO_COMPRESSION, "type": OpenEXR.scanlineimage, **windows}
        parts.append(OpenEXR.Part({**plain, "name": part}, {"Z": pixels[..., 0].copy()}, part))
    with OpenEXR.File(parts) as file:
        file.write(str(path))
    return pixels


def in_display(pixels, display, data):
    """Lay a data window's pixels into a black display window, pixel by pixel."""
    left, top, right, bottom = display
    picture = np.zeros((bottom - top + 1, right - left + 1, 3), np.float32)
    for row in range(max(top, data[1]), min(bottom, data[3]) + 1):
        for column in range(max(left, data[0]), min(right, data[2]) + 1):
            picture[row - top, column - left] = pixels[row - data[1], column - data[0]]
    return picture


WINDOWS = [
    ((0, 0, 43, 27), (-10, -10, 53, 37)),  # overscan
    ((10, 10, 53, 37), (0, 0, 63, 47)),
    ((1000, 1000, 1063, 1047), (1000, 1000, 1063, 1047)),
    ((-20, -30, 79, 59), (-5, -7, 58, 40)),
    ((5, 7, 50, 30), (100, 100, 163, 147)),  # nothing of the data is shown
]


@pytest.mark.parametrize(("display", "data"), WINDOWS)
@pytest.mark.parametrize("compression", ["NO", "ZIPS", "ZIP", "PIZ"])
def test_an_exr_shows_its_display_window_wherever_that_begins(tmp_path, display, data, compression):
    OpenEXR = pytest.importorskip("OpenEXR", reason="needs the package OpenEXR")
    header = {"compression": getattr(OpenEXR, f"{compression}_COMPRESSION")}
    pixels = save_windows(tmp_path / "a.exr", display, data, header)
    expected = in_display(pixels, display, data)
    assert (read_exr(tmp_path / "a.exr").linear == expected).all()
    assert exr_size(tmp_path / "a.exr")[:2] == expected.shape[1::-1]


@pytest.mark.parametrize(("display", "data"), WINDOWS)
@pytest.mark.parametrize("kind", ["tiles", "parts", "last row first"])
def test_an_exr_of_tiles_of_several_parts_or_upside_down_shows_its_display_window(tmp_path, display, data, kind):
    OpenEXR = pytest.importorskip("OpenEXR", reason="needs the package OpenEXR")
    header = {"lineOrder": OpenEXR.DECREASING_Y} if kind == "last row first" else {}
    if kind == "tiles":
        header = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
        header["tiles"].xSize, header["tiles"].ySize = 16, 24
    pixels = save_windows(tmp_path / "a.exr", display, data, header, "depth" if kind == "parts" else None)
    assert (read_exr(tmp_path / "a.exr").linear == in_display(pixels, display, data)).all()


def test_an_exr_with_a_window_or_a_table_that_is_damaged_is_refused(tmp_path):
    linear = np.full((4, 4, 3), 0.5, np.float32)
    for display in ((-(2**31), 0, 2**31 - 1, 3), (2**31 - 1, 0, 0, 3)):
        path = write_exr(tmp_path / "a.exr", linear)
        with_attribute(path, b"displayWindow", b"box2i", struct.pack("<4i", *display))
        with pytest.raises(MediaError, match="damaged"):
            read_image(path)
    save_windows(tmp_path / "parts.exr", (5, 5, 8, 8), (5, 5, 8, 8), part="depth")
    with_attribute(tmp_path / "parts.exr", b"chunkCount", b"int", struct.pack("<i", 2**30))
    with pytest.raises(MediaError, match="damaged"):
        read_image(tmp_path / "parts.exr")


def test_an_exr_whose_compression_is_empty_is_refused(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.full((4, 4, 3), 0.5, np.float32))
    name = b"compression\0compression\0"
    path.write_bytes(path.read_bytes().replace(name + b"\1\0\0\0\0", name + b"\0\0\0\0"))
    with pytest.raises(MediaError, match="damaged"):
        read_image(path)


@pytest.mark.parametrize("num_bytes", [60_000, 65_536, 500_000])
def test_an_exr_with_a_long_list_in_its_header_is_read(tmp_path, num_bytes):
    linear = np.full((6, 8, 3), 0.5, np.float32)
    path = write_exr(tmp_path / "a.exr", linear)
    with_attribute(path, b"cryptomatte/1/manifest", b"string", b"x" * num_bytes)
    assert exr_size(path) == (8, 6, 1)
    assert not is_lossy_exr(path)
    assert (read_exr(path).linear == linear).all()


def test_an_exr_that_ends_within_a_long_header_is_refused(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.full((6, 8, 3), 0.5, np.float32))
    with_attribute(path, b"cryptomatte/1/manifest", b"string", b"x" * 500_000)
    path.write_bytes(path.read_bytes()[:131_072])
    with pytest.raises(MediaError, match="damaged"):
        exr_size(path)


def test_exr_kinds_that_libav_shows_black_are_refused(tmp_path):
    OpenEXR = pytest.importorskip("OpenEXR", reason="needs the package OpenEXR")
    tiles = {"type": OpenEXR.tiledimage, "tiles": OpenEXR.TileDescription()}
    tiles["tiles"].xSize = tiles["tiles"].ySize = 16
    save_windows(tmp_path / "tiles.exr", (0, 0, 31, 31), (0, 0, 31, 31), tiles, "depth")
    with pytest.raises(MediaError, match=r"found tiles among several parts.*: export rows"):
        read_image(tmp_path / "tiles.exr")
    grey = {"Y": np.full((32, 32), 0.5, np.float16)}
    save_exr(tmp_path / "grey.exr", grey, compression=OpenEXR.DWAA_COMPRESSION)
    with pytest.raises(MediaError, match=r"expected a grey EXR image .* found DWA.*: export with ZIP"):
        read_image(tmp_path / "grey.exr")
