from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import footage
from realmaster.data.clip_frames import read_clip, read_clip_pass
from realmaster.data.sampler import Draw, Footage, SampleSettings, choose_size, draw_clips, source_frames
from realmaster.data.scan import Scan, Stretch
from realmaster.data.sources.registry import open_source
from realmaster.data.sources.source import SourceSettings, SourceVideo
from realmaster.errors import ConfigError, DataError
from sample_clips import scene


def settings(**values: object) -> SampleSettings:
    return SampleSettings.from_mapping({"train": 4, "num_frames": 9, "buckets": ["64x48"], **values}, source="test")


def video(name: str, num_frames: int = 100, *, rate: int = 8, scan: Scan | None = None, **more: object) -> Footage:
    found = SourceVideo(name, num_frames, Fraction(rate), 800, 1280, **more)  # type: ignore[arg-type]
    return Footage("set", found, scan or Scan(num_frames))


def where(draws: tuple[Draw, ...]) -> list[tuple[str, int]]:
    return [(draw.footage.video.name, draw.first_frame) for draw in draws]


def test_8_frames_a_second_are_shown_twice_at_16() -> None:
    paper = settings(num_frames=81)
    shown = source_frames(paper, Fraction(8))
    assert shown == [index // 2 for index in range(81)]
    assert source_frames(settings(num_frames=5), Fraction(16)) == [0, 1, 2, 3, 4]
    assert source_frames(settings(num_frames=3), Fraction(48)) == [0, 3, 6]


def test_clips_are_spread_evenly_over_videos_of_any_length() -> None:
    drawn = draw_clips([video("long", 2000), video("short", 60), video("middle", 300)], settings(train=9), seed=1)
    names = [name for name, _ in where(drawn.draws)]
    assert {name: names.count(name) for name in names} == {"long": 3, "short": 3, "middle": 3}


def test_no_clip_reaches_across_a_cut_a_gap_or_what_is_dropped() -> None:
    scan = Scan(60, cuts=(20,), dropped=(Stretch(30, 40, "black"),))
    drawn = draw_clips([video("a", 60, scan=scan, breaks=(50,))], settings(train=99, overlap=0.9), seed=3)
    for _, first in where(drawn.draws):
        assert any(low <= first and first + 5 <= high for low, high in [(0, 20), (20, 30), (40, 50), (50, 60)])
    assert len({first for _, first in where(drawn.draws)}) > 8


def test_clips_of_one_video_do_not_overlap_unless_they_may() -> None:
    drawn = draw_clips([video("a", 60)], settings(train=99), seed=0)
    firsts = sorted(first for _, first in where(drawn.draws))
    assert min(np.diff(firsts)) >= 5
    assert drawn.missing == {"train": 99 - len(firsts)}


def test_the_seed_makes_the_plan_and_more_clips_keep_those_drawn_before() -> None:
    offer = [video("a", 200), video("b", 90), video("c", 400)]
    few, same = (draw_clips(offer, settings(train=5, validation=2), seed=7) for _ in range(2))
    more = draw_clips(offer, settings(train=11, validation=3), seed=7)
    other = draw_clips(offer, settings(train=5, validation=2), seed=8)
    assert few == same
    assert set(where(few.draws)) < set(where(more.draws))
    assert where(few.draws) != where(other.draws)


def test_training_and_validation_share_no_video() -> None:
    offer = [video(str(index), 100) for index in range(10)]
    drawn = draw_clips(offer, settings(train=30, validation=6, validation_share=0.2), seed=0)
    by_split = {split: {d.footage.key for d in drawn.draws if d.split == split} for split in ("train", "validation")}
    assert len(by_split["validation"]) == 2
    assert not by_split["train"] & by_split["validation"]


def test_a_source_may_say_which_video_is_for_what() -> None:
    offer = [video("a", split="validation"), video("b", split="train"), video("c", split="train")]
    drawn = draw_clips(offer, settings(train=6, validation=2), seed=0)
    assert {d.footage.video.name for d in drawn.draws if d.split == "validation"} == {"a"}


def test_one_video_cannot_be_for_both() -> None:
    with pytest.raises(DataError, match="expected at least two videos"):
        draw_clips([video("a")], settings(validation=1), seed=0)


def test_footage_too_short_for_a_clip_is_refused_with_the_longest_stretch_there_is() -> None:
    offer = [video("a", 4), video("b", 30, scan=Scan(30, cuts=(3, 6, 10, 12, 16, 20, 24, 28)))]
    with pytest.raises(DataError, match=r"longest unbroken stretch \(set/.\) has 4 frames, 0.5 s, and 5 are needed"):
        draw_clips(offer, settings(), seed=0)
    drawn = draw_clips([video("a", 4), video("b", 30)], settings(), seed=0)
    assert drawn.dropped == {"set/a": (Stretch(0, 4, "shorter than a clip"),)}


@pytest.mark.parametrize(
    ("framing", "size", "chosen"),
    [("crop", (800, 1280), (480, 832)), ("crop", (1280, 720), (832, 480)), ("fit", (800, 1280), (480, 768))],
)
def test_the_bucket_of_the_nearest_aspect_is_filled_or_fitted(
    framing: str, size: tuple[int, int], chosen: tuple[int, int]
) -> None:
    assert choose_size(*size, settings(framing=framing, buckets=["832x480", "480x832"])) == chosen


@pytest.mark.parametrize("bucket", ["832", "832x", "833x480", "0x480", "832 x 480"])
def test_a_bucket_that_is_none_is_refused(bucket: str) -> None:
    with pytest.raises(ConfigError, match="sides in multiples of 8"):
        settings(buckets=[bucket])


def test_a_clip_and_its_depth_are_cut_and_repeated_alike(tmp_path: Path) -> None:
    root = footage.sail_vos(tmp_path / "set", ("a",), num_frames=8)
    source = open_source(SourceSettings(kind="sail-vos", path=str(root)))
    wanted = settings(num_frames=5, buckets=["16x16"])
    frames = read_clip(source, "a", Fraction(8), 3, (20, 20), wanted)
    middle = scene(8, 32, 20)[:, :, 6:26]
    assert (frames == middle[[3, 3, 4, 4, 5]]).all()
    depth = read_clip_pass(source, "a", Fraction(8), "depth", 3, (10, 10), wanted)
    assert depth.shape == (5, 10, 10)
    assert np.isinf(depth[:, :5]).all()
    assert depth[:, 5:] == pytest.approx(5, rel=1e-4)


def test_validation_is_drawn_from_videos_that_have_room() -> None:
    black = [video(f"black{i}", scan=Scan(100, (), (Stretch(0, 100, "black"),))) for i in range(6)]
    for seed in range(5):
        drawn = draw_clips([video("a"), video("b"), *black], settings(validation=1), seed=seed)
        assert sorted(draw.split for draw in drawn.draws) == ["train"] * 4 + ["validation"]


@pytest.mark.parametrize(
    ("changes", "offer", "says"),
    [
        ({"train": 0}, [video("a")], "sample.train and sample.validation are 0"),
        ({}, [video("a", split="validation")], "all 1 that have it are of the other split"),
        ({}, [video("a", scan=Scan(100, (), (Stretch(0, 100, "black"),)))], "most of the rest was dropped as black"),
        ({"num_frames": 1000}, [video("a")], "lower sample.num_frames"),
    ],
)
def test_no_room_is_said_with_its_cause(changes: dict[str, int], offer: list[Footage], says: str) -> None:
    with pytest.raises(DataError, match=says):
        draw_clips(offer, settings(**changes), seed=0)
