"""Names for models by what they hold, so that a cache knows which ones made it.

Separate because it is the one place that decides when two models count as the same: equal names and shapes of weights,
equal values at 256 evenly spaced places of every tensor, and the few settings that weights do not show. Device and
number format do not count, nor what a new version of a library adds to a config; a fine-tuned, quantised or differently
tiled model is another one. Hashing all bytes would cost 11 GB of reading for the text encoder of the large profiles, at
every start.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

import torch
from torch import Tensor, nn

from realmaster.errors import ConfigError

_PLACES = 256
_SETTINGS = ("latents_mean", "latents_std", "patch_size", "scale_factor_spatial", "scale_factor_temporal")
_TILING = ("tile_sample_min_height", "tile_sample_min_width", "tile_sample_stride_height", "tile_sample_stride_width")


def fingerprint_autoencoder(autoencoder: Any) -> str:
    """Name a video autoencoder by weights, scaling of the latents, strides and tiling.

    Raises:
        ConfigError: its weights are not loaded.
    """
    tiling = [getattr(autoencoder, name, None) for name in _TILING] if getattr(autoencoder, "use_tiling", False) else []
    return _fingerprint(autoencoder, [[autoencoder.config.get(name) for name in _SETTINGS], tiling])


def fingerprint_text_encoder(text_encoder: Any, tokenizer: Any, max_length: int) -> str:
    """Name a text encoder by weights, vocabulary and the number of tokens that it reads.

    Raises:
        ConfigError: its weights are not loaded.
    """
    vocabulary = hashlib.sha256(json.dumps(tokenizer.get_vocab(), sort_keys=True).encode()).hexdigest()
    return _fingerprint(text_encoder, [vocabulary, max_length])


def _fingerprint(model: nn.Module, settings: list[Any]) -> str:
    digest = hashlib.sha256(json.dumps(settings).encode())
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(f"{name} {list(tensor.shape)}".encode())
        digest.update(_values(name, tensor))
    return digest.hexdigest()[:40]


def _values(name: str, tensor: Tensor) -> bytes:
    """Give the values at evenly spaced places as float32."""
    if tensor.is_meta:
        raise ConfigError(f"expected loaded weights to name a cache by, {name} has none: load the model whole")
    if tensor.numel() == 0:
        return b""
    flat = tensor.detach().reshape(-1)
    places = torch.linspace(0, flat.numel() - 1, min(_PLACES, flat.numel()), dtype=torch.float64).round().long()
    return flat[places.to(flat.device)].to("cpu", torch.float32).numpy().tobytes()
