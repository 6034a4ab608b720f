"""Masks of what stays as rendered."""

from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
from PIL import Image

from realmaster.errors import MediaError
from realmaster.media.images import write_image
from realmaster.media.writer import ClipWriter
from realmaster.pipelines.protect import check_mask, open_mask, split_ids
from realmaster.types import ClipInfo


def weights(mask: str | Path, count: int = 2) -> list[np.ndarray]:
    return list(islice(open_mask(mask, width=8, height=4, frame_rate=Fraction(16), start_seconds=0), count))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    image = np.zeros((4, 8, 3), dtype=np.uint8)
    image[:, :4] = 3
    image[:, 6:] = 17
    write_image(tmp_path / "seg.png", image)
    return tmp_path / "seg.png"


def test_white_stays_and_black_changes_in_every_frame(tmp_path: Path) -> None:
    image = np.zeros((4, 8, 3), dtype=np.uint8)
    image[:, :4] = 255
    write_image(tmp_path / "mask.png", image)
    for weight in weights(tmp_path / "mask.png", 30):
        assert (weight[:, :4] == 0).all()
        assert (weight[:, 4:] == 1).all()


def test_ids_choose_segments(labels: Path) -> None:
    (weight,) = weights(f"{labels}#3,17", 1)
    assert (weight[:, :4] == 0).all()
    assert (weight[:, 4:6] == 1).all()
    assert (weight[:, 6:] == 0).all()


def test_a_mask_of_another_size_is_fitted(labels: Path) -> None:
    (weight,) = islice(open_mask(f"{labels}#3", width=16, height=8, frame_rate=Fraction(16), start_seconds=0), 1)
    assert weight.shape == (8, 16)
    assert (weight[:, :8] == 0).all()


def test_ids_that_are_no_numbers_are_refused_in_one_line() -> None:
    with pytest.raises(MediaError, match=r"expected ids .* got 'car'"):
        split_ids("seg.png#car")


def test_a_missing_mask_is_refused() -> None:
    with pytest.raises(MediaError, match="nothing there"):
        weights("no-such-mask.png")


IDS = np.repeat(np.array([[3] * 4 + [0] * 2 + [17] * 2]), 4, axis=0)


def write_ids(folder: Path, kind: str) -> Path:
    """Write IDS, times 100 where 16 bits hold them, as a file of this kind."""
    path = folder / f"{kind}.{'npz' if kind == 'npz' else 'tif' if kind == 'tif' else 'png'}"
    if kind == "palette":
        image = Image.fromarray(IDS.astype(np.uint8), "P")
        image.putpalette(np.random.default_rng(0).integers(0, 256, 768, dtype=np.uint8).tolist())
        image.save(path)
    elif kind == "npz":
        np.savez_compressed(path, segmentation=(IDS * 100).astype(np.uint16))
    elif kind == "equal colours":
        cv2.imwrite(str(path), np.repeat((IDS * 100).astype(np.uint16)[..., None], 3, axis=2))
    else:
        Image.fromarray((IDS * 100).astype(np.uint16)).save(path)
    return path


@pytest.mark.filterwarnings("ignore:'mode' parameter is deprecated")
@pytest.mark.parametrize("kind", ["palette", "16 bits", "tif", "npz", "equal colours"])
def test_ids_are_read_as_they_are_stored(tmp_path: Path, kind: str) -> None:
    path = write_ids(tmp_path, kind)
    for weight in weights(f"{path}#{3 if kind == 'palette' else 300}", 2):
        assert (weight == (IDS != 3)).all()


def test_coloured_ids_are_refused_with_what_is_expected(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "ids.png"), np.stack([IDS * 0, IDS * 0, IDS], axis=-1).astype(np.uint8))
    with pytest.raises(MediaError, match=r"^--protect: .*ids\.png: expected the ids in one channel .* got colours"):
        check_mask(f"{tmp_path / 'ids.png'}#3")


def test_a_folder_of_labels_runs_along_and_its_last_serves_after_its_end(tmp_path: Path) -> None:
    for index in range(3):
        np.savez_compressed(tmp_path / f"{index:04d}.npz", segmentation=np.roll(IDS, index, axis=1).astype(np.uint16))
    (tmp_path / "labels.json").write_text("{}")
    for start, shifts in ((0.0, (0, 1, 2, 2)), (1 / 16, (1, 2, 2, 2)), (9.0, (2, 2, 2, 2))):
        mask = open_mask(f"{tmp_path}#3", width=8, height=4, frame_rate=Fraction(16), start_seconds=start)
        for weight, shift in zip(mask, shifts, strict=False):
            assert (weight == np.roll(IDS != 3, shift, axis=1)).all()
    with pytest.raises(MediaError, match=r"--protect: .* expected the ids"):
        check_mask(tmp_path)


