"""Buckets fit the models, and the order of draws depends on seed and position alone."""

from __future__ import annotations

import itertools
import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

from realmaster.config import Settings
from realmaster.errors import ConfigError, DataError
from realmaster.training.buckets import Bucket, BucketSampler, Draw, check_buckets, choose_bucket


@dataclass
class Clips:
    """A dataset without clips: their buckets alone."""

    buckets: Sequence[str]
    num_variants: int = 1
    digest: str = "data"

    def __len__(self) -> int:
        return len(self.buckets)


WIDE, TALL = "832x480x81", "480x832x81"
MIXED = Clips([WIDE] * 11 + [TALL] * 5)


def bucket(text: str) -> Bucket:
    return Bucket.model_validate(text)


def draws(sampler: BucketSampler, count: int) -> list[list[Draw]]:
    return list(itertools.islice(sampler, count))


def flat(batches: list[list[Draw]]) -> list[Draw]:
    return [draw for batch in batches for draw in batch]


class Config(Settings):
    buckets: tuple[Bucket, ...]


def test_a_bucket_is_written_as_one_word() -> None:
    (one, other) = Config.from_mapping(
        {"buckets": ["832x480x81", {"width": 64, "height": 48, "num_frames": 5}]}, source="x"
    ).buckets
    assert (one.width, one.height, one.num_frames) == (832, 480, 81)
    assert str(one) == "832x480x81"
    assert str(other) == "64x48x5"
    with pytest.raises(ConfigError, match="such as 832x480x81"):
        Config.from_mapping({"buckets": ["832x480"]}, source="train.yaml")


