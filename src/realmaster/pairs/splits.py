"""Divide a finished set again: training and validation never share a video.

Separate from the sampler, which divides before anything is made: an imported set, or one that has grown, has to be
divided as it is.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np

from realmaster.errors import DataError
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.record import SPLITS, Record, Split, read_records, write_manifests, write_record
from realmaster.pairs.store import Place


def split_set(
    place: Place, *, num_validation: int | None = None, share: float | None = None, seed: int = 0
) -> dict[Split, int]:
    """Draw whole videos for validation until they hold as many accepted clips as asked; rewrite records and manifests.

    Dropped clips go where their video goes. The same set, number and seed give the same split.

    Args:
        place: a set of pairs.
        num_validation: accepted clips wanted for validation, at least.
        share: or their share of the accepted clips, between 0 and 1.
        seed: of the draw.

    Returns:
        Accepted clips of each split.

    Raises:
        DataError: there is no set, or has too few clips or videos to be divided so.
    """
    if (num_validation is None) == (share is None):
        raise ValueError("expected either num_validation or share")
    records = read_records(place)
    kept = sum(record.accepted for record in records)
    wanted = num_validation if num_validation is not None else math.ceil((share or 0.0) * kept)
    if not 0 <= wanted < max(kept, 1):
        raise DataError(
            f"{place}: expected fewer than its {kept} accepted clips for validation, got {wanted}: ask for fewer"
        )
    videos: dict[tuple[str, str], list[Record]] = defaultdict(list)
    for record in records:
        videos[record.clip.cut.source, record.clip.cut.video].append(record)
    names = sorted(videos)
    chosen: set[tuple[str, str]] = set()
    have = 0
    for index in np.random.default_rng(seed).permutation(len(names)).tolist():
        size = sum(record.accepted for record in videos[names[index]])
        if have >= wanted:
            break
        if size:
            chosen.add(names[index])
            have += size
    if have >= kept and wanted:
        raise DataError(
            f"{place}: expected videos enough to leave some for training, the {len(names)} here are all needed for "
            f"{wanted} validation clips: ask for fewer, or add videos"
        )
    divided = [_in_split(record, "validation" if key in chosen else "train") for key in names for record in videos[key]]
    pairs = PairSet(place)
    with pairs.lease():
        for before, after in zip((r for key in names for r in videos[key]), divided, strict=True):
            if before != after:
                write_record(pairs.store, after)
        write_manifests(pairs.store, sorted(divided, key=lambda record: record.id))
    return {split: sum(r.accepted and r.clip.split == split for r in divided) for split in SPLITS}


def _in_split(record: Record, split: Split) -> Record:
    return record.model_copy(update={"clip": record.clip.model_copy(update={"split": split})})
