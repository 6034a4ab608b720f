"""A cache on disk: what it was made with, and entries named by the content that made them.

Separate from `cache.py`, which fills it: here are names, files and checks. What exists under its own name is whole,
because every file is written under another name first; so no process can read half of what another one writes.

    cache.json                       settings and fingerprints of the models that made it
    plans/ab/<key>.json              a pair: its bucket, and where its clips begin; or why it cannot be used
    latents/ab/<key>.safetensors     one variant of one clip: target [C, F, h, w], reference [C, F, h', w']
    text/<key>.safetensors           one caption: [n, D], without the padding
    hashes.json                      hashes of the source files, so that unchanged ones are not read again

Letters: C latent channels, F latent frames, h, w latent pixels, L tokens, n of them used, D width.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor
from torch.nn import functional

from realmaster.data.content import ContentHashes
from realmaster.data.manifest import ManifestRow
from realmaster.errors import DataError, OutputError
from realmaster.media.output import temporary
from realmaster.training.buckets import Bucket
from realmaster.training.cache_settings import CacheSettings
from realmaster.training.fingerprints import fingerprint_autoencoder, fingerprint_text_encoder

logger = logging.getLogger(__name__)

FORMAT = 1


@dataclass(frozen=True)
class ClipKey:
    """One clip of a pair: the hash of both files, its bucket and where it begins, in frames of the cache's rate."""

    content: str
    bucket: Bucket
    first_frame: int


@dataclass(frozen=True)
class PairPlan:
    """What becomes of a pair: its clips, or the reason why there are none."""

    clips: tuple[ClipKey, ...]
    reason: str | None = None