@pytest.mark.parametrize(
    ("text", "scale", "said"),
    [
        ("832x480x80", 1, r"4n\+1 frames, got 80: choose 81 or 77"),
        ("832x480x78", 1, "choose 77 or 81"),
        ("830x480x81", 1, "a width that is a multiple of 16, got 830: choose 832 or 816"),
        ("832x485x81", 1, "a height that is a multiple of 16, got 485: choose 480 or 496"),
        ("8x480x81", 1, "choose 16$"),
        ("1280x720x81", 2, r"multiple of 32 \(the reference is at 1/2 of the size\), got 720: choose 704 or 736"),
    ],
)
def test_a_bucket_that_does_not_fit_is_refused_with_the_nearest_sizes(text: str, scale: int, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        check_buckets([bucket("832x480x81"), bucket(text)], time_stride=4, space_stride=16, reference_scale=scale)


def test_the_published_sizes_fit() -> None:
    check_buckets([bucket("832x480x81"), bucket("1280x720x81")], time_stride=4, space_stride=16)
    check_buckets([bucket("832x480x81")], time_stride=4, space_stride=16, reference_scale=2)
    with pytest.raises(ConfigError, match="at least one bucket"):
        check_buckets([], time_stride=4, space_stride=16)


@pytest.mark.parametrize(
    ("shape", "chosen"),
    [
        ((200, 720, 1280), "1280x720x81"),
        ((60, 720, 1280), "1280x720x49"),
        ((200, 600, 1067), "832x480x81"),  # 1280x720 would enlarge it
        ((200, 144, 256), "832x480x81"),  # all enlarge it: the smallest
        ((200, 1280, 720), "480x832x81"),
        ((48, 720, 1280), None),
    ],
)
def test_a_clip_goes_where_its_aspect_its_length_and_its_size_lead(
    shape: tuple[int, int, int], chosen: str | None
) -> None:
    buckets = [bucket(text) for text in ("832x480x81", "1280x720x81", "1280x720x49", "480x832x81")]
    found = choose_bucket(buckets, num_frames=shape[0], height=shape[1], width=shape[2])
    assert (found and str(found)) == chosen


def test_a_short_clip_that_is_held_goes_to_the_shortest_bucket() -> None:
    buckets = [bucket(text) for text in ("832x480x81", "832x480x49")]
    found = choose_bucket(buckets, num_frames=9, height=480, width=832, hold_short=True)
    assert str(found) == "832x480x49"


def test_an_epoch_shows_every_clip_and_no_step_mixes_buckets() -> None:
    sampler = BucketSampler(MIXED, 2, seed=0, accumulation=2)
    assert sampler.steps_per_epoch == 3 + 2
    batches = draws(sampler, 2 * sampler.steps_per_epoch)
    assert {draw.index for draw in flat(batches)} == set(range(16))
    for first, second in zip(batches[::2], batches[1::2], strict=True):
        assert len({MIXED.buckets[draw.index] for draw in first + second}) == 1
    # 11 clips in groups of 4 leave one place over, 5 clips leave three: they are filled, so nobody is left out
    counts = Counter(draw.index for draw in flat(batches))
    assert sorted(counts.values()) == [1] * 12 + [2] * 4


def test_epochs_differ_and_seeds_differ_and_nothing_else_does() -> None:
    sampler = BucketSampler(MIXED, 1, seed=0)
    first, second = flat(draws(sampler, 32))[:16], flat(draws(sampler, 32))[16:]
    assert [draw.index for draw in first] != [draw.index for draw in second]
    assert draws(sampler, 32) == draws(BucketSampler(MIXED, 1, seed=0), 32)
    assert draws(sampler, 32) != draws(BucketSampler(MIXED, 1, seed=1), 32)


def test_the_first_draws_are_those_of_every_version() -> None:
    """A changed order would break the resuming of old runs: it needs a note in the changelog."""
    assert [draw.index for draw in flat(draws(BucketSampler(MIXED, 1, seed=3), 6))] == FIRST_INDICES
    assert draws(BucketSampler(MIXED, 1, seed=3), 1)[0][0].seed == FIRST_SEED


FIRST_INDICES = [11, 5, 14, 0, 6, 7]
FIRST_SEED = 1378707193901708815


@pytest.mark.parametrize("layout", [(2, 1, 2), (4, 1, 1), (1, 2, 2), (2, 2, 1)])
def test_processes_and_accumulation_share_the_same_steps(layout: tuple[int, int, int]) -> None:
    """(batch size, accumulation, processes): a step draws the same clips with the same seeds in any layout."""
    batch_size, accumulation, world_size = layout
    alone = BucketSampler(MIXED, 1, seed=5, accumulation=4)
    expected = [flat(draws(alone, 24)[4 * step : 4 * step + 4]) for step in range(6)]
    ranks = [
        BucketSampler(MIXED, batch_size, 5, rank, world_size, accumulation=accumulation) for rank in range(world_size)
    ]
    shared = [flat(draws(rank, 6 * accumulation)) for rank in ranks]
    per_step = batch_size * accumulation
    for step in range(6):
        together = [draw for rank in shared for draw in rank[per_step * step : per_step * (step + 1)]]
        assert sorted(together, key=lambda draw: draw.seed) == sorted(expected[step], key=lambda draw: draw.seed)


def test_a_resumed_sampler_goes_on_exactly() -> None:
    whole = draws(BucketSampler(MIXED, 2, seed=7, drop_captions=0.3), 40)
    sampler = BucketSampler(MIXED, 2, seed=7, drop_captions=0.3)
    for _ in draws(sampler, 17):
        sampler.advance()
    state: dict[str, Any] = json.loads(json.dumps(sampler.state_dict()))
    resumed = BucketSampler(MIXED, 2, seed=7, drop_captions=0.3)
    resumed.load_state_dict(state)
    assert draws(resumed, 23) == whole[17:]
    assert resumed.epoch == pytest.approx(17 / 9)


def test_reading_ahead_does_not_move_the_state() -> None:
    sampler = BucketSampler(MIXED, 1, seed=0)
    draws(sampler, 30)
    assert sampler.state_dict()["position"] == 0


def test_a_run_may_resume_on_more_processes_with_less_accumulation() -> None:
    sampler = BucketSampler(MIXED, 1, seed=0, accumulation=4)
    sampler.advance(8)
    spread = [BucketSampler(MIXED, 1, 0, rank, 2, accumulation=2) for rank in range(2)]
    for rank in spread:
        rank.load_state_dict(sampler.state_dict())
    expected = {draw.seed for draw in flat(draws(sampler, 4))}
    assert {draw.seed for rank in spread for draw in flat(draws(rank, 2))} == expected
    sampler.advance()
    with pytest.raises(ConfigError, match="expected accumulation 4"):
        spread[0].load_state_dict(sampler.state_dict())


@pytest.mark.parametrize(
    ("other", "said"),
    [
        (BucketSampler(Clips([WIDE], digest="more"), 1, 0), "the same data"),
        (BucketSampler(MIXED, 2, 0), "the same number of clips a step"),
        (BucketSampler(MIXED, 1, 1), "the same seed"),
        (BucketSampler(MIXED, 1, 0, drop_captions=0.5), "the same drop_captions"),
    ],
)
def test_a_state_of_another_run_is_refused(other: BucketSampler, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        other.load_state_dict(BucketSampler(MIXED, 1, 0).state_dict())


def test_captions_are_dropped_at_about_the_share_that_is_asked() -> None:
    dropped = [draw.without_caption for draw in flat(draws(BucketSampler(MIXED, 4, seed=0, drop_captions=0.25), 500))]
    assert 0.2 < sum(dropped) / len(dropped) < 0.3
    assert not any(draw.without_caption for draw in flat(draws(BucketSampler(MIXED, 4, seed=0), 50)))


def test_variants_take_turns() -> None:
    clips = Clips([WIDE] * 6, num_variants=3)
    batches = draws(BucketSampler(clips, 1, seed=0), 18)
    assert Counter((draw.index, draw.variant) for draw in flat(batches)) == Counter(
        {(index, variant): 1 for index in range(6) for variant in range(3)}
    )
    assert len({draw.variant for draw in flat(batches[:6])}) > 1


def test_every_draw_has_a_seed_of_its_own() -> None:
    seeds = [draw.seed for draw in flat(draws(BucketSampler(MIXED, 1, seed=0), 200))]
    assert len(set(seeds)) == 200
    assert all(0 <= seed < 2**63 for seed in seeds)


def test_a_bucket_smaller_than_a_step_is_drawn_again_with_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        sampler = BucketSampler(Clips([WIDE] * 2), 4, seed=0)
    assert "bucket 832x480x81 has 2 clips" in caplog.text
    assert sorted(draw.index for draw in draws(sampler, 1)[0]) == [0, 0, 1, 1]


def test_an_empty_dataset_and_impossible_numbers_are_refused() -> None:
    with pytest.raises(DataError, match="found none"):
        BucketSampler(Clips([]), 1, 0)
    with pytest.raises(ConfigError, match="rank below world_size"):
        BucketSampler(MIXED, 1, 0, rank=2, world_size=2)
