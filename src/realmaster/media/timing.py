"""Exact time: which source frame is shown at which output time, in fractions and without files.

Separate from the readers so that an hour of video can be checked in a test without decoding an hour of video. Two
rules, both free of drift because every output time is `start + k / rate` computed anew:

- an output rate that is a whole multiple of the source's repeats every frame (8 -> 16 shows each frame twice);
- any other rate shows, at each output time, the source frame nearest in time; of two equally near, the earlier.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import islice
from math import ceil, floor
from typing import Generic, TypeVar

T = TypeVar("T")

STANDARD_RATES: tuple[Fraction, ...] = tuple(
    Fraction(rate)
    for rate in (
        *(5, 6, 8, 10, 12, 15, 16, 20, Fraction(24000, 1001), 24, 25, Fraction(30000, 1001), 30, 40),
        *(48, 50, Fraction(60000, 1001), 60, 72, 75, 90, 100, Fraction(120000, 1001), 120, 144, 240),
    )
)
"""Frame rates in use, ascending."""


@dataclass(frozen=True)
class Timed(Generic[T]):
    """A source frame (decoded or not): when it is first shown and for how long, in seconds from the clip's start."""

    time: Fraction
    duration: Fraction
    frame: T


@dataclass(frozen=True)
class Clock:
    """Output times: `start + k / rate` seconds for k = 0, 1, ..."""

    rate: Fraction
    start: Fraction = Fraction(0)

    def time(self, index: int) -> Fraction:
        """Time of one output frame, in seconds."""
        return self.start + index / self.rate

    def count(self, end: Fraction) -> int:
        """Number of output times before `end` seconds."""
        return max(0, ceil((end - self.start) * self.rate))


def exact_seconds(seconds: float | str | Fraction) -> Fraction:
    """Read seconds as the decimal number that was written: 0.1 is one tenth, not its nearest binary float."""
    return seconds if isinstance(seconds, Fraction) else Fraction(str(seconds))


def repeats(source_rate: Fraction, target_rate: Fraction) -> int | None:
    """How often each frame is shown when the target rate is a whole multiple of the source's; None otherwise."""
    ratio = target_rate / source_rate
    return int(ratio) if ratio.denominator == 1 else None


def source_index(index: int, source_rate: Fraction, clock: Clock) -> int:
    """Which frame of a constant-rate source is shown as output frame `index`: by repeating, else nearest in time."""
    position = clock.time(index) * source_rate  # in source frames
    if (repeats(source_rate, clock.rate) or 1) > 1:
        return floor(position)
    return ceil(position - Fraction(1, 2))  # a tie goes to the earlier frame


def resample(
    frames: Iterable[Timed[T]], source_rate: Fraction | None, clock: Clock, *, limit: int | None = None
) -> Iterator[T]:
    """Show a stream of source frames at the clock's times, at most `limit` of them.

    Frames come in ascending time and may start before the clock does. `source_rate` is the constant rate of the
    source, None where it varies. One frame is held at a time.
    """
    factor = repeats(source_rate, clock.rate) if source_rate is not None else None
    limit = None if limit is None else min(limit, sys.maxsize)
    if source_rate is None or factor is None or factor == 1:
        return islice(_nearest(frames, clock), limit)
    position = clock.start * source_rate
    first = floor(position)
    shown = _nearest(frames, Clock(source_rate, first / source_rate))
    return islice(_repeat(shown, ceil((1 - (position - first)) * factor), factor), limit)


def first_time_shown(source_rate: Fraction | None, clock: Clock) -> Fraction:
    """Time in the source, in seconds, that belongs to output frame 0 of `resample`: sound is cut there.

    Where source frames are shown as they are or repeated, that is where the first of them lies on the source's own
    grid, not the clock's start; where frames are chosen by the clock's times, it is the start.
    """
    factor = repeats(source_rate, clock.rate) if source_rate is not None else None
    if source_rate is None or factor is None:
        return clock.start
    position = clock.start * source_rate
    if factor == 1:
        return ceil(position - Fraction(1, 2)) / source_rate  # the nearest frame; a tie goes to the earlier
    first = floor(position)
    return (first + 1) / source_rate - ceil((1 - (position - first)) * factor) / clock.rate


def on_the_sources_grid(source_rate: Fraction | None, clock: Clock, end: Fraction | None) -> Clock:
    """Move a clock that shows frames as they are, at the source's own rate, to the first of them.

    So that each is shown once: from a start between frames, the last one would be the nearest to two output times.
    `end` is when the source's last frame ceases to be shown, None where it is not known; other clocks stay.
    """
    if source_rate is None or repeats(source_rate, clock.rate) != 1:
        return clock
    start = first_time_shown(source_rate, clock)
    return Clock(clock.rate, start if end is None else max(min(start, end - 1 / source_rate), Fraction(0)))


def constant_rate(times: Sequence[Fraction], candidates: Iterable[Fraction], tolerance: Fraction) -> Fraction | None:
    """Find the rate on whose grid all times lie, or None when they vary.

    Args:
        times: ascending, in seconds.
        candidates: rates to try, the most likely first.
        tolerance: how far, in seconds, a container may round a time.
    """
    if len(times) < 2 or times[-1] == times[0]:
        return None
    average = (len(times) - 1) / (times[-1] - times[0])
    for rate in candidates:
        # a rate far above the average fits any times: every millisecond lies on a grid of 1000 a second
        if average * Fraction(9, 10) <= rate <= 2 * average and _is_on_grid(times, rate, tolerance):
            return rate
    return None


def nominal_rate(average: Fraction) -> Fraction:
    """Choose a constant rate for a clip whose rate varies: a whole number, since none is exact.

    The standard rate within 2 % of the average, else the next standard rate above, so that no stretch of the clip
    loses more frames than it must; above the highest standard rate, the average rounded.
    """
    whole = [rate for rate in STANDARD_RATES if rate.denominator == 1]
    near = [rate for rate in whole if abs(rate - average) <= average / 50]
    if near:
        return min(near, key=lambda rate: abs(rate - average))
    return next((rate for rate in whole if rate > average), Fraction(round(average)))


def snap(time: Fraction, rate: Fraction, tolerance: Fraction) -> Fraction:
    """Undo a container's rounding: the nearest time on the rate's grid when within `tolerance` seconds, else `time`."""
    grid = round(time * rate) / rate
    return grid if abs(grid - time) <= min(tolerance, 1 / (4 * rate)) else time


def _is_on_grid(times: Sequence[Fraction], rate: Fraction, tolerance: Fraction) -> bool:
    """Tell whether every time has a place of its own on the rate's grid."""
    slack = min(tolerance, 1 / (4 * rate)) * rate
    last = -1
    for time in times:
        step = (time - times[0]) * rate
        place = round(step)
        if abs(step - place) > slack or place <= last:
            return False
        last = place
    return True


def _nearest(frames: Iterable[Timed[T]], clock: Clock) -> Iterator[T]:
    index = 0
    previous: Timed[T] | None = None
    for current in frames:
        if previous is not None:
            middle = (previous.time + current.time) / 2
            last = floor((middle - clock.start) * clock.rate)  # the last output time that is not after the middle
            while index <= last:
                yield previous.frame
                index += 1
        previous = current
    if previous is not None:
        for _ in range(index, clock.count(previous.time + previous.duration)):
            yield previous.frame


def _repeat(frames: Iterable[T], first: int, factor: int) -> Iterator[T]:
    count = first
    for frame in frames:
        for _ in range(count):
            yield frame
        count = factor
