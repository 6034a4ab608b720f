"""Build a cache: every pair of a manifest read, framed, encoded and stored, once.

The story: plan each pair (its bucket, where its clips begin), see that the disk has room, encode captions, then clips.
Killed at any moment, it goes on where it was; several processes may build one cache together, each with models of its
own, and none does what another has claimed.

Letters: C latent channels, F frames, h, w latent pixels.
"""

from __future__ import annotations

import logging
import shutil
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from realmaster.data.content import ContentHashes
from realmaster.data.manifest import BrokenRow, ManifestRow, refuse_broken
from realmaster.data.pair_reader import Frames, PairWindow, measure_pair, read_window
from realmaster.errors import DataError, MediaError, NumericalError, OutputError
from realmaster.models.loading import Models
from realmaster.training.buckets import check_buckets, choose_bucket
from realmaster.training.cache_folder import CacheFolder, ClipKey, PairPlan, content_of, read_maker
from realmaster.training.cache_readers import Claim, Readers
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.dataset import CachedDataset
from realmaster.training.latents import latent_scaling
from realmaster.types import VideoShape

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
_CAPTIONS_AT_ONCE = 8
_SPARE_BYTES = 64 * 2**20  # what a file system wants for itself, and room for plans and hashes


def build_cache(
    rows: Sequence[ManifestRow],
    models: Models,
    settings: CacheSettings,
    folder: str | Path,
    *,
    workers: int = 1,
    skip_broken: bool = False,
    captions: Sequence[str] = (),
    progress: Progress | None = None,
) -> CachedDataset:
    """Make what is missing of a cache, and open it.

    Args:
        rows: of the manifest (`realmaster.data.manifest.read_manifest`).
        models: autoencoder and text encoder; the transformer is asked for its patch size alone.
        settings: sizes, frames, cropping, augmentation.
        folder: of the cache; made if there is none.
        workers: processes that read clips ahead of the encoding; 0 reads in this one.
        skip_broken: leave out rows that cannot be read, each with a warning.
        captions: further texts to encode: negative prompts, prompts of validation. The empty one always is.
        progress: called with (variants of clips that are done, all of them).

    Raises:
        ConfigError: a bucket does not fit the models.
        DataError: the cache was made with other settings or models, or rows are broken; whole ones are kept.
        OutputError: the disk has too little room, found before anything is encoded, or cannot be written.
        NumericalError: the autoencoder gave NaN or infinity.
    """
    check_buckets(
        settings.buckets,
        time_stride=models.time_stride,
        space_stride=models.space_stride,
        reference_scale=settings.reference_scale,
    )
    cache = CacheFolder.create(Path(folder), settings, models)
    with Readers(workers) as readers:
        plans, broken = _plan(rows, cache, readers)
        refuse_broken(broken, num_rows=len(rows), skip_broken=skip_broken)
        wanted = dict.fromkeys(["", *captions, *(row.caption for row in plans)])
        texts = [caption for caption in wanted if not cache.text_file(caption).is_file()]
        every = _jobs(plans, cache)
        jobs = [job for job in every if not job.file.is_file()]
        logger.info("cache %s: %d latents there, %d to make; %d captions to encode",
                    folder, len(every) - len(jobs), len(jobs), len(texts))  # fmt: skip
        _check_space(cache, models, jobs, len(texts))
        _encode_captions(cache, models, texts)
        _encode_clips(cache, models, jobs, readers, progress, num_there=len(every) - len(jobs))
    return CachedDataset(rows, cache.folder, settings, skip_broken=skip_broken)


def is_built(
    rows: Sequence[ManifestRow],
    settings: CacheSettings,
    folder: str | Path,
    *,
    captions: Sequence[str] = (),
    skip_broken: bool = False,
) -> bool:
    """Say whether a cache holds all that these rows need, so that no model has to be loaded to open it.

    A row that was found broken counts as done with `skip_broken`, else as missing: it is tried again.

    Raises:
        DataError: the cache was made with other settings, or is damaged.
    """
    folder = Path(folder)
    if read_maker(folder) is None:
        return False
    cache = CacheFolder.open(folder, settings)
    hashes = ContentHashes(cache.hashes_file)
    plans = [cache.find_plan(content_of(hashes, row)) for row in rows]
    hashes.save()
    used = [row for row, plan in zip(rows, plans, strict=True) if plan is not None and plan.reason is None]
    wanted = {"", *captions, *(row.caption for row in used)}
    return (
        all(plan is not None and (plan.reason is None or skip_broken) for plan in plans)
        and all(cache.text_file(caption).is_file() for caption in wanted)
        and all(
            cache.latents_file(clip, variant).is_file()
            for plan in plans if plan is not None
            for clip in plan.clips
            for variant in range(settings.num_variants)
        )
    )  # fmt: skip


def encode_frames(models: Models, frames: Frames) -> Tensor:
    """Encode uint8 frames [F, H, W, 3] to normalised latents [C, F', h, w], by the mode of the posterior."""
    autoencoder = models.autoencoder
    with torch.no_grad():
        mean, std = latent_scaling(autoencoder)
        video = torch.from_numpy(frames).to(autoencoder.device).permute(3, 0, 1, 2)[None]
        latents = autoencoder.encode((video.float() / 127.5 - 1).to(autoencoder.dtype)).latent_dist.mode()
        return ((latents - mean) / std)[0].float()


