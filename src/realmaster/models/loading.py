"""Load the models of a profile: the parts of a Wan checkpoint in diffusers layout, and the adapter if there is one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import Tensor

from realmaster.errors import AdapterError, ConfigError, MissingWeightsError
from realmaster.models.adapter import load_adapter, read_metadata
from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.profiles import Profile
from realmaster.models.text import encode_prompts


@dataclass
class Models:
    """The parts of a profile, loaded."""

    autoencoder: Any
    tokenizer: Any
    text_encoder: Any
    transformer: Any
    max_length: int
    transformer_2: Any | None = None
    boundary: float | None = None

    @property
    def experts(self) -> dict[str, Any]:
        """The transformer, or the high-noise and the low-noise expert, by their part of a pipeline."""
        experts = {"transformer": self.transformer}
        return experts if self.transformer_2 is None else {**experts, "transformer_2": self.transformer_2}

    @property
    def device(self) -> torch.device:
        """Where the transformer is."""
        device: torch.device = self.transformer.device
        return device

    @property
    def time_stride(self) -> int:
        """Pixel frames a latent frame covers."""
        stride: int = self.autoencoder.config.scale_factor_temporal
        return stride

    @property
    def space_stride(self) -> int:
        """Pixels a token's side covers: sizes are multiples of it."""
        patch = self.transformer.config.patch_size
        stride: int = self.autoencoder.config.scale_factor_spatial * max(patch[1], patch[2])
        return stride

    def encode_text(self, prompts: Sequence[str]) -> Tensor:
        """Encode prompts to [B, L, D]."""
        return encode_prompts(self.tokenizer, self.text_encoder, prompts, max_length=self.max_length)


def load_parts(
    folder: Path,
    *,
    transformer: str = "transformer",
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> Models:
    """Load autoencoder, tokenizer, text encoder and transformer from a folder in diffusers layout.

    The autoencoder stays in float32 (published advice for Wan); the others take `dtype`, float32 by default.

    Raises:
        MissingWeightsError: a part is not there or cannot be read; the message names it.
    """
    from diffusers import AutoencoderKLWan, WanTransformer3DModel
    from transformers import AutoTokenizer, UMT5EncoderModel

    for part in ("vae", "tokenizer", "text_encoder", transformer):
        if not (folder / part).is_dir():
            raise MissingWeightsError(
                f"expected the weights of {part} in {folder}, found none: reinstall realmaster, "
                "or make them with `make nano`"
            )
    dtype = dtype or torch.float32
    try:
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        models = Models(
            autoencoder=AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=torch.float32).to(device),
            tokenizer=tokenizer,
            text_encoder=UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=dtype).to(device),
            transformer=WanTransformer3DModel.from_pretrained(folder / transformer, torch_dtype=dtype).to(device),
            max_length=tokenizer.model_max_length,
        )
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise MissingWeightsError(
            f"expected whole weights in {folder}, could not read them ({reason}): reinstall realmaster"
        ) from error
    for part in (models.autoencoder, models.text_encoder, models.transformer):
        part.requires_grad_(False).eval()
    if torch.device(device).type == "cpu":
        use_planar_convolutions(models.autoencoder)
    return models


def load_profile_models(
    profile: Profile,
    *,
    adapter: Path | None = None,
    reference: str | None = None,
    device: torch.device | str = "cpu",
    dtype: torch.dtype | None = None,
) -> tuple[Models, str]:
    """Load what a profile names and give the models with the reference mode they were trained for.

    An `adapter` goes over the plain base instead of the profile's own; `reference` asks for a mode.

    Raises:
        MissingWeightsError: a part is missing. AdapterError: the adapter does not fit.
        ConfigError: the profile's own models were trained with another reference mode.
    """
    chosen = adapter or profile.adapter_path
    if chosen is None:
        if reference not in (None, profile.reference.mode):
            raise ConfigError(
                f"expected --reference {profile.reference.mode}, which profile {profile.name!r} was trained with, "
                f"got {reference}: leave it out, or give an adapter trained {reference}"
            )
        parts = load_parts(profile.folder, transformer=profile.checkpoint.transformer, device=device, dtype=dtype)
        return parts, profile.reference.mode
    metadata = read_metadata(chosen)
    if metadata.reference_scale != profile.reference.spatial_scale:
        raise AdapterError(
            f"{chosen}: expected a reference at 1/{profile.reference.spatial_scale} of the size, the adapter was "
            f"trained at 1/{metadata.reference_scale}: choose another profile"
        )
    parts = load_parts(profile.folder, device=device, dtype=dtype)
    load_adapter(parts.transformer, chosen, base_model=profile.name, reference=reference)
    return parts, metadata.reference
