from __future__ import annotations

import cv2
import numpy as np
import pytest

from media_files import chart, write_exr
from realmaster.errors import MediaError, OutputError
from realmaster.media import exr
from realmaster.media.color import linear_to_srgb
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


def test_an_opaque_alpha_channel_changes_nothing_and_says_nothing(tmp_path):
    rgba = np.dstack([chart(), np.full(chart().shape[:2], 255, np.uint8)])
    cv2.imwrite(str(tmp_path / "a.png"), rgba[..., (2, 1, 0, 3)])
    image, notes = read_image_and_notes(tmp_path / "a.png")
    assert notes == ()
    assert (image == chart()).all()


def test_a_photograph_is_turned_upright_as_its_camera_noted(tmp_path):
    from PIL import Image

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


def test_an_exr_whose_picture_is_a_layer_says_which_layers_there_are(tmp_path):
    path = write_exr(tmp_path / "a.exr", np.zeros((4, 4, 3), np.float32))
    before, after = path.read_bytes().split(b"channels\0chlist\0", 1)
    size = int.from_bytes(after[:4], "little")
    names = [b"ViewLayer.Combined.B", b"ViewLayer.Combined.G", b"ViewLayer.Combined.R", b"ViewLayer.Depth.Z"]
    kind = after[4 + 2 : 4 + 2 + 16]  # behind the first name: its number, linearity, sampling
    channels = b"".join(name + b"\0" + kind for name in names) + b"\0"
    data = before + b"channels\0chlist\0" + len(channels).to_bytes(4, "little") + channels + after[4 + size :]
    table = exr._header(path, data).end  # where each of the 4 rows begins
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
