"""From seeds to clips: the rules that keep training and test scenes apart, and the names that files carry."""

from __future__ import annotations

import pytest

from realmaster.data.render.plan import caption_of, choose_by_seed, clip_id, plan_clips, row_of, split_of
from realmaster.data.render.settings import ClipSettings, RenderSettings
from realmaster.errors import ConfigError

SEEDS = range(2000, 2400)


def clip(**changes: object) -> ClipSettings:
    values = {"seed": 7, "scene": "street", "engine_weather": "clear", "camera_weather": "clear"} | changes
    return ClipSettings.from_mapping(values, source="test")


def test_seeds_with_remainder_3_by_12_are_test_scenes_and_no_others() -> None:
    assert [seed for seed in range(2000, 2036) if split_of(seed) == "test"] == [2007, 2019, 2031]


def test_a_seed_always_means_the_same_clips() -> None:
    settings = RenderSettings(seeds=tuple(SEEDS))
    assert plan_clips(settings) == plan_clips(settings)
    alone = plan_clips(RenderSettings(seeds=(2100,)))
    assert alone == [planned for planned in plan_clips(settings) if planned.seed == 2100]


def test_test_scenes_come_outdoors_in_the_three_weathers_that_share_a_scene() -> None:
    for seed in SEEDS:
        if split_of(seed) == "test":
            choice = choose_by_seed(seed)
            assert choice.scene != "room"
            assert choice.closeup == "none"
            assert choice.weathers == ("clear", "overcast", "rain")


def test_training_scenes_are_of_every_kind_and_never_mix_night_with_day() -> None:
    choices = [choose_by_seed(seed) for seed in SEEDS if split_of(seed) == "train"]
    assert {choice.scene for choice in choices} == {"street", "courtyard", "room"}
    assert {choice.closeup for choice in choices} == {"none", "first", "last"}
    assert {len(choice.weathers) for choice in choices} == {1, 2}
    assert all(choice.weathers == ("night",) or "night" not in choice.weathers for choice in choices)


def test_what_the_settings_fix_overrules_the_seed() -> None:
    settings = RenderSettings(
        seeds=(1, 2), scene="room", weathers=("rain", "clear"), engine_weather="overcast", closeup="last", width=64
    )
    clips = plan_clips(settings)
    assert [(c.seed, c.camera_weather) for c in clips] == [(1, "rain"), (1, "clear"), (2, "rain"), (2, "clear")]
    assert {(c.scene, c.engine_weather, c.closeup, c.width) for c in clips} == {("room", "overcast", "last", 64)}


def test_a_clip_is_named_by_seed_scene_and_weathers() -> None:
    assert clip_id(clip()) == "00007_street_clear"
    assert clip_id(clip(camera_weather="rain")) == "00007_street_clear_rain"


def test_names_of_a_plan_are_all_different() -> None:
    names = [clip_id(planned) for planned in plan_clips(RenderSettings(seeds=tuple(SEEDS)))]
    assert len(set(names)) == len(names)


def test_the_caption_tells_the_weather_of_the_camera_look() -> None:
    assert caption_of(clip(camera_weather="rain")) == (
        "a city street with parked cars and people walking, heavy rain, wet ground with reflections"
    )
    assert caption_of(clip(scene="room")) == "a furnished room with people, sunlight through the window"


def test_a_row_has_the_columns_that_readers_of_pairs_expect() -> None:
    assert list(row_of(clip())) == [
        "id",
        "reference_video",
        "video",
        "caption",
        "scene",
        "engine_weather",
        "camera_weather",
        "seed",
        "num_frames",
        "fps",
        "width",
        "height",
    ]
    assert "video" not in row_of(clip(looks=("engine",)))


def test_settings_that_make_no_sense_are_refused_in_one_line() -> None:
    for wrong in ({"num_frames": 0}, {"scene": "moon"}, {"width": 8}, {"looks": ()}, {"lens": 50}):
        with pytest.raises(ConfigError, match=next(iter(wrong))):
            clip(**wrong)
    with pytest.raises(ConfigError, match="twice"):
        RenderSettings.from_mapping({"seeds": (1, 1)}, source="test")


@pytest.mark.dev
def test_ids_captions_and_columns_are_those_of_the_pairs_beside_the_checkout(shared) -> None:
    import json

    for split in ("train", "test"):
        for line in (shared / "pairs" / f"{split}.jsonl").read_text().splitlines():
            row = json.loads(line)
            same = clip(
                seed=row["seed"],
                scene=row["scene"],
                engine_weather=row["engine_weather"],
                camera_weather=row["camera_weather"],
            )
            assert row_of(same) == row
            assert split_of(row["seed"]) == split
