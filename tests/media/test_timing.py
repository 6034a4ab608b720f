"""Time is exact: an hour of video is counted without decoding an hour of video."""

from __future__ import annotations

from fractions import Fraction
from itertools import pairwise

import pytest

from realmaster.media.timing import (
    Clock,
    Timed,
    constant_rate,
    exact_seconds,
    first_time_shown,
    nominal_rate,
    on_the_sources_grid,
    repeats,
    resample,
    snap,
    source_index,
)

HOUR = 3600
NTSC_FILM, NTSC = Fraction(24000, 1001), Fraction(30000, 1001)


def constant(rate: Fraction, num_frames: int):
    return (Timed(index / rate, 1 / rate, index) for index in range(num_frames))


def test_8_to_16_shows_each_frame_exactly_twice_for_an_hour():
    shown = list(resample(constant(Fraction(8), 8 * HOUR), Fraction(8), Clock(Fraction(16))))
    assert shown == [index // 2 for index in range(16 * HOUR)]


@pytest.mark.parametrize(
    ("source", "target"),
    [(NTSC_FILM, Fraction(16)), (Fraction(16), NTSC)],
)
def test_another_rate_is_never_off_by_more_than_half_a_frame_and_does_not_drift_over_an_hour(source, target):
    num_frames = int(HOUR * source)
    shown = list(resample(constant(source, num_frames), source, Clock(target)))
    end = num_frames / source
    assert len(shown) == Clock(target).count(end)
    assert end - 1 / target <= Clock(target).time(len(shown) - 1) < end
    for index in (0, 1, 2, len(shown) // 3, len(shown) // 2, len(shown) - 2, len(shown) - 1):
        last = shown[index] == num_frames - 1  # the last frame stays until the clip's end
        assert last or abs(shown[index] / source - index / target) <= 1 / (2 * source)
    assert all(before <= after for before, after in pairwise(shown))


@pytest.mark.parametrize(
    ("source", "target", "start"),
    [(8, 16, 0), (8, 16, "0.1"), (8, 24, "1.05"), (NTSC_FILM, 16, "0.3"), (25, 16, 0), (30, 10, "2"), (16, 16, "0.7")],
)
def test_resampling_a_stream_agrees_with_the_formula_for_one_frame(source, target, start):
    source, clock = Fraction(source), Clock(Fraction(target), Fraction(start))
    shown = list(resample(constant(source, 100), source, clock))
    assert len(shown) == clock.count(100 / source)
    assert shown == [min(source_index(index, source, clock), 99) for index in range(len(shown))]


def test_halving_the_rate_takes_every_other_frame():
    assert list(resample(constant(Fraction(16), 81), Fraction(16), Clock(Fraction(8)))) == list(range(0, 81, 2))


def test_of_two_frames_equally_near_the_earlier_is_shown():
    frames = [Timed(Fraction(0), Fraction(1), "a"), Timed(Fraction(1), Fraction(1), "b")]
    assert list(resample(frames, None, Clock(Fraction(2)))) == ["a", "a", "b", "b"]


def test_uneven_frames_are_shown_by_nearest_time():
    times = [Fraction(t, 100) for t in (0, 4, 10, 30, 33, 50)]
    frames = [Timed(time, Fraction(1, 10), float(time)) for time in times]
    # at 0, .1, .2 (nearer to .1 and .3 alike: the earlier), .3, .4 (.33), .5
    assert list(resample(frames, None, Clock(Fraction(10)))) == [0.0, 0.1, 0.1, 0.3, 0.33, 0.5]


def test_a_limit_stops_reading_the_source():
    def endless():
        index = 0
        while True:
            yield Timed(Fraction(index, 16), Fraction(1, 16), index)
            index += 1

    assert list(resample(endless(), Fraction(16), Clock(Fraction(32)), limit=5)) == [0, 0, 1, 1, 2]


def test_no_frames_give_no_frames():
    assert list(resample([], Fraction(8), Clock(Fraction(16)))) == []


def test_only_whole_multiples_repeat():
    assert repeats(Fraction(8), Fraction(16)) == 2
    assert repeats(Fraction(16), Fraction(16)) == 1
    assert repeats(Fraction(24), Fraction(16)) is None
    assert repeats(NTSC_FILM, Fraction(24)) is None


def test_times_rounded_to_milliseconds_still_show_their_constant_rate():
    times = [Fraction(round(1000 * index / NTSC), 1000) for index in range(3000)]
    assert constant_rate(times, [Fraction(30), NTSC], Fraction(1, 1000)) == NTSC
    assert all(snap(time, NTSC, Fraction(1, 1000)) == index / NTSC for index, time in enumerate(times))


def test_a_rate_with_dropped_frames_is_constant_with_gaps():
    times = [Fraction(index, 30) for index in range(100) if index % 10]
    assert constant_rate(times, [Fraction(27), Fraction(30)], Fraction(1, 1000)) == 30


def test_uneven_times_are_no_constant_rate_even_though_every_millisecond_lies_on_a_grid_of_1000():
    times = [Fraction(t, 1000) for t in (0, 40, 130, 133, 210, 300)]
    assert constant_rate(times, [Fraction(1000), Fraction(20)], Fraction(1, 1000)) is None


@pytest.mark.parametrize(
    ("average", "chosen"), [("29.93", 30), ("43.7", 48), ("23.99", 24), ("58.3", 60), ("3", 5), ("500.4", 500)]
)
def test_a_varying_rate_becomes_the_near_or_next_standard_rate(average, chosen):
    assert nominal_rate(Fraction(average)) == chosen


def test_seconds_mean_the_decimal_number_that_was_written():
    assert exact_seconds(0.1) == Fraction(1, 10)
    assert exact_seconds(1e-05) == Fraction(1, 100000)


@pytest.mark.parametrize(
    ("source", "target", "start", "first"),
    [
        (24, 24, "0.52", "0.5"),  # frame 12, nearest to 12.48
        (24, 24, "0.55", Fraction(13, 24)),
        (8, 16, "0.3", "0.25"),  # frame 2 is shown twice
        (8, 16, "0.32", "0.3125"),  # and here once, its second half
        (24, 16, "0.52", "0.52"),
        (None, 24, "0.52", "0.52"),  # frames chosen by the clock's times lie about them
    ],
)
def test_sound_belongs_to_the_first_frame_shown_not_to_the_start(source, target, start, first):
    rate = None if source is None else Fraction(source)
    assert first_time_shown(rate, Clock(Fraction(target), Fraction(start))) == Fraction(first)


@pytest.mark.parametrize(
    ("start", "moved"), [("0", "0"), ("0.04", "0"), ("0.05", "0"), ("0.06", "0.1"), ("0.47", "0.5"), ("0.97", "0.9")]
)
def test_a_clock_that_shows_frames_as_they_are_begins_at_the_nearest_of_them(start: str, moved: str) -> None:
    rate, clock = Fraction(10), Clock(Fraction(10), Fraction(start))
    assert on_the_sources_grid(rate, clock, Fraction(1)).start == Fraction(moved)
    for other in (None, Fraction(20), Fraction(3)):  # varies, is halved, is no multiple
        assert on_the_sources_grid(other, clock, Fraction(1)) == clock