@dataclass(frozen=True)
class _Job:
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


def _plan(
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
            plans[row] = _plan_pair(content, readers.result(future), settings)
            cache.write_plan(content, plans[row])
        except MediaError as error:
            broken[row] = BrokenRow(row.where, str(error))
            cache.write_plan(content, PairPlan((), str(error)))
    order = {row: index for index, row in enumerate(rows)}
    return dict(sorted(plans.items(), key=lambda item: order[item[0]])), [broken[row] for row in rows if row in broken]


def _plan_pair(content: str, shape: VideoShape, settings: CacheSettings) -> PairPlan:
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


def _jobs(plans: dict[ManifestRow, PairPlan], cache: CacheFolder) -> list[_Job]:
    """List every entry once, however often its pair stands in the manifest."""
    jobs = [
        _Job(row, clip, variant, cache.latents_file(clip, variant))
        for row, plan in plans.items()
        for clip in plan.clips
        for variant in range(cache.settings.num_variants)
    ]
    return list({job.file: job for job in jobs}.values())


def _check_space(cache: CacheFolder, models: Models, jobs: Sequence[_Job], num_texts: int) -> None:
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
        if text_encoder is None:
            raise DataError(f"expected the text encoder to encode {num_texts} captions, got none: load it")
        needed += num_texts * cache.max_length * text_encoder.config.d_model * text_encoder.dtype.itemsize
    free = shutil.disk_usage(cache.folder).free
    if needed and needed + _SPARE_BYTES > free:
        raise OutputError(
            f"{cache.folder}: expected {_gigabytes(needed + _SPARE_BYTES)} of free space for {len(jobs)} latents and "
            f"{num_texts} captions, found {_gigabytes(free)}: free some, choose another folder, or set dtype to "
            "bfloat16 or fewer variants"
        )


def _encode_captions(cache: CacheFolder, models: Models, captions: Sequence[str]) -> None:
    if not captions:
        return
    claim = Claim(cache.folder, cache.folder / "text")
    claim.take(wait=True)
    try:
        left = [caption for caption in captions if not cache.text_file(caption).is_file()]
        for first in range(0, len(left), _CAPTIONS_AT_ONCE):
            some = left[first : first + _CAPTIONS_AT_ONCE]
            with torch.no_grad():
                embeddings = models.encode_text(some)
            for caption, embedding in zip(some, embeddings, strict=True):
                if not torch.isfinite(embedding).all():
                    raise NumericalError(f"expected finite text embeddings, got NaN for {caption!r}: load it in bf16")
                cache.write_text(caption, embedding)
    finally:
        claim.release()


def _encode_clips(
    cache: CacheFolder,
    models: Models,
    jobs: Sequence[_Job],
    readers: Readers,
    progress: Progress | None,
    *,
    num_there: int,
) -> None:
    """Encode what is read, in order; entries that another process has claimed come last."""
    total = num_there + len(jobs)
    with closing(_claimed(cache, jobs, readers)) as claimed:
        for done, (job, window) in enumerate(claimed, start=num_there + 1):
            if window is not None:
                _encode_clip(cache, models, job, readers, window)
            if progress is not None:
                progress(done, total)


def _encode_clip(
    cache: CacheFolder, models: Models, job: _Job, readers: Readers, window: Future[tuple[Frames, Frames]]
) -> None:
    try:
        frames = readers.result(window)
    except MediaError as error:  # the files said otherwise when they were measured
        cache.write_plan(job.clip.content, PairPlan((), str(error)))
        return
    target, reference = (encode_frames(models, look) for look in frames)
    if not (torch.isfinite(target).all() and torch.isfinite(reference).all()):
        raise NumericalError(
            f"{job.row.where}: expected finite latents from the autoencoder, got NaN: run it in float32"
        )
    cache.write_latents(job.clip, job.variant, target, reference)


def _claimed(
    cache: CacheFolder, jobs: Sequence[_Job], readers: Readers
) -> Generator[tuple[_Job, Future[tuple[Frames, Frames]] | None]]:
    """Claim job after job and read ahead; None stands for what somebody else has made in the meantime."""
    waiting, held = deque(jobs), list[_Job]()
    ahead: deque[tuple[_Job, Claim, Future[tuple[Frames, Frames]] | None]] = deque()

    def begin(job: _Job, claim: Claim) -> None:
        is_there = job.file.is_file()
        ahead.append((job, claim, None if is_there else readers.submit(read_window, job.window(cache.settings))))

    def end() -> None:
        ahead.popleft()[1].release()

    try:
        while waiting or ahead:
            while waiting and len(ahead) <= readers.workers:
                job = waiting.popleft()
                claim = Claim(cache.folder, job.file)
                if claim.take():
                    begin(job, claim)
                else:
                    held.append(job)
            if ahead:
                yield ahead[0][0], ahead[0][2]
                end()
        for job in held:  # nobody waits for us now: we hold no claim while we wait for one
            claim = Claim(cache.folder, job.file)
            claim.take(wait=True)
            begin(job, claim)
            yield ahead[0][0], ahead[0][2]
            end()
    finally:
        while ahead:
            end()


def _gigabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.2f} GB"
