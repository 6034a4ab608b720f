"""Build the cache of a run ahead of it, with no more of the models than that takes: autoencoder and text encoder.

Separate from `realmaster.models.loading`, which loads whole profiles: latents can be made on a card, or a machine, that
would not hold the transformers.
"""

from __future__ import annotations

from typing import Any

import torch

from realmaster.data.manifest import read_manifest
from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.checkpoint import check_parts, read_config, readable
from realmaster.models.loading import TEXT_SIZES, Models
from realmaster.models.machine import check_device
from realmaster.models.profiles import Profile, load_profile, missing_remedy
from realmaster.training.cache import Progress, build_cache
from realmaster.training.dataset import CachedDataset
from realmaster.training.settings import MODEL_DIR_SETTING, TrainSettings
from realmaster.training.validation import read_validation


def build_run_cache(
    settings: TrainSettings, *, device: torch.device | str | None = None, progress: Progress | None = None
) -> CachedDataset:
    """Make what is missing of the cache that a run will read, without loading its transformers.

    The encoders are gone when this returns. `device` goes before the settings' own.

    Raises:
        ConfigError, DataError, MissingWeightsError, OutputError: see `realmaster.training.cache.build_cache`.
    """
    if settings.device != "auto":
        check_device(settings.device)
    profile = load_profile(settings.profile, model_dir=settings.model_dir, changes=settings.profile_changes)
    rows = read_manifest(settings.data.manifest, skip_broken=settings.data.skip_broken)
    fastest = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(device or (fastest if settings.device == "auto" else settings.device))
    dtype = getattr(torch, settings.memory.dtype or profile.memory.dtype)
    dataset = build_cache(
        rows,
        load_encoders(profile, device=device, dtype=dtype),
        settings.data.encode,
        settings.cache_folder,
        workers=settings.data.workers,
        skip_broken=settings.data.skip_broken,
        captions=captions_of(settings, profile),
        progress=progress,
    )
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return dataset


def captions_of(settings: TrainSettings, profile: Profile) -> list[str]:
    """List what a run reads beside its clips' own captions: the empty, the negative, those of validation."""
    return sorted(
        {"", profile.sampling.negative_prompt, *(row.caption for row in read_validation(settings.validation))}
    )


def load_encoders(profile: Profile, *, device: torch.device | str = "cpu", dtype: torch.dtype | None = None) -> Models:
    """Load a profile's encoders; the transformer is a shell without weights, which knows its patch size.

    The autoencoder is float32, tiled if the profile says so; the text encoder takes `dtype` (the profile's by default),
    is loaded when captions are encoded, and dropped after.

    Raises:
        MissingWeightsError: a part is not there, incomplete or cannot be read; the message names it.
    """
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import AutoTokenizer, UMT5EncoderModel

    folder, device = profile.folder, torch.device(device)
    number_type = dtype or getattr(torch, profile.memory.dtype)
    remedy = missing_remedy(profile, option=MODEL_DIR_SETTING)
    check_parts(folder, ("vae", "tokenizer", "text_encoder"), remedy=remedy)

    def load_text_encoder() -> Any:
        with readable(folder, ("text_encoder",), remedy=remedy):
            read_config(folder / "text_encoder" / "config.json", needs=TEXT_SIZES, remedy=remedy)
            encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=number_type)
        return encoder.requires_grad_(False).eval().to(device)

    with readable(folder, ("vae", "tokenizer", "transformer"), remedy=remedy):
        autoencoder = AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        config = WanTransformer3DModel.load_config(folder / "transformer")
        with torch.device("meta"):
            transformer = WanTransformer3DModel.from_config(config)
    autoencoder.requires_grad_(False).eval().to(device)
    if profile.memory.vae_tiling:
        autoencoder.enable_tiling()
    if device.type == "cpu":
        use_planar_convolutions(autoencoder)
    return Models(
        autoencoder=autoencoder,
        tokenizer=tokenizer,
        text_encoder=None,
        transformer=transformer,
        max_length=profile.text.max_length or tokenizer.model_max_length,
        execution_device=device,
        load_text_encoder=load_text_encoder,
        drop_text_encoder=True,
    )