class CacheFolder:
    """The files of a cache that was made with certain settings and models."""

    def __init__(self, folder: Path, settings: CacheSettings, maker: dict[str, Any]) -> None:
        """Use a folder whose `cache.json` says `maker`; `open` and `create` read and write that file."""
        self.folder, self.settings, self.maker = folder, settings, maker
        self.max_length: int = maker["max_length"]

    @classmethod
    def open(cls, folder: Path, settings: CacheSettings, *, models: Any = None) -> Self:
        """Open a cache that exists; `models` are checked against those that made it, None believes it.

        Raises:
            DataError: there is none, or it was made with other settings or models.
        """
        maker = read_maker(folder)
        if maker is None:
            raise DataError(f"{folder}: expected a cache of latents, found none: build it first")
        _check_maker(folder, maker, _wanted(settings, models, maker))
        return cls(folder, settings, maker)

    @classmethod
    def create(cls, folder: Path, settings: CacheSettings, models: Any) -> Self:
        """Open a cache, or begin one.

        Raises:
            DataError: it was made with other settings or models. OutputError: the folder cannot be written.
        """
        maker = read_maker(folder)
        wanted = _wanted(settings, models, maker)
        if maker is None:
            missing = [name.replace("_", " ") for name, value in wanted.items() if value is None]
            if missing:
                raise DataError(f"{folder}: expected the {missing[0]} to begin a cache with, got none: load it")
            _make_folder(folder)
            _write(folder / "cache.json", (json.dumps(wanted, indent=2) + "\n").encode())
            maker = wanted
        _check_maker(folder, maker, wanted)
        return cls(folder, settings, maker)

    @property
    def hashes_file(self) -> Path:
        """Where hashes of the source files are remembered."""
        return self.folder / "hashes.json"

    def plan_file(self, content: str) -> Path:
        """Name the plan of a pair by its content and the sizes on offer."""
        buckets = sorted(map(str, self.settings.buckets))
        key = _key(content, buckets, self.maker["settings"])
        return self.folder / "plans" / key[:2] / f"{key}.json"

    def latents_file(self, clip: ClipKey, variant: int) -> Path:
        """Name the latents of a clip; variant 0 is the clip as it is, whatever the augmentations are."""
        shared = dict(self.maker["settings"])
        for unused in ("shorter", "longer", *(("augmentations", "seed") if variant == 0 else ())):
            shared.pop(unused)
        parts = (clip.content, str(clip.bucket), clip.first_frame, variant, shared, self.maker["autoencoder"])
        key = _key(*parts)
        return self.folder / "latents" / key[:2] / f"{key}.safetensors"

    def text_file(self, caption: str) -> Path:
        """Name the embedding of a caption."""
        return self.folder / "text" / f"{_key(caption, self.maker['text_encoder'])}.safetensors"

    def read_plan(self, hashes: ContentHashes, row: ManifestRow) -> PairPlan:
        """Read what was planned for a pair.

        Raises:
            DataError: nothing was. MediaError: a source file is missing.
        """
        content = content_of(hashes, row)
        plan = self.find_plan(content)
        if plan is None:
            raise DataError(f"{row.where}: expected this pair in the cache {self.folder}, found none: build the cache")
        return plan

    def find_plan(self, content: str) -> PairPlan | None:
        """Read what was planned for a pair of this content, or None."""
        try:
            values = json.loads(self.plan_file(content).read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            raise _damaged(self.plan_file(content), error) from error
        if values["reason"] is not None:
            return PairPlan((), values["reason"])
        bucket = Bucket.from_mapping(values["bucket"], source=str(self.plan_file(content)))
        return PairPlan(tuple(ClipKey(content, bucket, first) for first in values["first_frames"]))

    def write_plan(self, content: str, plan: PairPlan) -> None:
        """Write down what becomes of a pair."""
        values = {
            "bucket": str(plan.clips[0].bucket) if plan.clips else None,
            "first_frames": [clip.first_frame for clip in plan.clips],
            "reason": plan.reason,
        }
        _write(self.plan_file(content), json.dumps(values).encode())

    def write_latents(self, clip: ClipKey, variant: int, target: Tensor, reference: Tensor) -> None:
        """Store the latents [C, F, h, w] of one variant of a clip, in the cache's dtype.

        Raises:
            OutputError: the disk is full or cannot be written.
        """
        dtype = getattr(torch, self.settings.dtype)
        tensors = {"target": target, "reference": reference}
        stored = {name: tensor.detach().to("cpu", dtype).contiguous() for name, tensor in tensors.items()}
        _write(self.latents_file(clip, variant), save(stored, metadata={"bucket": str(clip.bucket)}))

    def read_latents(self, clip: ClipKey, variant: int) -> tuple[Tensor, Tensor]:
        """Read target and reference latents [C, F, h, w].

        Raises:
            DataError: they are missing or damaged.
        """
        tensors = _read(self.latents_file(clip, variant), ("target", "reference"))
        return tensors["target"], tensors["reference"]

    def write_text(self, caption: str, embedding: Tensor) -> None:
        """Store a caption's embedding [L, D] without the zeros beyond its last token."""
        used = embedding.detach().cpu().ne(0).any(dim=1).nonzero()
        length = int(used[-1]) + 1 if len(used) else 0
        stored = {"text": embedding[:length].detach().cpu().contiguous()}
        _write(self.text_file(caption), save(stored))

    def read_text(self, caption: str) -> Tensor:
        """Read a caption's embedding [L, D], zero beyond its last token.

        Raises:
            DataError: it is missing or damaged.
        """
        used = _read(self.text_file(caption), ("text",))["text"]
        return functional.pad(used, (0, 0, 0, self.max_length - len(used)))

    def check_whole(self, clips: Sequence[ClipKey], captions: Iterable[str]) -> None:
        """Check that all variants of the clips and all captions are there.

        Raises:
            DataError: with the number of what is missing.
        """
        variants = range(self.settings.num_variants)
        num_latents = sum(not self.latents_file(clip, v).is_file() for clip in set(clips) for v in variants)
        num_texts = sum(not self.text_file(caption).is_file() for caption in set(captions))
        if num_latents or num_texts:
            raise DataError(
                f"{self.folder}: expected a whole cache, {num_latents} latents and {num_texts} captions are missing: "
                "build it again, what is there is kept"
            )


def read_maker(folder: Path) -> dict[str, Any] | None:
    """Read what a cache was made with; None if there is no cache.

    Raises:
        DataError: a file has the folder's name, `cache.json` is damaged, or another version of the format wrote it.
    """
    path = folder / "cache.json"
    try:
        maker = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except NotADirectoryError as error:
        raise DataError(
            f"{folder}: expected the folder of a cache, found a file: name a folder, or a new one"
        ) from error
    except (OSError, ValueError) as error:
        raise _damaged(path, error) from error
    if not isinstance(maker, dict) or maker.get("format") != FORMAT:
        raise DataError(f"{path}: expected a cache of format {FORMAT}, found another: choose another folder")
    return maker


def content_of(hashes: ContentHashes, row: ManifestRow) -> str:
    """Name the content of both clips of a row."""
    return _key(hashes.of(row.video), hashes.of(row.reference_video))


def _wanted(settings: CacheSettings, models: Any, maker: dict[str, Any] | None) -> dict[str, Any]:
    """Say what a cache with these settings and models is made with; absent models are believed to be its own."""
    believed = maker or {}
    autoencoder = getattr(models, "autoencoder", None)
    text_encoder = getattr(models, "text_encoder", None)
    return {
        "format": FORMAT,
        "settings": settings.made_of(),
        "autoencoder": believed.get("autoencoder") if autoencoder is None else fingerprint_autoencoder(autoencoder),
        "text_encoder": believed.get("text_encoder")
        if text_encoder is None
        else fingerprint_text_encoder(text_encoder, models.tokenizer, models.max_length),
        "max_length": believed.get("max_length") if models is None else models.max_length,
    }


def _check_maker(folder: Path, maker: dict[str, Any], wanted: dict[str, Any]) -> None:
    other = [f"{name} {maker['settings'].get(name)} instead of {value}"
             for name, value in wanted["settings"].items() if maker["settings"].get(name) != value]  # fmt: skip
    other += [f"another {name.replace('_', ' ')}" for name in ("autoencoder", "text_encoder", "max_length")
              if maker.get(name) != wanted[name]]  # fmt: skip
    if other:
        raise DataError(
            f"{folder}: expected a cache made with the same settings and models, it was made with {'; '.join(other)}: "
            "choose another folder, or remove this one"
        )


def _key(*parts: Any) -> str:
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:40]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(
            f"{folder}: expected to make this folder, could not ({reason}): choose another place"
        ) from error


def _write(path: Path, content: bytes) -> None:
    """Write a file whole: under another name, to the disk, then renamed."""
    _make_folder(path.parent)
    with temporary(path) as part, part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())


def _read(path: Path, names: tuple[str, ...]) -> dict[str, Tensor]:
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise _damaged(path, error) from error
    if set(tensors) != set(names):
        raise _damaged(path, f"it holds {', '.join(sorted(tensors))}")
    return tensors


def _damaged(path: Path, error: object) -> DataError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return DataError(
        f"{path}: expected a whole file of the cache, could not read it ({reason}): remove it, build again"
    )
