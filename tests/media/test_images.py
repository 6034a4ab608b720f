from __future__ import annotations

import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from media_files import chart, write_exr
from realmaster.errors import MediaError, OutputError
from realmaster.media.icc import profile_name
from realmaster.media.image_sinks import image_sink
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


def with_chunk(path, kind, content):
    """Add a chunk to a PNG, behind its header."""
    data = path.read_bytes()
    chunk = struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
    path.write_bytes(data[:33] + chunk + data[33:])
    return path


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["colour", "grey", "transparent"])
def test_a_16_bit_image_is_turned_upright_as_an_8_bit_one_is(tmp_path, orientation, kind):
    picture = {
        "colour": chart(),
        "grey": chart()[..., 0],
        "transparent": np.dstack([chart(), np.full(chart().shape[:2], 128, np.uint8)]),
    }[kind]
    exif = struct.pack("<2sHIHHHIHHI", b"II", 42, 8, 1, 0x0112, 3, 1, orientation, 0, 0)
    for name, stored in (("8.png", picture), ("16.png", picture.astype(np.uint16) * 257)):
        cv2.imwrite(str(tmp_path / name), stored)
        with_chunk(tmp_path / name, b"eXIf", exif)
    image, notes = read_image_and_notes(tmp_path / "16.png")
    assert (image == read_image(tmp_path / "8.png")).all()
    assert image_size(tmp_path / "16.png") == image.shape[1::-1]
    assert notes == ((TRANSPARENT,) if kind == "transparent" else ())


@pytest.mark.parametrize("colour", [False, True])
def test_a_level_that_stands_for_nothing_in_a_16_bit_image_is_black_and_said(tmp_path, colour):
    levels = np.array([[65535, 65534], [257, 0]], np.uint16)
    cv2.imwrite(str(tmp_path / "a.png"), np.dstack([levels] * 3) if colour else levels)
    with_chunk(tmp_path / "a.png", b"tRNS", struct.pack(">H", 65535) * (3 if colour else 1))
    image, notes = read_image_and_notes(tmp_path / "a.png")
    assert image[..., 0].tolist() == [[0, 255], [1, 0]]
    assert notes == (TRANSPARENT,)


def test_the_first_of_several_pictures_is_taken_and_this_is_said(tmp_path):
    pictures = [Image.fromarray(np.full((16, 24, 3), level, np.uint8)) for level in (50, 200)]
    pictures[0].save(tmp_path / "a.jpg", format="MPO", save_all=True, append_images=pictures[1:])
    image, notes = read_image_and_notes(tmp_path / "a.jpg")
    assert (image == 50).all()
    assert notes == ("an image holds several pictures: its first picture was taken",)
    pictures[0].save(tmp_path / "a.webp", save_all=True, append_images=pictures[1:], lossless=True)
    image, notes = read_image_and_notes(tmp_path / "a.webp")
    assert (image == 50).all()
    assert notes == ("an image is animated: its first picture was taken",)


def test_a_missing_image_and_another_kind_of_file_are_refused(tmp_path):
    with pytest.raises(MediaError, match=r"none\.png: expected an image.*No such file"):
        read_image(tmp_path / "none.png")
    (tmp_path / "a.txt").write_text("hello")
    with pytest.raises(MediaError, match="another kind"):
        read_image(tmp_path / "a.txt")
    (tmp_path / "a.png").write_text("hello")
    with pytest.raises(MediaError, match=r"a\.png: expected an image"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize(("suffix", "longest"), [(".webp", 16383), (".jpg", 65500), (".JPEG", 65500)])
def test_a_size_that_a_kind_of_image_cannot_hold_is_refused(tmp_path, suffix, longest, capfd):
    for shape in ((1, longest + 1, 3), (longest + 1, 1, 3)):
        said = f"at most {longest} pixels for {suffix} images, got {shape[1]}x{shape[0]}: choose .png"
        with pytest.raises(OutputError, match=said):
            write_image(tmp_path / f"a{suffix}", np.zeros(shape, np.uint8))
        with pytest.raises(OutputError, match=said):
            image_sink(tmp_path / f"%04d{suffix}", overwrite=False, inputs=(), size=(shape[1], shape[0]))
    assert list(tmp_path.iterdir()) == []
    write_image(tmp_path / f"a{suffix}", np.zeros((1, longest, 3), np.uint8))
    assert image_size(tmp_path / f"a{suffix}") == (longest, 1)
    assert capfd.readouterr() == ("", "")


def test_an_image_that_the_encoder_refuses_is_no_empty_file(tmp_path, monkeypatch):
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, np.zeros(0, np.uint8)))
    with pytest.raises(OutputError, match=r"expected a picture that can be stored as \.png, .* refused 64x48 pixels"):
        write_image(tmp_path / "a.png", chart())
    assert list(tmp_path.iterdir()) == []


def test_an_image_needs_a_known_ending_and_a_folder_to_go_to(tmp_path):
    with pytest.raises(OutputError, match=r"\.tiff"):
        write_image(tmp_path / "a.tiff", chart())
    with pytest.raises(OutputError, match="could not"):
        write_image(tmp_path / "none" / "a.png", chart())
    assert list(tmp_path.iterdir()) == []
