"""Load what a cache is made with, and no more: autoencoder, tokenizer, text encoder.

Separate from `realmaster.models.loading`, which loads whole profiles: latents can be made on a card, or a machine, that
would not hold the transformers.
"""

from __future__ import annotations

from typing import Any

import torch
from safetensors import SafetensorError

from realmaster.errors import MissingWeightsError
from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.checkpoint import check_parts
from realmaster.models.loading import Models
from realmaster.models.profiles import Profile, missing_remedy


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
    remedy = missing_remedy(profile)
    check_parts(folder, ("vae", "tokenizer", "text_encoder"), remedy=remedy)

    def load_text_encoder() -> Any:
        encoder = UMT5EncoderModel.from_pretrained(folder / "text_encoder", dtype=number_type)
        return encoder.requires_grad_(False).eval().to(device)

    try:
        autoencoder = AutoencoderKLWan.from_pretrained(folder / "vae", torch_dtype=torch.float32)
        tokenizer = AutoTokenizer.from_pretrained(folder / "tokenizer")
        config = WanTransformer3DModel.load_config(folder / "transformer")
        with torch.device("meta"):
            transformer = WanTransformer3DModel.from_config(config)
    except (OSError, ValueError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise MissingWeightsError(
            f"expected whole weights in {folder}, could not read them ({reason}): {remedy}"
        ) from error
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
