from __future__ import annotations

from fractions import Fraction

import pytest

from realmaster.media.timecode import later_timecode

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("timecode", "rate", "num_frames", "later"),
    [
        ("01:00:00:00", Fraction(24), 0, "01:00:00:00"),
        ("01:00:00:12", Fraction(24), 12, "01:00:01:00"),
        ("00:59:59:24", Fraction(25), 1, "01:00:00:00"),
        ("23:59:59:23", Fraction(24), 1, "00:00:00:00"),
        ("01:00:00:00", Fraction(24000, 1001), 24 * 60, "01:01:00:00"),
        ("00:00:59;29", NTSC, 1, "00:01:00;02"),
        ("00:09:59;29", NTSC, 1, "00:10:00;00"),
        ("00:00:00;00", NTSC, 17982, "00:10:00;00"),
        ("00:00:00;00", NTSC, 107892, "01:00:00;00"),
        ("00:01:00;02", NTSC, 1798, "00:02:00;02"),
        ("00:00:59;59", Fraction(60000, 1001), 1, "00:01:00;04"),
        ("23:59:59;29", NTSC, 1, "00:00:00;00"),
        ("00:00:00:119", Fraction(120), 12, "00:00:01:011"),
    ],
)
def test_a_timecode_is_counted_on_by_frames(timecode, rate, num_frames, later):
    assert later_timecode(timecode, rate, num_frames) == later


def test_drop_frame_leaves_out_two_numbers_a_minute_but_every_tenth():
    seen = [later_timecode("00:00:00;00", NTSC, index) for index in range(17982 + 1800)]
    assert len(set(seen)) == len(seen)
    assert seen == sorted(seen)
    left_out = {f"00:{minute:02}:00;{frame:02}" for minute in range(1, 11) for frame in (0, 1)}
    assert left_out.intersection(seen) == {"00:10:00;00", "00:10:00;01"}


@pytest.mark.parametrize(("timecode", "rate"), [("soon", 24), ("01:00:00:24", 24), ("01:00:00;00", 25)])
def test_what_is_no_timecode_of_this_rate_is_none(timecode, rate):
    assert later_timecode(timecode, Fraction(rate), 1) is None
