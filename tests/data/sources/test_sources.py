from __future__ import annotations

import json
import logging
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import footage
from realmaster.data.sources import registry
from realmaster.data.sources.registry import open_source, open_sources
from realmaster.data.sources.source import Source, SourceSettings
from realmaster.data.sources.videos import VideoSource
from realmaster.errors import ConfigError, MediaError
from sample_clips import scene, write_clip, write_images


def opened(kind: str, path: Path, **more: object) -> Source:
    return open_source(SourceSettings.from_mapping({"kind": kind, "path": str(path), **more}, source="test"))


def frames_of(source: Source, video: str, first: int, count: int) -> np.ndarray:
    return np.stack(list(source.frames(video, first, count)))


def test_sail_vos_is_read_at_8_a_second_and_its_alpha_is_no_part_of_the_picture(tmp_path: Path) -> None:
    source = opened("sail-vos", footage.sail_vos(tmp_path / "set"))
    first, second = source.videos()
    assert [first.name, second.name] == ["ah_3a_ext", "fam_6_mcs_1"]
    assert (first.num_frames, first.frame_rate, first.width, first.height) == (6, Fraction(8), 32, 20)
    assert first.passes == ("depth", "instances")
    assert (frames_of(source, "ah_3a_ext", 2, 3) == scene(6, 32, 20)[2:5]).all()


def test_sail_vos_depth_is_in_metres_and_its_sky_infinite(tmp_path: Path) -> None:
    source = opened("sail-vos", footage.sail_vos(tmp_path / "set"))
    (depth,) = source.read_pass("ah_3a_ext", "depth", 1, 1)
    assert np.isinf(depth[:10]).all()
    assert depth[10:] == pytest.approx(5.0, rel=1e-4)
    (instances,) = source.read_pass("ah_3a_ext", "instances", 0, 1)
    assert (instances == 7).all()


def test_sail_vos_lists_say_which_video_is_for_what_and_leave_the_others_out(tmp_path: Path) -> None:
    root = footage.sail_vos(tmp_path / "set", ("a", "b", "c"), digits=6)
    (root / "train_list.txt").write_text("a\n")
    (tmp_path / "mine.txt").write_text("b\n")
    source = opened("sail-vos", root, options={"validation_list": str(tmp_path / "mine.txt")})
    assert {video.name: video.split for video in source.videos()} == {"a": "train", "b": "validation"}
    (root / "train_list.txt").write_text("nobody\n")
    with pytest.raises(MediaError, match="found none of 1: check the lists"):
        opened("sail-vos", root)


