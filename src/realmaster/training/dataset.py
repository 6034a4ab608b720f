"""Clips as training reads them: latents and text from the cache, batch after batch, without any model.

Separate from `cache.py`, which needs an autoencoder and a text encoder to make what is only read here.

Letters: B batch, C latent channels, F latent frames, h, w latent pixels, L tokens, D width.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypedDict

import torch
from torch import Tensor

from realmaster.data.content import ContentHashes, data_digest
from realmaster.data.manifest import BrokenRow, ManifestRow, refuse_broken
from realmaster.errors import DataError, MediaError
from realmaster.training.buckets import Bucket, BucketSampler, Draw
from realmaster.training.cache_folder import CacheFolder, ClipKey, PairPlan
from realmaster.training.cache_settings import CacheSettings


class Sample(TypedDict):
    """One clip: latents [C, F, h, w] (the reference's h, w over its scale), text [L, D], and what was drawn."""

    target_latents: Tensor
    reference_latents: Tensor
    text: Tensor
    caption: str
    bucket: str
    index: int
    variant: int
    seed: int


class Batch(TypedDict):
    """Clips of one bucket: latents [B, C, F, h, w], text [B, L, D], and lists of B."""

    target_latents: Tensor
    reference_latents: Tensor
    text: Tensor
    caption: list[str]
    bucket: str
    index: list[int]
    variant: list[int]
    seed: list[int]


class CachedDataset(torch.utils.data.Dataset[Sample]):
    """The clips of a manifest in a cache: one for each row, or several where long clips were split.

    Attributes:
        buckets: bucket of each clip, "832x480x81".
        num_variants: how many versions of each clip there are; 0 is the clip as it is, the others are augmented.
        digest: names the training data by content and captions, in order.
        broken: rows left out because they could not be read.
        empty_text: [L, D], the encoded empty caption, for guidance and for the reference stream.
    """

    def __init__(
        self,
        rows: Sequence[ManifestRow],
        folder: Path,
        settings: CacheSettings,
        *,
        models: Any = None,
        skip_broken: bool = False,
    ) -> None:
        """Open what `realmaster.training.cache.build_cache` has made.

        Args:
            rows: of the manifest, in the order in which clips are counted.
            folder: of the cache.
            settings: with which it was made; only the number of variants may be smaller now.
            models: check that these made the cache; None believes the cache.
            skip_broken: leave rows out that could not be read.

        Raises:
            DataError: the cache lacks clips or captions, was made with other settings or models, or rows are broken.
        """
        self.cache = CacheFolder.open(folder, settings, models=models)
        self.num_variants = settings.num_variants
        self.broken: list[BrokenRow] = []
        self._clips: list[tuple[ManifestRow, ClipKey]] = []
        hashes, used = ContentHashes(self.cache.hashes_file), []
        for row in rows:
            try:
                plan = self.cache.read_plan(hashes, row)
            except MediaError as error:  # the file is gone, or may not be read
                plan = PairPlan((), str(error))
            if plan.reason is not None:
                self.broken.append(BrokenRow(row.where, plan.reason))
            else:
                used.append(row)
            self._clips += [(row, key) for key in plan.clips]
        hashes.save()
        refuse_broken(self.broken, num_rows=len(rows), skip_broken=skip_broken)
        self.cache.check_whole([key for _, key in self._clips], ["", *(row.caption for row, _ in self._clips)])
        self.buckets = [str(key.bucket) for _, key in self._clips]
        self.digest = data_digest(used, hashes)
        self.empty_text = self.cache.read_text("")

    def __len__(self) -> int:
        """Count the clips."""
        return len(self._clips)

    def __getitem__(self, draw: Draw | int) -> Sample:
        """Read one clip; a plain index gives it as it is.

        Raises:
            DataError: an entry of the cache is missing or damaged.
        """
        if isinstance(draw, int):
            draw = Draw(draw)
        row, key = self._clips[draw.index]
        target, reference = self.cache.read_latents(key, draw.variant)
        caption = "" if draw.without_caption else row.caption
        return Sample(
            target_latents=target,
            reference_latents=reference,
            text=self.empty_text if not caption else self.cache.read_text(caption),
            caption=caption,
            bucket=str(key.bucket),
            index=draw.index,
            variant=draw.variant,
            seed=draw.seed,
        )

    def bucket(self, index: int) -> Bucket:
        """Give the size of a clip."""
        return self._clips[index][1].bucket

    def row(self, index: int) -> ManifestRow:
        """Give the manifest's row of a clip."""
        return self._clips[index][0]

    def clip_key(self, index: int) -> ClipKey:
        """Give the name of a clip in the cache."""
        return self._clips[index][1]

    def first_frame(self, index: int) -> int:
        """Give the frame, at the cache's rate, at which a clip begins in its file."""
        return self._clips[index][1].first_frame

    def text(self, caption: str) -> Tensor:
        """Give a cached caption's embedding [L, D].

        Raises:
            DataError: the caption is not in the cache.
        """
        return self.cache.read_text(caption)


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack clips of one bucket.

    Raises:
        DataError: they are of several buckets.
    """
    buckets = {sample["bucket"] for sample in samples}
    if len(buckets) != 1:
        raise DataError(f"expected clips of one bucket in a batch, got {', '.join(sorted(buckets))}: use BucketSampler")
    return Batch(
        target_latents=torch.stack([sample["target_latents"] for sample in samples]),
        reference_latents=torch.stack([sample["reference_latents"] for sample in samples]),
        text=torch.stack([sample["text"] for sample in samples]),
        caption=[sample["caption"] for sample in samples],
        bucket=buckets.pop(),
        index=[sample["index"] for sample in samples],
        variant=[sample["variant"] for sample in samples],
        seed=[sample["seed"] for sample in samples],
    )


def load_batches(
    dataset: CachedDataset, sampler: BucketSampler, *, num_workers: int = 0, pin_memory: bool = False
) -> Iterator[Batch]:
    """Read batch after batch, without end, ahead of the training by `num_workers` processes.

    The sampler's position counts a batch when it is handed out, however many have been read ahead: a state saved after
    a batch has been trained on, before the next is asked for, resumes behind it exactly.
    """
    loader = torch.utils.data.DataLoader(
        dataset,
        batch_sampler=sampler,  # its Draws are the dataset's indices
        collate_fn=collate,
        num_workers=num_workers,
        pin_memory=pin_memory,
        persistent_workers=num_workers > 0,
        multiprocessing_context="spawn" if num_workers else None,
    )
    for batch in loader:
        sampler.advance()
        yield batch
