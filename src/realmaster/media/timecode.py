"""Timecode: hours, minutes, seconds and frames of a picture, moved on by a number of frames.

Separate because its arithmetic (drop frame above all) knows neither files nor streams. Source: SMPTE ST 12-1.
"""

from __future__ import annotations

import re
from fractions import Fraction

_TIMECODE = re.compile(r"(\d\d):(\d\d):(\d\d)([:;.])(\d\d\d?)")


def later_timecode(timecode: str, rate: Fraction, num_frames: int) -> str | None:
    """Count a timecode on by a number of frames at a rate; None where it is none of this rate.

    A ";" or "." before the frames marks drop frame: at 29.97 a second the numbers 0 and 1 (at 59.94, 0 to 3) are left
    out in each minute but every tenth. After 24 hours it begins anew.
    """
    match = _TIMECODE.fullmatch(timecode)
    per_second = round(rate)
    if match is None or int(match[5]) >= per_second:
        return None
    hours, minutes, seconds, frames = (int(match[place]) for place in (1, 2, 3, 5))
    drops = 0
    if match[4] != ":":
        if rate.denominator != 1001 or per_second % 30:
            return None
        drops = per_second // 15
    total_minutes = hours * 60 + minutes
    index = (total_minutes * 60 + seconds) * per_second + frames - drops * (total_minutes - total_minutes // 10)
    per_ten_minutes = 600 * per_second - 9 * drops
    index = (index + num_frames) % (144 * per_ten_minutes)
    tens, rest = divmod(index, per_ten_minutes)
    # numbers left out so far: none in the first minute of ten, then `drops` at the start of each
    in_ten = max(0, rest - 60 * per_second) // (60 * per_second - drops) + (rest >= 60 * per_second)
    index += drops * (9 * tens + in_ten)
    seconds, frames = divmod(index, per_second)
    digits = len(str(per_second - 1))
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{match[4]}{frames:0{digits}}"
