"""Buckets of clips by size and length, and the order in which training draws from them.

Separate from the dataset, which knows files: here is only arithmetic on numbers, so that a run can be continued, or
spread over more processes, without touching a clip. Every draw is a pure function of seed and position.
"""

from __future__ import annotations

import hashlib
import logging
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.errors import ConfigError, DataError

logger = logging.getLogger(__name__)

_SAME_ASPECT = 0.1  # aspects whose logarithms differ by less than this from the best fit are taken as equally good


class Bucket(Settings):
    """A size at which clips are trained; written "832x480x81" (width, height, frames) in a config."""

    num_frames: int = Field(ge=1, description="pixel frames, 1 modulo the autoencoder's time stride")
    height: int = Field(ge=8, description="height in pixels, whole tokens")
    width: int = Field(ge=8, description="width in pixels, whole tokens")

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        if not isinstance(value, str):
            return value
        found = re.fullmatch(r"(\d{1,5})x(\d{1,5})x(\d{1,5})", value.strip())
        if found is None:
            raise ValueError(f"expected WIDTHxHEIGHTxFRAMES such as 832x480x81, got {value!r}")
        return {"width": int(found[1]), "height": int(found[2]), "num_frames": int(found[3])}

    def __str__(self) -> str:
        """Give "832x480x81"."""
        return f"{self.width}x{self.height}x{self.num_frames}"


def check_buckets(buckets: Sequence[Bucket], *, time_stride: int, space_stride: int, reference_scale: int = 1) -> None:
    """Refuse buckets that do not divide into latents and whole tokens.

    `space_stride` is the pixels a token's side covers (16 for Wan); a reference at half scale doubles it.

    Raises:
        ConfigError: with the nearest sizes that fit.
    """
    if not buckets:
        raise ConfigError("expected at least one bucket, got none: add one such as 832x480x81")
    step = space_stride * reference_scale
    for bucket in buckets:
        if (bucket.num_frames - 1) % time_stride:
            choices = _nearest(bucket.num_frames, time_stride, offset=1)
            raise ConfigError(
                f"bucket {bucket}: expected {time_stride}n+1 frames, got {bucket.num_frames}: choose {choices}"
            )
        for name, side in (("width", bucket.width), ("height", bucket.height)):
            if side % step:
                why = "" if reference_scale == 1 else f" (the reference is at 1/{reference_scale} of the size)"
                raise ConfigError(
                    f"bucket {bucket}: expected a {name} that is a multiple of {step}{why}, got {side}: "
                    f"choose {_nearest(side, step, offset=0)}"
                )


def choose_bucket(
    buckets: Sequence[Bucket], *, num_frames: int, height: int, width: int, hold_short: bool = False
) -> Bucket | None:
    """Choose the bucket of a clip; None if the clip is shorter than all of them and may not be held.

    1. Only buckets with no more frames than the clip has (all of the fewest frames, where short clips are held).
    2. Of these, the nearest aspect. 3. Of these, the largest picture that is no enlargement, else the smallest.
    4. Of these, the most frames.
    """
    fitting = [bucket for bucket in buckets if bucket.num_frames <= num_frames]
    if not fitting and hold_short:
        fewest = min(bucket.num_frames for bucket in buckets)
        fitting = [bucket for bucket in buckets if bucket.num_frames == fewest]
    if not fitting:
        return None

    def distance(bucket: Bucket) -> float:
        return abs(math.log(bucket.width / bucket.height) - math.log(width / height))

    best = min(map(distance, fitting))
    near = [bucket for bucket in fitting if distance(bucket) <= best + _SAME_ASPECT]

    def rank(bucket: Bucket) -> tuple[bool, int, int, float]:
        area = bucket.width * bucket.height
        enlarges = area > width * height
        return (not enlarges, -area if enlarges else area, bucket.num_frames, -distance(bucket))

    return max(near, key=rank)


@dataclass(frozen=True)
class Draw:
    """What is drawn: an index of the dataset, how it is seen, and a seed of its own for noise and timestep.

    The seed depends on the run's seed and the place of the draw alone, not on how many processes share the work.
    """

    index: int
    variant: int = 0
    without_caption: bool = False
    seed: int = 0


class Bucketed(Protocol):
    """What the sampler asks of a dataset."""

    @property
    def buckets(self) -> Sequence[str]:
        """Give the bucket of each index."""

    @property
    def num_variants(self) -> int:
        """Count the versions of each clip."""

    @property
    def digest(self) -> str:
        """Name the data."""

    def __len__(self) -> int:
        """Count the clips."""