def test_labels_without_a_segmentation_are_refused(tmp_path: Path) -> None:
    np.savez(tmp_path / "0000.npz", depth=np.zeros((4, 8)))
    with pytest.raises(MediaError, match="expected labels with a segmentation, found depth: render them"):
        check_mask(f"{tmp_path}#3")
    (tmp_path / "0000.npz").write_bytes(b"no labels")
    with pytest.raises(MediaError, match=r"--protect: .*expected a segmentation, could not read it"):
        check_mask(f"{tmp_path}#3")


def test_ids_that_no_pixel_has_are_warned_of(labels: Path) -> None:
    for ids, said in (("99", ("--protect: no pixel of seg.png has the id 99: nothing was protected",)), ("99,3", ())):
        mask = open_mask(f"{labels}#{ids}", width=8, height=4, frame_rate=Fraction(16), start_seconds=0)
        next(mask)
        assert mask.warnings == said


@pytest.mark.parametrize("kind", ["clip", "folder"])
def test_a_mask_that_ends_before_the_start_serves_by_its_last_frame(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("mask.mkv" if kind == "clip" else "mask")
    frames = np.zeros((3, 4, 8, 3), np.uint8)
    frames[2] = 255
    info = ClipInfo(8, 4, Fraction(16))
    with ClipWriter(path, info, codec="lossless" if kind == "clip" else "images") as writer:
        writer.write(frames)
    mask = open_mask(path, width=8, height=4, frame_rate=Fraction(16), start_seconds=2.0)
    assert [float(weight.mean()) for weight in islice(mask, 3)] == [0, 0, 0]


def write_clip(path: Path, pixel_format: str, encoder: str, options: dict[str, str] | None = None) -> Path:
    """Write two frames of IDS as a video."""
    image = np.repeat(IDS.astype(np.uint8)[..., None], 3, axis=2).repeat(8, 0).repeat(8, 1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(encoder, rate=16, options=options or {})
        stream.height, stream.width, stream.pix_fmt = *image.shape[:2], pixel_format
        for index in range(2):
            frame = av.VideoFrame.from_ndarray(image, "rgb24").reformat(format=pixel_format)
            frame.pts, frame.time_base = index, Fraction(1, 16)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


@pytest.mark.parametrize(
    ("name", "pixel_format", "encoder", "options"),
    [
        ("ids.mkv", "gray", "ffv1", {}),
        ("ids.mkv", "bgr0", "ffv1", {}),
        ("ids.mp4", "bgr24", "libx264rgb", {"qp": "0"}),
        ("ids.mkv", "bgr24", "libx264rgb", {"qp": "0"}),
        ("ids.avi", "bgr24", "libx264rgb", {"qp": "0"}),
        ("ids.mov", "rgb24", "png", {}),
    ],
)
def test_ids_are_read_from_lossless_videos(
    tmp_path: Path, name: str, pixel_format: str, encoder: str, options: dict[str, str]
) -> None:
    path = write_clip(tmp_path / name, pixel_format, encoder, options)
    for weight in weights(f"{path}#3"):
        assert (weight == (IDS != 3)).all()


@pytest.mark.parametrize(
    ("name", "pixel_format", "encoder", "options", "found"),
    [
        ("ids.mp4", "yuv420p", "libx264", {}, "the codec h264"),
        ("ids.mp4", "bgr24", "libx264rgb", {"qp": "1"}, "the codec h264"),
        ("ids.mp4", "yuv444p", "libx264", {"qp": "0"}, "yuv444p of limited range, in which 256 numbers became 220"),
        ("ids.mov", "yuv422p10le", "prores_ks", {}, "the codec prores"),
        ("ids.avi", "yuvj420p", "mjpeg", {}, "the codec mjpeg"),
        ("ids.mkv", "yuv420p", "ffv1", {}, "yuv420p of limited range, in which 256 numbers became 220"),
        ("ids.mkv", "gray16le", "ffv1", {}, "gray16le, which would be rounded to 8 bits"),
    ],
)
def test_ids_in_a_video_that_changes_numbers_are_refused(
    tmp_path: Path, name: str, pixel_format: str, encoder: str, options: dict[str, str], found: str
) -> None:
    path = write_clip(tmp_path / name, pixel_format, encoder, options)
    with pytest.raises(MediaError) as refused:
        check_mask(f"{path}#3")
    assert str(refused.value) == (
        f"--protect: {path}: expected ids that are stored without loss, found {found}: export them as PNG, .npz, or a "
        "lossless video (FFV1, grey or RGB)"
    )
    check_mask(path)  # white and black need no such care


@pytest.mark.parametrize(
    ("name", "options", "found"),
    [
        ("ids.jpg", {}, "JPEG"),
        ("ids.webp", {"quality": 90}, "lossy WebP"),
        ("ids.tif", {"compression": "jpeg"}, "a TIFF with jpeg compression"),
    ],
)
def test_ids_in_an_image_that_changes_numbers_are_refused(
    tmp_path: Path, name: str, options: dict[str, Any], found: str
) -> None:
    Image.fromarray(IDS.astype(np.uint8)).convert("RGB").save(tmp_path / name, **options)
    with pytest.raises(MediaError, match=rf"expected ids that are stored without loss, found {found}: export"):
        check_mask(f"{tmp_path / name}#3")


def test_ids_are_read_from_lossless_webp(tmp_path: Path) -> None:
    Image.fromarray(IDS.astype(np.uint8)).convert("RGB").save(tmp_path / "ids.webp", lossless=True)
    for weight in weights(f"{tmp_path / 'ids.webp'}#3"):
        assert (weight == (IDS != 3)).all()


def test_ids_in_the_colours_of_a_video_are_refused(tmp_path: Path) -> None:
    with ClipWriter(tmp_path / "ids.mkv", ClipInfo(8, 4, Fraction(16)), codec="lossless") as writer:
        writer.write(np.stack([IDS, IDS * 0, IDS], axis=-1)[None].astype(np.uint8))
    with pytest.raises(MediaError, match=r"expected the ids in one channel .* got colours"):
        weights(f"{tmp_path / 'ids.mkv'}#3")


@pytest.mark.parametrize("ids", ["", "#3"])
@pytest.mark.parametrize("given", ["", "*.png", "%04d.png"])
def test_missing_numbers_of_a_mask_are_warned_of(tmp_path: Path, given: str, ids: str) -> None:
    for index in (0, 1, 4):
        write_image(tmp_path / f"{index:04d}.png", np.repeat(IDS[..., None], 3, axis=2).astype(np.uint8))
    mask = open_mask(f"{tmp_path / given}{ids}", width=8, height=4, frame_rate=Fraction(16), start_seconds=0)
    list(islice(mask, 5))
    said = "2 numbers are missing in the sequence, the first is 2: the images were taken as neighbours"
    assert mask.warnings == (f"--protect: {(tmp_path / given).name}: {said}",)


def test_missing_numbers_of_labels_are_warned_of(tmp_path: Path) -> None:
    for index in (0, 2):
        np.savez_compressed(tmp_path / f"{index:04d}.npz", segmentation=IDS.astype(np.uint16))
    mask = open_mask(f"{tmp_path}#3", width=8, height=4, frame_rate=Fraction(16), start_seconds=0)
    list(islice(mask, 3))
    assert len(mask.warnings) == 1
    assert "1 numbers are missing in the sequence, the first is 1" in mask.warnings[0]


def test_what_reading_a_mask_warns_of_is_passed_on_once(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "mask.png"), np.full((4, 8, 4), 100, np.uint8))
    mask = open_mask(tmp_path / "mask.png", width=8, height=4, frame_rate=Fraction(16), start_seconds=0)
    list(islice(mask, 20))
    said = "the clip is transparent in places: it was laid over black and alpha was dropped"
    assert mask.warnings == (f"--protect: mask.png: {said}",)


@pytest.mark.parametrize("ids", ["", "#3"])
def test_a_mask_of_another_shape_is_stretched_and_this_is_said_once(labels: Path, ids: str) -> None:
    mask = open_mask(f"{labels}{ids}", width=8, height=8, frame_rate=Fraction(16), start_seconds=0)
    assert next(mask).shape == (8, 8)
    list(islice(mask, 5))
    said = "it is 8x4, the clip 8x8, which is another shape: the mask was stretched"
    assert mask.warnings == (f"--protect: seg.png: {said}",)


def test_a_mask_of_half_the_size_says_nothing_though_its_size_is_rounded(labels: Path) -> None:
    mask = open_mask(labels, width=17, height=9, frame_rate=Fraction(16), start_seconds=0)
    next(mask)
    assert mask.warnings == ()


@pytest.mark.parametrize("given", ["m_####.png", "m_$F4.png"])
def test_another_programs_way_to_count_is_told_this_ones(tmp_path: Path, given: str) -> None:
    write_image(tmp_path / "m_0001.png", np.zeros((4, 8, 3), np.uint8))
    with pytest.raises(MediaError, match=r"--protect: .*expected a number's place such as %04d.*m_%04d\.png"):
        check_mask(tmp_path / given)


@pytest.mark.parametrize("suffix", [".tif", ".png"])
def test_one_image_serves_from_any_start(tmp_path: Path, suffix: str) -> None:
    Image.fromarray(np.full((4, 8, 3), 255, np.uint8)).save(tmp_path / f"mask{suffix}")
    mask = open_mask(tmp_path / f"mask{suffix}", width=8, height=4, frame_rate=Fraction(16), start_seconds=5.0)
    assert [float(weight.mean()) for weight in islice(mask, 2)] == [0, 0]


def test_ids_up_to_16_bits_are_ids() -> None:
    assert split_ids("seg.png#65535,0") == (Path("seg.png"), frozenset({0, 65535}))
    with pytest.raises(MediaError, match=r"--protect: .* 0 to 65535 .* got '65536'"):
        split_ids("seg.png#65536")
