"""Room for a set, counted before anything is made.

Separate because the figures are measured ones, to be measured again when the codecs change.
"""

from __future__ import annotations

from collections.abc import Sequence

from realmaster.errors import OutputError
from realmaster.pairs.record import PlannedClip
from realmaster.pairs.settings import PairSettings
from realmaster.pairs.store import Store, free_bytes

# bytes a pixel and frame: engine, camera and control together as they are kept, and lossless ones under way. Footage at
# 832x480 takes 0.13 for one h264 video (media/encode.py) and 1.2 to 1.7 for an FFV1; edges take less of both.
_KEPT = {"h264": 3 * 0.15, "lossless": 3 * 1.8}
_UNDER_WAY = 3 * 1.8
_DEPTH = 4.0
_SPARE = 64e6  # records, plan, journal


def check_room(store: Store, clips: Sequence[PlannedClip], settings: PairSettings, *, at_once: int) -> float:
    """Refuse to begin where the disk cannot take the clips that are left; give the bytes that are asked for.

    Raises:
        OutputError: there is too little room.
    """
    needed = room_for(clips, settings, at_once=at_once)
    free = free_bytes(store)
    if free is not None and free < needed:
        raise OutputError(
            f"{store.root}: expected {needed / 1e9:.1f} GB of room for {len(clips)} clips, found {free / 1e9:.1f} GB "
            "free: free some, ask for fewer clips, or choose another disk"
        )
    return needed


def room_for(clips: Sequence[PlannedClip], settings: PairSettings, *, at_once: int) -> float:
    """Count the bytes that clips take, `at_once` of them under way."""
    if not clips:
        return 0.0
    sizes = [clip.cut.num_frames * clip.cut.height * clip.cut.width for clip in clips]
    under_way = _UNDER_WAY + (_DEPTH if settings.control.kind == "depth" else 0.0)
    return sum(sizes) * _KEPT[settings.video.codec] + max(sizes) * min(at_once, len(clips)) * under_way + _SPARE
