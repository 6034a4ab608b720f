"""Build a cache: every pair of a manifest read, framed, encoded and stored, once.

The story: plan each pair (its bucket, where its clips begin), see that the disk has room, encode captions, then clips.
Killed at any moment, it goes on where it was; several processes may build one cache together, each with models of its
own, and none does what another has claimed.

Letters: C latent channels, F frames, h, w latent pixels.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import torch
from torch import Tensor

from realmaster.data.content import ContentHashes
from realmaster.data.manifest import ManifestRow, refuse_broken
from realmaster.data.pair_reader import Frames, read_window
from realmaster.errors import DataError, MediaError, NumericalError
from realmaster.models.loading import Models
from realmaster.training.buckets import check_buckets
from realmaster.training.cache_folder import CacheFolder, PairPlan, content_of, read_maker
from realmaster.training.cache_plan import Job, check_space, list_jobs, plan_pairs
from realmaster.training.cache_readers import Claim, Readers
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.dataset import CachedDataset
from realmaster.training.latents import latent_scaling

logger = logging.getLogger(__name__)

Progress = Callable[[int, int | None], None]
_CAPTIONS_AT_ONCE = 8


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
    with ExitStack() as text_encoder:
        if read_maker(Path(folder)) is None:
            text_encoder.enter_context(text_encoder_of(models))
        cache = CacheFolder.create(Path(folder), settings, models)
        with Readers(workers) as readers:
            plans, broken = plan_pairs(rows, cache, readers)
            refuse_broken(broken, num_rows=len(rows), skip_broken=skip_broken)
            wanted = dict.fromkeys(["", *captions, *(row.caption for row in plans)])
            texts = [caption for caption in wanted if not cache.text_file(caption).is_file()]
            every = list_jobs(plans, cache)
            jobs = [job for job in every if not job.file.is_file()]
            logger.info(
                "cache %s: %d latents there, %d to make; %d captions to encode",
                folder, len(every) - len(jobs), len(jobs), len(texts),
            )  # fmt: skip
            if texts:
                text_encoder.enter_context(text_encoder_of(models))
                cache = CacheFolder.create(Path(folder), settings, models)  # a text encoder loaded just now is checked
            check_space(cache, models, jobs, len(texts))
            _encode_captions(cache, models, texts)
            text_encoder.close()  # makes room for the autoencoder where the profile wants that
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


@contextmanager
def text_encoder_of(models: Models) -> Iterator[None]:
    """Keep a text encoder loaded for many captions, if it comes and goes with each by the profile's wish.

    Raises:
        DataError: there is none, and none can be loaded.
    """
    was_dropped, drops = models.text_encoder is None, models.drop_text_encoder
    if was_dropped:
        if models.load_text_encoder is None:
            raise DataError("expected a text encoder to encode captions with, got none: load it")
        models.text_encoder = models.load_text_encoder()
    models.drop_text_encoder = False
    try:
        yield
    finally:
        models.drop_text_encoder = drops
        if was_dropped or drops:
            models.text_encoder = None
            if models.device.type == "cuda":
                torch.cuda.empty_cache()


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
    jobs: Sequence[Job],
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
    cache: CacheFolder, models: Models, job: Job, readers: Readers, window: Future[tuple[Frames, Frames]]
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
    cache: CacheFolder, jobs: Sequence[Job], readers: Readers
) -> Generator[tuple[Job, Future[tuple[Frames, Frames]] | None]]:
    """Claim job after job and read ahead; None stands for what somebody else has made in the meantime."""
    waiting, held = deque(jobs), list[Job]()
    ahead: deque[tuple[Job, Claim, Future[tuple[Frames, Frames]] | None]] = deque()

    def begin(job: Job, claim: Claim) -> None:
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
