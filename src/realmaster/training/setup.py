"""What a run stands on: profile, models, cache, experts, put together in the order that memory asks for.

Separate from the run's steps. While the cache is made nothing but the encoders is loaded, one after the other; they are
gone before the transformers come.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from realmaster.data.manifest import ManifestRow, read_manifest
from realmaster.errors import ConfigError
from realmaster.models.adapter_metadata import Expert
from realmaster.models.loading import Models, check_checkpoint, load_parts, missing_remedy
from realmaster.models.machine import check_device
from realmaster.models.machine_options import check_attention_backend, choose_attention
from realmaster.models.profiles import Profile, load_profile
from realmaster.training.cache import is_built
from realmaster.training.cache_models import build_run_cache, captions_of
from realmaster.training.dataset import CachedDataset
from realmaster.training.experts import TrainedExpert, add_trainable_lora, find_start, prepare_memory
from realmaster.training.processes import shard
from realmaster.training.residence import TrainedOneAtATime, find_offloaded
from realmaster.training.run_plan import require_memory
from realmaster.training.settings import MODEL_DIR_SETTING, TrainSettings
from realmaster.training.validation import read_validation

if TYPE_CHECKING:
    from accelerate import Accelerator

    from realmaster.training.run import ShowCache


class RememberedText(Models):
    """Models whose prompts come from the cache; the text encoder is asked for others only."""

    dataset: CachedDataset
    known: frozenset[str] = frozenset()

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Give embeddings [B, L, D], from the cache if all of them are there."""
        if not set(prompts) <= self.known:
            return super().encode_text(prompts)
        return torch.stack([self.dataset.text(prompt) for prompt in prompts]).to(self.device)


@dataclass(frozen=True)
class Prepared:
    """What the steps need."""

    profile: Profile
    models: Models
    dataset: CachedDataset
    experts: dict[Expert, TrainedExpert]
    validation_rows: list[ManifestRow]


def prepare(settings: TrainSettings, accelerator: Accelerator, *, show_cache: ShowCache | None = None) -> Prepared:
    """Read the data, load the base, make the cache, and make every expert of the settings ready.

    Raises:
        ConfigError, DataError, MissingWeightsError, AdapterError: see `realmaster.training.run.train`.
    """
    if settings.device != "auto":
        check_device(settings.device)
    profile = load_profile(
        settings.profile,
        model_dir=settings.model_dir,
        changes={
            **settings.profile_changes,
            "reference.mode": settings.reference.mode,
            "reference.spatial_scale": settings.data.encode.reference_scale,
        },
    )
    names = profile.transformers
    for name in settings.experts:
        if name not in names:
            raise ConfigError(
                f"experts: expected {' or '.join(names)} for profile {profile.name!r}, got {name}: it has one "
                "transformer, leave the other out"
            )
    if profile.memory.attention_backend is not None:
        check_attention_backend(profile.memory.attention_backend)
    starts = find_start(settings, profile)
    if settings.parallel == "ddp" or accelerator.num_processes == 1:  # shards are not planned
        require_memory(settings, profile, device=accelerator.device)
    rows = read_manifest(settings.data.manifest, skip_broken=settings.data.skip_broken)
    validation_rows = read_validation(settings.validation)
    captions = captions_of(settings, profile)
    encode, folder, skip_broken = settings.data.encode, settings.cache_folder, settings.data.skip_broken
    if not is_built(rows, encode, folder, captions=captions, skip_broken=skip_broken):
        build_run_cache(settings, device=accelerator.device, progress=show_cache)
    dtype = getattr(torch, settings.memory.dtype or profile.memory.dtype)
    models = _load(profile, accelerator.device, dtype)
    dataset = CachedDataset(rows, folder, encode, models=models, skip_broken=skip_broken)
    remembered = RememberedText(**{field.name: getattr(models, field.name) for field in fields(models)})
    remembered.dataset, remembered.known = dataset, frozenset(captions)
    remembered.reference_adapted = settings.reference.adapted
    experts = _make_experts(remembered, profile, settings, accelerator, dtype, starts)
    return Prepared(profile, remembered, dataset, experts, validation_rows)


def _load(profile: Profile, device: torch.device, dtype: torch.dtype) -> Models:
    """Load the base: for nano the plain one, which an adapter stands on, not the transformer trained whole."""
    names = {**profile.transformers, "transformer": "transformer"}
    remedy = missing_remedy(profile, option=MODEL_DIR_SETTING)
    check_checkpoint(profile, names, remedy=remedy)
    models = load_parts(
        profile.folder,
        **names,
        device=device,
        dtype=dtype,
        max_length=profile.text.max_length,
        boundary=profile.sampling.boundary,
        refiner=None if profile.refiner is None else profile.refiner.part,
        drop_text_encoder=True,
        transformers_on_host=True,
        remedy=remedy,
    )
    if profile.memory.vae_tiling:
        models.autoencoder.enable_tiling()
    return models


def _make_experts(
    models: Models,
    profile: Profile,
    settings: TrainSettings,
    accelerator: Accelerator,
    dtype: torch.dtype,
    starts: Mapping[Expert, Path],
) -> dict[Expert, TrainedExpert]:
    device = accelerator.device
    loaded = models.experts
    for name in settings.experts:
        add_trainable_lora(
            loaded[name],
            rank=settings.adapter.rank,
            alpha=settings.adapter.alpha,
            seed=settings.seed,
            start_from=starts.get(name),
        )
    for transformer in loaded.values():
        prepare_memory(transformer, settings.memory, device, dtype)
        choose_attention(transformer, profile.memory.attention_backend)
    if settings.parallel == "ddp" or accelerator.num_processes == 1:  # shards are placed by FSDP
        stay = [find_offloaded(transformer, settings.memory.offload_blocks) for transformer in loaded.values()]
        models.swap = TrainedOneAtATime(loaded, device, frozenset().union(*stay))
        if len(loaded) == 1:
            models.swap.bring(next(iter(loaded)))
    reference_text = models.encode_text([""]).to(device, torch.float32)
    experts: dict[Expert, TrainedExpert] = {}
    for name in settings.experts:
        models.bring(name)
        experts[name] = TrainedExpert(
            name,
            loaded[name],
            settings,
            accelerator,
            shift=profile.sampling.shift,
            boundary=profile.sampling.boundary,
            reference_text=reference_text,
        )
    if models.swap is None:
        for untrained in loaded.keys() - experts.keys():  # validation calls it
            shard(loaded[untrained], device)
    return experts
