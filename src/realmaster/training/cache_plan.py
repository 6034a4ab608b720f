"""What a cache will hold, before anything is encoded: the bucket of each pair, the entries, and the room they take.

Separate from `cache.py`, which encodes: a plan needs no model, so what is wrong with the data is said first.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import torch

from realmaster.data.content import ContentHashes
from realmaster.data.manifest import BrokenRow, ManifestRow
from realmaster.data.pair_reader import PairWindow, measure_pair
from realmaster.errors import MediaError, OutputError
from realmaster.models.loading import Models
from realmaster.training.buckets import choose_bucket
from realmaster.training.cache_folder import CacheFolder, ClipKey, PairPlan, content_of
from realmaster.training.cache_readers import Readers
from realmaster.training.cache_settings import CacheSettings
from realmaster.types import VideoShape

_SPARE_BYTES = 64 * 2**20  # what a file system wants for itself, and room for plans and hashes


@dataclass(frozen=True)
class Job:
    """One entry to make."""

    row: ManifestRow
    clip: ClipKey
    variant: int
    file: Path

    def window(self, settings: CacheSettings) -> PairWindow:
        """Say what is to be read, and how it is shown."""
        bucket, scale = self.clip.bucket, settings.reference_scale
        return PairWindow(
            video=self.row.video,
            reference_video=self.row.reference_video,
            first_frame=self.clip.first_frame,
            num_frames=bucket.num_frames,
            size=(bucket.height, bucket.width),
            reference_size=(bucket.height // scale, bucket.width // scale),
            frame_rate=settings.frame_rate,
            image_rate=settings.image_rate,
            holds_last=settings.shorter == "hold",
            is_stretched=settings.fit == "stretch",
            augmentations=settings.augmentations if self.variant else (),
            seed=int(self.file.stem[:12], 16),  # the name is a hash of clip, variant, augmentations and their seed
        )


def plan_pairs(
    rows: Sequence[ManifestRow], cache: CacheFolder, readers: Readers
) -> tuple[dict[ManifestRow, PairPlan], list[BrokenRow]]:
    """Find a bucket for each pair; what could not be used last time is tried again."""
    settings, hashes = cache.settings, ContentHashes(cache.hashes_file)
    plans: dict[ManifestRow, PairPlan] = {}
    broken: dict[ManifestRow, BrokenRow] = {}
    waiting: list[tuple[ManifestRow, str, Future[VideoShape]]] = []
    for row in rows:
        try:
            content = content_of(hashes, row)
        except MediaError as error:
            broken[row] = BrokenRow(row.where, str(error))
            continue
        plan = cache.find_plan(content)
        if plan is not None and plan.reason is None:
            plans[row] = plan
            continue
        measure = {"frame_rate": settings.frame_rate, "image_rate": settings.image_rate}
        waiting.append((row, content, readers.submit(measure_pair, row, **measure)))
    hashes.save()
    for row, content, future in waiting:
        try:
            plans[row] = plan_pair(content, readers.result(future), settings)
            cache.write_plan(content, plans[row])
        except MediaError as error:
            broken[row] = BrokenRow(row.where, str(error))
            cache.write_plan(content, PairPlan((), str(error)))
    order = {row: index for index, row in enumerate(rows)}
    return dict(sorted(plans.items(), key=lambda item: order[item[0]])), [broken[row] for row in rows if row in broken]


def plan_pair(content: str, shape: VideoShape, settings: CacheSettings) -> PairPlan:
    """Choose the bucket of a pair, and where its clips begin.

    Raises:
        MediaError: the pair is shorter than every bucket.
    """
    bucket = choose_bucket(
        settings.buckets,
        num_frames=shape.num_frames,
        height=shape.height,
        width=shape.width,
        hold_short=settings.shorter == "hold",
    )
    if bucket is None:
        fewest = min(bucket.num_frames for bucket in settings.buckets)
        raise MediaError(
            f"expected at least {fewest} frames at {settings.frame_rate} a second, the pair has {shape.num_frames}: "
            "add a shorter bucket, or set shorter to hold"
        )
    count = max(1, shape.num_frames // bucket.num_frames) if settings.longer == "split" else 1
    return PairPlan(tuple(ClipKey(content, bucket, index * bucket.num_frames) for index in range(count)))


@dataclass(frozen=True)
class Survey:
    """What is in a list of pairs: clips by bucket, and the rows that cannot be used."""

    num_clips: dict[str, int]
    broken: list[BrokenRow]


def survey_pairs(rows: Sequence[ManifestRow], settings: CacheSettings, *, workers: int = 0) -> Survey:
    """Measure all pairs and count the clips of each bucket, without models and without writing anything.

    What a file says of itself is believed here; a clip that ends early shows when it is read.
    """
    counts, broken = Counter({str(bucket): 0 for bucket in settings.buckets}), []
    measure = {"frame_rate": settings.frame_rate, "image_rate": settings.image_rate}
    with Readers(workers) as readers:
        waiting = [(row, readers.submit(measure_pair, row, **measure)) for row in rows]
        for row, future in waiting:
            try:
                counts.update(str(clip.bucket) for clip in plan_pair("", readers.result(future), settings).clips)
            except MediaError as error:
                broken.append(BrokenRow(row.where, str(error)))
    return Survey(dict(counts), broken)


def list_jobs(plans: dict[ManifestRow, PairPlan], cache: CacheFolder) -> list[Job]:
    """List every entry once, however often its pair stands in the manifest."""
    jobs = [
        Job(row, clip, variant, cache.latents_file(clip, variant))
        for row, plan in plans.items()
        for clip in plan.clips
        for variant in range(cache.settings.num_variants)
    ]
    return list({job.file: job for job in jobs}.values())


def check_space(cache: CacheFolder, models: Models, jobs: Sequence[Job], num_texts: int) -> None:
    """Refuse to begin what the disk cannot hold; latents are counted exactly, captions at their longest."""
    config = models.autoencoder.config
    itemsize = getattr(torch, cache.settings.dtype).itemsize
    needed = 0
    for job in jobs:
        bucket = job.clip.bucket
        shape = VideoShape(bucket.num_frames, bucket.height, bucket.width).latents(
            time_stride=models.time_stride, space_stride=config.scale_factor_spatial
        )
        values = config.z_dim * shape.num_frames * shape.height * shape.width
        needed += int((values + values // cache.settings.reference_scale**2) * itemsize)
    if num_texts:
        text_encoder = models.text_encoder
        needed += num_texts * cache.max_length * text_encoder.config.d_model * text_encoder.dtype.itemsize
    free = shutil.disk_usage(cache.folder).free
    if needed and needed + _SPARE_BYTES > free:
        raise OutputError(
            f"{cache.folder}: expected {_gigabytes(needed + _SPARE_BYTES)} of free space for {len(jobs)} latents and "
            f"{num_texts} captions, found {_gigabytes(free)}: free some, choose another folder, or set dtype to "
            "bfloat16 or fewer variants"
        )


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