def test_sail_vos_without_all_its_depth_says_so_and_offers_none(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    root = footage.sail_vos(tmp_path / "set", ("a",))
    next((root / "a" / "depth").iterdir()).unlink()
    (root / "b").mkdir()
    with caplog.at_level(logging.WARNING):
        (video,) = opened("sail-vos", root).videos()
    assert video.passes == ("instances",)
    assert "lacks 1 of 6 frames" in caplog.text
    assert "1 folders have no images" in caplog.text


def test_missing_frames_are_breaks_that_no_clip_may_cross(tmp_path: Path) -> None:
    root = footage.sail_vos(tmp_path / "set", ("a",), num_frames=8)
    (root / "a" / "images" / f"{3:018d}.bmp").unlink()
    assert opened("sail-vos", root).videos()[0].breaks == (3,)


def test_carla_gives_metres_tags_and_instances(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    footage.carla(tmp_path / "town" / "run_1")
    footage.carla(tmp_path / "town" / "run_2")
    source = opened("carla", tmp_path / "town")
    assert [video.name for video in source.videos()] == ["run_1", "run_2"]
    assert source.videos()[0].frame_rate == 20
    assert "20 a second" in caplog.text
    (depth,) = source.read_pass("run_1", "depth", 0, 1)
    assert np.isinf(depth[0]).all()
    assert depth[1:] == pytest.approx(5.0, abs=1e-3)
    assert (next(iter(source.read_pass("run_2", "segmentation", 3, 1))) == 14).all()
    assert (next(iter(source.read_pass("run_2", "instances", 3, 1))) == (14 << 16) + (1 << 8) + 3).all()
    assert (frames_of(source, "run_1", 0, 4) == scene(4, 32, 20)).all()


def test_carlas_grey_depth_is_refused_for_it_has_lost_the_distances(tmp_path: Path) -> None:
    root = footage.carla(tmp_path / "run")
    for file in (root / "depth").iterdir():
        file.write_bytes((root / "rgb" / file.name).read_bytes())
    footage.Image.fromarray(np.full((20, 32, 3), 90, np.uint8)).save(root / "depth" / "00000100.png")
    with pytest.raises(MediaError, match="Raw"):
        next(iter(opened("carla", root, frame_rate=20).read_pass("run", "depth", 0, 1)))


def test_unreals_passes_belong_to_their_shot(tmp_path: Path) -> None:
    source = opened("sequences", footage.unreal(tmp_path / "shots"), frame_rate=24, options={"depth_scale": 0.01})
    (video,) = source.videos()
    assert (video.name, video.frame_rate, video.passes) == ("shots", Fraction(24), ("depth",))
    (depth,) = source.read_pass("shots", "depth", 2, 1)
    assert depth == pytest.approx(5.0)
    assert (frames_of(source, "shots", 1, 2) == scene(4, 32, 20)[1:3]).all()


def test_two_shots_in_one_folder_are_two_videos_with_their_own_passes(tmp_path: Path) -> None:
    root = footage.unreal(tmp_path / "shots")
    for file in sorted(root.iterdir()):
        (root / file.name.replace("Shot.", "Other.")).write_bytes(file.read_bytes())
    videos = opened("sequences", root, frame_rate=24).videos()
    assert [(video.name, video.passes) for video in videos] == [("other", ("depth",)), ("shot", ("depth",))]


def test_unitys_steps_are_frames_and_its_labels_a_pass(tmp_path: Path) -> None:
    source = opened("sequences", footage.unity(tmp_path / "solo"), frame_rate=30)
    (video,) = source.videos()
    assert (video.name, video.num_frames, video.passes) == ("sequence.0", 4, ("instances",))
    (labels,) = source.read_pass("sequence.0", "instances", 0, 1)
    assert np.unique(labels).tolist() == [0, 200 << 8]


def test_blenders_layered_exr_holds_picture_depth_and_objects(tmp_path: Path) -> None:
    source = opened("sequences", footage.blender(tmp_path / "render"), frame_rate=24)
    (video,) = source.videos()
    assert (video.width, video.height, video.passes) == (32, 20, ("depth", "instances"))
    (depth,) = source.read_pass("render", "depth", 0, 1)
    assert np.isinf(depth[0]).all()
    assert (depth[1:] == 5).all()
    difference = frames_of(source, "render", 0, 4).astype(int) - scene(4, 32, 20)
    assert abs(difference).max() <= 6  # a gamma of 2.2 in the fixture is nearly, not quite, sRGB
    assert (next(iter(source.read_pass("render", "instances", 0, 1))) == 3).all()


def test_images_of_a_plain_folder_are_a_sequence(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write_images(tmp_path / "frames", scene(3, 32, 20))
    (video,) = opened("sequences", tmp_path / "frames").videos()
    assert (video.name, video.num_frames, video.frame_rate) == ("frames", 3, 16)
    assert "16 a second" in caplog.text


def test_videos_are_found_by_file_folder_and_pattern_with_the_captions_beside_them(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        write_clip(tmp_path / name / "engine.mp4", num_frames=5)
    (tmp_path / "one" / "engine.txt").write_text("a street in rain\n")
    by_pattern = opened("video", tmp_path / "*" / "engine.mp4", caption="a street").videos()
    assert [(video.name, video.caption) for video in by_pattern] == [
        ("one/engine", "a street in rain"),
        ("two/engine", "a street"),
    ]
    assert [video.name for video in opened("video", tmp_path).videos()] == ["one/engine", "two/engine"]
    assert [video.name for video in opened("video", tmp_path / "one" / "engine.mp4").videos()] == ["engine"]
    source = opened("video", tmp_path)
    assert len(frames_of(source, "two/engine", 3, 2)) == 2
    with pytest.raises(MediaError, match="expected 3 frames from frame 3 on, 1 are missing"):
        frames_of(source, "two/engine", 3, 3)
    with pytest.raises(MediaError, match="a video file holds none"):
        source.read_pass("one/engine", "depth", 0, 1)


def test_a_manifest_lends_its_renders_and_captions_each_file_once(tmp_path: Path) -> None:
    (tmp_path / "videos").mkdir()
    for name in ("a", "b", "engine"):
        write_clip(tmp_path / "videos" / f"{name}.mp4", num_frames=5)
    row = {"reference_video": "videos/engine.mp4", "caption": "a street, rain"}
    lines = [json.dumps({"video": f"videos/{name}.mp4", **row}) for name in ("a", "b")]
    (tmp_path / "test.jsonl").write_text("\n".join(lines))
    (video,) = opened("manifest", tmp_path / "test.jsonl").videos()
    assert (video.name, video.caption, video.num_frames) == ("videos/engine", "a street, rain", 5)


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("sail-vos", r"looked for VIDEO/images/\*.bmp in 1 folders"),
        ("carla", "looked for images in rgb, rgb_front"),
        ("sequences", "such as Shot.0001.png, found no numbered images"),
        ("video", "looked for files ending in .mp4"),
    ],
)
def test_a_folder_of_another_layout_is_refused_with_what_was_looked_for(tmp_path: Path, kind: str, says: str) -> None:
    (tmp_path / "set" / "other").mkdir(parents=True)
    with pytest.raises(MediaError, match=says):
        opened(kind, tmp_path / "set")
    with pytest.raises(MediaError, match="check"):
        opened(kind, tmp_path / "nowhere")


def test_a_frame_of_another_size_or_damaged_is_named(tmp_path: Path) -> None:
    root = footage.sail_vos(tmp_path / "set", ("a",))
    third = root / "a" / "images" / f"{2:018d}.bmp"
    footage.Image.fromarray(scene(1, 16, 20)[0]).save(third)
    source = opened("sail-vos", root)
    with pytest.raises(MediaError, match=f"{third}: expected 32x20 pixels .* got 16x20"):
        frames_of(source, "a", 0, 3)
    third.write_bytes(third.read_bytes()[:200])
    with pytest.raises(MediaError, match="restore this frame"):
        frames_of(source, "a", 0, 3)


def test_a_source_that_is_not_there_by_that_name_or_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean carla"):
        opened("carl", tmp_path)
    write_clip(tmp_path / "clip.mp4")
    twice = [SourceSettings(kind="video", path=str(tmp_path))] * 2
    with pytest.raises(ConfigError, match="'video' twice"):
        open_sources(twice)
    with pytest.raises(ConfigError, match="options: expected none for video, got depth"):
        opened("video", tmp_path, options={"depth": 1})
    with pytest.raises(ConfigError, match="did you mean depth_scale"):
        opened("sequences", tmp_path, options={"depth_scal": 1})
    with pytest.raises(MediaError, match="expected the video other"):
        frames_of(opened("video", tmp_path), "other", 0, 1)


def test_a_reader_of_another_package_is_found_by_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Point:
        name = "my-engine"

        def load(self) -> object:
            return lambda settings: ("opened", settings.options["lens"])

    monkeypatch.setattr(registry, "entry_points", lambda group: [Point()] if group == "realmaster.sources" else [])
    assert opened("my-engine", tmp_path, options={"lens": 35}) == ("opened", 35)
    with pytest.raises(ConfigError, match="did you mean my-engine"):
        opened("my-engin", tmp_path)


def test_videos_that_differ_by_their_ending_alone_are_two(tmp_path: Path) -> None:
    for name in ("a.mp4", "a.mkv", "b.mp4"):
        write_clip(tmp_path / name)
    assert [video.name for video in opened("video", tmp_path).videos()] == ["a.mkv", "a.mp4", "b"]


def test_two_cameras_that_would_share_a_name_are_refused(tmp_path: Path) -> None:
    for camera in ("cam1", "cam2"):
        for image in write_images(tmp_path / camera, scene(3, 32, 24)).iterdir():
            image.rename(tmp_path / f"{camera}_{image.name}")
        (tmp_path / camera).rmdir()
    with pytest.raises(MediaError, match=r"expected a name for each video.*give each a folder of its own"):
        opened("sequences", tmp_path)


def test_one_damaged_video_is_named_and_the_others_are_offered(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name)
    (tmp_path / "b.txt").write_bytes(b"caf\xe9")
    (tmp_path / "c.mp4").write_bytes(b"no video")
    source = opened("video", tmp_path)
    assert [video.name for video in source.videos()] == ["a"]
    assert isinstance(source, VideoSource)
    assert "b.txt: expected a caption as UTF-8 text" in source.unusable["b"]
    assert "c.mp4: expected a video" in source.unusable["c"]
    root = footage.sail_vos(tmp_path / "set", ("x", "y"))
    min((root / "x" / "images").iterdir()).write_bytes(b"no picture")
    assert [video.name for video in opened("sail-vos", root).videos()] == ["y"]


def test_what_a_source_warns_of_is_said_when_its_videos_are_asked_for(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def said() -> int:
        return sum("frame rate" in record.message for record in caplog.records)

    (tmp_path / "set").mkdir()
    footage.carla(tmp_path / "set")
    source = opened("carla", tmp_path / "set")
    assert said() == 0  # a worker that looks through one video says nothing
    source.videos()
    assert said() == 1
