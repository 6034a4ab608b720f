"""Bring pairs that were made elsewhere into a set: measured and judged as if the pipeline had made them.

Separate from export, which goes the other way and needs no scores. Read are the manifests of `data/manifest.py` (ours,
LTX-2's, DiffSynth's, musubi's) and WebDataset archives.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from realmaster.data.content import ContentHashes
from realmaster.data.frames import fit
from realmaster.data.manifest import BrokenRow, ManifestRow, scan_manifest
from realmaster.data.pair_reader import measure_pair
from realmaster.data.pair_set import read_frames
from realmaster.errors import DataError, MediaError
from realmaster.media.reader import open_clip
from realmaster.media.timing import Clock, source_index
from realmaster.pairs.record import ClipSource, PlannedClip, Record, record_file, write_manifests, write_record
from realmaster.pairs.scoring import Scorer
from realmaster.pairs.store import Place, Store, open_store
from realmaster.pairs.thresholds import Thresholds, decide, in_words
from realmaster.pairs.webdataset import read_shard

Frames = npt.NDArray[np.uint8]
Progress = Callable[[int, int | None], None]
SETTINGS = "imported"  # in place of the digest of settings: no pipeline made these


@dataclass(frozen=True)
class Imported:
    """What came of an import: clips added, of these accepted, clips that were there already, and what is broken."""

    num_added: int
    num_accepted: int
    num_known: int
    broken: tuple[BrokenRow, ...]


@dataclass(frozen=True)
class _Pair:
    where: str
    name: str
    engine: Path
    camera: Path
    caption: str
    split: object


def import_pairs(
    source: Path,
    place: Place,
    scorer: Scorer,
    thresholds: Thresholds,
    *,
    progress: Progress | None = None,
) -> Imported:
    """Copy the pairs of a manifest or of archives into a set; a second run adds nothing twice.

    A clip is named by what its two files hold, so that the same pair from another place is the same clip. Where the two
    looks differ in size, the engine's is brought to the camera's for scoring; where they differ in rate, both are
    scored at the lower one, in time, as training reads them. The files stay as they are.

    Args:
        source: a manifest (JSONL, CSV), a folder with manifest.jsonl, a .tar, or a folder of .tar files.
        place: a set of pairs, or a new one.
        scorer: measures each clip, faces included where it has a face model.
        thresholds: decide whether it is kept.
        progress: called with (clips done, clips in all or None).

    Raises:
        DataError: the source cannot be read, or none of its pairs can be used.
        MissingWeightsError, MissingExtraError: the face model is not there.
        OutputError: the set cannot be written.
    """
    scorer.setup()
    store = open_store(place)
    hashes = ContentHashes()
    added = accepted = known = done = 0
    with _pairs_of(source) as (pairs, broken, total):
        try:
            for pair in pairs:
                done += 1
                try:
                    name = _name(pair, hashes)
                    if store.exists(record_file(name)):
                        known += 1
                    else:
                        accepted += _import_one(pair, name, store, scorer, thresholds)
                        added += 1
                except (MediaError, DataError) as error:
                    broken.append(BrokenRow(pair.where, str(error)))
                if progress is not None:
                    progress(done, total)
        finally:
            if added:  # also where it is broken off: what has a record is in the manifests
                write_manifests(store)
    if added + known == 0:
        first = f"{broken[0].where}: {broken[0].reason}" if broken else "it holds no pair"
        raise DataError(f"{source}: expected pairs to import, none can be used; the first: {first}")
    return Imported(added, accepted, known, tuple(broken))


@contextmanager
def _pairs_of(source: Path) -> Iterator[tuple[Iterator[_Pair], list[BrokenRow], int | None]]:
    """Give the pairs, a list for broken ones that grows, and their number where it is known."""
    archives = [source] if source.suffix == ".tar" else sorted(source.glob("*.tar")) if source.is_dir() else []
    if not archives:
        pairs: list[_Pair] = []
        broken: list[BrokenRow] = []
        for manifest in _manifests(source):
            rows, bad = scan_manifest(manifest)
            broken += bad
            pairs += [
                _Pair(r.where, _stem(r.reference_video), r.reference_video, r.video, r.caption, r.split) for r in rows
            ]
        yield iter(pairs), broken, len(pairs)
        return
    with TemporaryDirectory(prefix="realmaster-import-") as place:
        unreadable: list[BrokenRow] = []
        yield _unpacked(archives, Path(place), unreadable), unreadable, None


def _manifests(source: Path) -> list[Path]:
    """Find the lists of a folder: ours, or those that an export wrote for another trainer."""
    if not source.is_dir() or (source / "manifest.jsonl").exists():
        return [source]
    usual = [source / name for name in ("dataset.jsonl", "metadata.csv") if (source / name).exists()]
    if (source / "dataset.toml").exists():
        usual += sorted(source.glob("*.jsonl"))
    return usual or [source]


def _unpacked(archives: Sequence[Path], place: Path, broken: list[BrokenRow]) -> Iterator[_Pair]:
    for archive in archives:
        for clip in read_shard(archive, place):
            if isinstance(clip, DataError):
                broken.append(BrokenRow(str(archive), str(clip).removeprefix(f"{archive}: ")))
                continue
            yield _Pair(f"{archive}: {clip.id}", clip.id, clip.engine, clip.camera, clip.caption, clip.split)
            for file in place.iterdir():
                file.unlink()


def _stem(path: Path) -> str:
    """Name a pair by its reference: the file's name, or the folder's where all files are called alike."""
    return path.parent.name if path.stem in ("engine", "reference", "source", "render", "input") else path.stem


def _name(pair: _Pair, hashes: ContentHashes) -> str:
    for file in (pair.engine, pair.camera):
        if not file.is_file():
            raise DataError(f"expected a video file, got {file}: make a video of it first")
    words = re.sub(r"[^A-Za-z0-9_-]+", "-", pair.name).strip("-_")[:100]
    return f"{words or 'clip'}-{hashes.of(pair.engine)[:6]}{hashes.of(pair.camera)[:6]}"


def _import_one(pair: _Pair, name: str, store: Store, scorer: Scorer, thresholds: Thresholds) -> bool:
    rates = [_rate(file) for file in (pair.engine, pair.camera)]
    rate = min(rates)
    row = ManifestRow(pair.camera, pair.engine, pair.caption, manifest=Path(pair.where), line=0)
    measure_pair(row, frame_rate=max(1, round(rate)), image_rate=None)  # refuses what training would
    engine, camera = (
        _at_rate(read_frames(file), own, rate) for file, own in zip((pair.engine, pair.camera), rates, strict=True)
    )
    length, (height, width) = min(len(engine), len(camera)), camera.shape[1:3]
    scores = scorer.score(fit(engine[:length], (height, width)), camera[:length], {})
    reason = in_words(decide(scores, thresholds))
    files = {}
    for look, file in (("engine", pair.engine), ("camera", pair.camera)):
        files[look] = f"videos/{name}/{look}{file.suffix.lower()}"
        with store.writing(files[look]) as part:
            shutil.copyfile(file, part)
    record = Record(
        clip=PlannedClip(
            id=name,
            split="validation" if pair.split == "validation" else "train",
            seed=0,
            caption=pair.caption,
            cut=ClipSource(
                source=SETTINGS,
                video=pair.name,
                first_frame=0,
                source_rate=str(rates[1]),
                frame_rate=max(1, round(rate)),
                num_frames=length,
                height=height,
                width=width,
            ),
        ),
        settings=SETTINGS,
        models={"scorer": scorer.describe()},
        scores=scores,
        accepted=reason is None,
        reason=reason,
        files=files,
    )
    write_record(store, record)
    return record.accepted


def _rate(file: Path) -> Fraction:
    with open_clip(file) as clip:
        return clip.info.frame_rate


def _at_rate(frames: Frames, own: Fraction, rate: Fraction) -> Frames:
    """Show frames [F, H, W, 3] of one rate at another: the ones nearest in time."""
    if own == rate:
        return frames
    clock = Clock(rate)
    indexes = [source_index(index, own, clock) for index in range(clock.count(len(frames) / own))]
    return frames[[min(index, len(frames) - 1) for index in indexes]]
