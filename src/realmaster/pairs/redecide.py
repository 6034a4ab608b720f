"""Decide again which clips are kept, from the scores in their records.

Separate from the thresholds because this one reads and writes a set.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from realmaster.errors import DataError
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.record import Record, read_records, write_manifests, write_record
from realmaster.pairs.store import Place, open_store
from realmaster.pairs.thresholds import NEEDED, Thresholds, decide, in_words


@dataclass(frozen=True)
class Redecision:
    """What new thresholds did: clips judged, kept before, kept now, and those that changed sides."""

    num_judged: int
    kept_before: int
    kept_now: int
    came: tuple[str, ...]
    went: tuple[str, ...]


def redecide(place: Place, thresholds: Thresholds, *, asked: Collection[str] = (), dry_run: bool = False) -> Redecision:
    """Judge every scored clip by `thresholds`; write the records that change, and the manifests.

    Clips that a stage gave up stay dropped: they have no result to judge.

    Args:
        place: a set of pairs.
        thresholds: all of them.
        asked: names of those that the user gave; a score that no clip has is then refused, not passed over.
        dry_run: only say what would change.

    Raises:
        DataError: there is no set, or a threshold asks for a score that was never measured.
    """
    records = read_records(place)
    judged = [record for record in records if record.is_scored]
    for setting in asked:
        score = NEEDED.get(setting, "num_faces" if setting == "no_faces" else "")
        if judged and score and not any(score in record.scores for record in judged):
            other = {"identity": "identity_distance", "identity_distance": "identity"}.get(score, "")
            has_other = other and any(other in record.scores for record in judged)
            names = {score: setting for setting, score in NEEDED.items()}
            remedy = "no clip of it was scored so: build or import it with what measures this"
            if has_other:
                remedy = f"use {names[other]}, this set was scored by another face model"
            elif other and any("num_faces" in record.scores for record in judged):
                remedy = "no face was found in any clip, so there is nothing to judge"
            root = open_store(place).root
            raise DataError(f"{root}: expected clips with the score {score} for {setting}, found none: {remedy}")
    came: list[str] = []
    went: list[str] = []
    decided: list[Record] = []
    for record in records:
        new = record
        if record.is_scored and record.rejected_at is None:
            reason = in_words(decide(record.scores, thresholds))
            new = record.decided(reason is None, reason)
        if new.accepted != record.accepted:
            (came if new.accepted else went).append(record.id)
        decided.append(new)
    if not dry_run:
        pairs = PairSet(place)
        with pairs.lease():
            for before, after in zip(records, decided, strict=True):
                if before != after:
                    write_record(pairs.store, after)
            write_manifests(pairs.store, decided)
    return Redecision(
        len(judged),
        sum(record.accepted for record in records),
        sum(record.accepted for record in decided),
        tuple(came),
        tuple(went),
    )