class BucketSampler:
    """Draw batches of one bucket each, without end; the same seed and position give the same batch on any machine.

    An epoch passes over every clip once: each bucket is shuffled, cut into groups of `batch_size * accumulation *
    world_size` (the last one filled from the bucket's beginning), and the groups are shuffled. A group is one
    optimizer step: all its batches, on all ranks, are of one bucket. Two processes draw together exactly what one
    process draws with twice the accumulation.

    Iterating begins at `position` and does not move it, because a loader reads ahead: `advance` says that a batch has
    been used (`realmaster.training.dataset.load_batches` does).
    """

    def __init__(
        self,
        dataset: Bucketed,
        batch_size: int,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        *,
        accumulation: int = 1,
        drop_captions: float = 0.0,
    ) -> None:
        """Prepare to draw `batch_size` clips at a time for one process of `world_size`.

        Args:
            dataset: what is drawn from; its order and content must not change within a run.
            batch_size: clips of one batch of one process.
            seed: decides order, variants, dropped captions and the seeds of the draws.
            rank: number of this process.
            world_size: number of processes.
            accumulation: batches of an optimizer step on each process.
            drop_captions: share of draws whose caption is left out, for guidance.

        Raises:
            ConfigError: a number is out of bounds. DataError: the dataset is empty.
        """
        if min(batch_size, world_size, accumulation) < 1 or not 0 <= rank < world_size or not 0 <= drop_captions <= 1:
            raise ConfigError(
                "expected batch_size, world_size and accumulation of at least 1, a rank below world_size and "
                f"drop_captions from 0 to 1, got {batch_size}, {world_size}, {accumulation}, {rank}, {drop_captions}: "
                "correct the setting"
            )
        if len(dataset) == 0:
            raise DataError("expected clips to train on, found none: check the manifest")
        self.dataset, self.batch_size, self.seed = dataset, batch_size, seed
        self.rank, self.world_size, self.accumulation = rank, world_size, accumulation
        self.drop_captions = drop_captions
        self.position = 0
        self._by_bucket: dict[str, list[int]] = {}
        for index, bucket in enumerate(dataset.buckets):
            self._by_bucket.setdefault(bucket, []).append(index)
        for bucket, indices in sorted(self._by_bucket.items()):
            if len(indices) < self.group_size:
                logger.warning(
                    "bucket %s has %d clips, one optimizer step draws %d: some are drawn more than once in a step",
                    bucket, len(indices), self.group_size,
                )  # fmt: skip
        self._epoch: tuple[int, list[list[int]]] = (-1, [])

    @property
    def group_size(self) -> int:
        """Clips of one optimizer step, over all processes."""
        return self.batch_size * self.world_size * self.accumulation

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in which every clip is drawn at least once."""
        return sum(-(-len(indices) // self.group_size) for indices in self._by_bucket.values())

    @property
    def epoch(self) -> float:
        """How often the data has been passed over so far."""
        return self.position / self.accumulation / self.steps_per_epoch

    def __iter__(self) -> Iterator[list[Draw]]:
        """Give batch after batch of this process from `position` on, without end."""
        position = self.position
        while True:
            yield self.batch(position)
            position += 1

    def advance(self, num_batches: int = 1) -> None:
        """Say that batches have been used: a state saved now goes on behind them."""
        self.position += num_batches

    def batch(self, position: int) -> list[Draw]:
        """Give the batch of this process at a position, counted in batches of one process from 0."""
        step, micro = divmod(position, self.accumulation)
        epoch, place = divmod(step, self.steps_per_epoch)
        if self._epoch[0] != epoch:
            self._epoch = (epoch, self._shuffled(epoch))
        first = (micro * self.world_size + self.rank) * self.batch_size
        group = self._epoch[1][place]
        return [self._draw(group[k], epoch, step * self.group_size + k) for k in range(first, first + self.batch_size)]

    def state_dict(self) -> dict[str, Any]:
        """Give what `load_state_dict` needs, in plain JSON values."""
        return {
            "position": self.position,
            "accumulation": self.accumulation,
            "group_size": self.group_size,
            "seed": self.seed,
            "drop_captions": self.drop_captions,
            "num_variants": self.dataset.num_variants,
            "digest": self.dataset.digest,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was saved, also with the work spread otherwise, as long as a step draws as many clips.

        Raises:
            ConfigError: the state belongs to other data, another seed or another number of clips a step.
        """
        mine = self.state_dict()
        names = {"digest": "data", "group_size": "number of clips a step"}
        for key in ("digest", "group_size", "seed", "drop_captions", "num_variants"):
            if state.get(key) != mine[key]:
                raise ConfigError(
                    f"expected to resume with the same {names.get(key, key)} ({state.get(key)}), got {mine[key]}: "
                    "restore the setting, or begin a new run"
                )
        step, micro = divmod(int(state["position"]), int(state["accumulation"]))
        if micro and state["accumulation"] != self.accumulation:
            raise ConfigError(
                f"expected accumulation {state['accumulation']}, as in the state saved within a step, got "
                f"{self.accumulation}: restore the setting"
            )
        self.position = step * self.accumulation + micro

    def _shuffled(self, epoch: int) -> list[list[int]]:
        """Groups of one epoch: [steps_per_epoch][group_size] indices."""
        generator = np.random.default_rng([self.seed, epoch])
        groups: list[list[int]] = []
        for _, indices in sorted(self._by_bucket.items()):
            order = generator.permutation(indices)
            whole = -(-len(order) // self.group_size) * self.group_size
            groups += np.resize(order, whole).reshape(-1, self.group_size).tolist()
        return [groups[k] for k in generator.permutation(len(groups))]

    def _draw(self, index: int, epoch: int, place: int) -> Draw:
        """Variants take turns from epoch to epoch, so that all are seen before one is seen again."""
        seed = _hash(self.seed, place)
        chance = (_hash(seed, "caption") >> 11) / 2**52
        variant = (epoch + _hash(self.seed, "variant", index)) % self.dataset.num_variants
        return Draw(index, variant, chance < self.drop_captions, seed)


def _hash(*parts: object) -> int:
    """63 bits that depend on the parts alone: the same on every machine and version."""
    text = "/".join(map(str, parts)).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest()) >> 1


def _nearest(value: int, step: int, *, offset: int) -> str:
    """Name the nearest sizes below and above, the nearer first: "81 or 77"."""
    below = (value - offset) // step * step + offset
    choices = sorted((size for size in (below, below + step) if size > 0), key=lambda size: abs(size - value))
    return " or ".join(map(str, choices))
