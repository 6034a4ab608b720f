from __future__ import annotations

import struct

import cv2
import numpy as np
import pytest
from PIL import Image

from media_files import chart, write_exr
from realmaster.errors import MediaError, OutputError
from realmaster.media import exr_header
from realmaster.media.color import linear_to_srgb
from realmaster.media.icc import profile_name
from realmaster.media.images import TRANSPARENT, image_size, read_image, read_image_and_notes, write_image


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".PNG"])
def test_a_lossless_image_comes_back_as_it_was(tmp_path, suffix):
    write_image(tmp_path / f"a{suffix}", chart())
    assert (read_image(tmp_path / f"a{suffix}") == chart()).all()
    assert [file.name for file in tmp_path.iterdir()] == [f"a{suffix}"]


@pytest.mark.parametrize("suffix", [".jpg", ".jpeg", ".webp"])
def test_a_lossy_image_comes_back_nearly(tmp_path, suffix):
    smooth = cv2.GaussianBlur(chart(), (0, 0), 8)
    write_image(tmp_path / f"a{suffix}", smooth)
    assert np.abs(read_image(tmp_path / f"a{suffix}").astype(int) - smooth).mean() < 2


def test_grey_palette_and_16_bit_images_become_8_bit_rgb(tmp_path):
    grey = chart()[..., 0]
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    assert (read_image(tmp_path / "grey.png") == grey[..., None]).all()
    deep = chart().astype(np.uint16) * 257 + 100
    cv2.imwrite(str(tmp_path / "deep.png"), deep[..., ::-1])
    assert (read_image(tmp_path / "deep.png") == np.minimum(chart(), 255)).mean() > 0.9  # 65535 + 100 wraps
    cv2.imwrite(str(tmp_path / "deep_grey.png"), np.full((4, 4), 128 * 257 + 200, np.uint16))
    assert (read_image(tmp_path / "deep_grey.png") == 129).all()  # rounded to nearest, not cut


def test_a_transparent_image_is_laid_over_black_and_says_so(tmp_path):
    rgba = np.dstack([chart(), np.full(chart().shape[:2], 128, np.uint8)])
    cv2.imwrite(str(tmp_path / "a.png"), rgba[..., (2, 1, 0, 3)])
    image, notes = read_image_and_notes(tmp_path / "a.png")
    assert notes == (TRANSPARENT,)
    assert np.abs(image - chart() * (128 / 255)).max() <= 0.5


def test_a_transparent_16_bit_image_is_laid_over_black_and_says_so(tmp_path):
    rgba = np.dstack([chart(), np.full(chart().shape[:2], 128, np.uint8)]).astype(np.uint16) * 257
    cv2.imwrite(str(tmp_path / "a.png"), rgba[..., (2, 1, 0, 3)])
    image, notes = read_image_and_notes(tmp_path / "a.png")
    assert notes == (TRANSPARENT,)
    assert np.abs(image - chart() * (128 / 255)).max() <= 0.5
    rgba[..., 3] = 65535
    cv2.imwrite(str(tmp_path / "a.png"), rgba[..., (2, 1, 0, 3)])
    assert read_image_and_notes(tmp_path / "a.png")[1] == ()


def profile(name, version):
    """The head of an ICC profile and its name."""
    if version == 2:
        text = b"desc" + bytes(4) + struct.pack(">I", len(name) + 1) + name.encode() + b"\0"
    else:
        wide = name.encode("utf-16-be")
        text = b"mluc" + bytes(4) + struct.pack(">II4sII", 1, 12, b"enUS", len(wide), 28) + wide
    return bytes(128) + struct.pack(">I4sII", 1, b"desc", 144, len(text)) + text


@pytest.mark.parametrize("version", [2, 4])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_colour_profile_other_than_srgb_is_said(tmp_path, suffix, version):
    path = tmp_path / f"a{suffix}"
    Image.fromarray(chart()).save(path, icc_profile=profile("Display P3", version))
    (note,) = read_image_and_notes(path)[1]
    assert note == (
        "the colour profile (Display P3) of an image was not applied, its colours were taken as sRGB: export as sRGB"
    )
    Image.fromarray(chart()).save(path, icc_profile=profile("sRGB IEC61966-2.1", version))
    assert read_image_and_notes(path)[1] == ()


def test_a_colour_profile_that_cannot_be_read_has_no_name(tmp_path):
    assert [profile_name(data) for data in (b"", bytes(200), profile("P3", 4)[:150])] == ["no name"] * 3


def test_an_opaque_alpha_channel_changes_nothing_and_says_nothing(tmp_path):
    rgba = np.dstack([chart(), np.full(chart().shape[:2], 255, np.uint8)])
    cv2.imwrite(str(tmp_path / "a.png"), rgba[..., (2, 1, 0, 3)])
    image, notes = read_image_and_notes(tmp_path / "a.png")
    assert notes == ()
    assert (image == chart()).all()


def test_a_photograph_is_turned_upright_as_its_camera_noted(tmp_path):
    photo = Image.fromarray(chart())
    exif = photo.getexif()
    exif[0x0112] = 6  # turn a quarter clockwise to show
    photo.save(tmp_path / "a.png", exif=exif)
    assert (read_image(tmp_path / "a.png") == np.rot90(chart(), -1)).all()
    assert image_size(tmp_path / "a.png") == (48, 64)


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


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp", ".webp", ".exr"])
@pytest.mark.parametrize("keep", [0, 10, 0.5])
def test_a_cut_image_is_refused_by_name_and_in_one_line(tmp_path, suffix, keep, capfd):
    path = tmp_path / f"frame{suffix}"
    if suffix == ".exr":
        write_exr(path, np.random.default_rng(0).random((64, 64, 3)).astype(np.float32))
    else:
        write_image(path, np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    data = path.read_bytes()
    path.write_bytes(data[: keep if isinstance(keep, int) else int(len(data) * keep)])
    with pytest.raises(MediaError, match="frame") as caught:
        read_image(path)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr() == ("", "")


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


def test_a_missing_image_and_another_kind_of_file_are_refused(tmp_path):
    with pytest.raises(MediaError, match=r"none\.png: expected an image.*No such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(MediaError, match="another kind"):
        read_image(tmp_path / "a.txt")
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(MediaError, match=r"a\.png: expected an image"):
        read_image(tmp_path / "a.png")


def test_an_image_needs_a_known_ending_and_a_folder_to_go_to(tmp_path):
    with pytest.raises(OutputError, match=r"\.tiff"):
        write_image(tmp_path / "a.tiff", chart())
    with pytest.raises(OutputError, match="could not"):
        write_image(tmp_path / "none" / "a.png", chart())
    assert list(tmp_path.iterdir()) == []
