"""Count autoencoder, text encoder and refiner as `arithmetic` counts the transformer: their own code, on meta tensors.

A causal autoencoder takes frames four at a time, so that its cost grows linearly with them: two short clips give the
cost of a long one, exactly. Tiles are taken by their area.

Letters: B batch, C channels, F frames, H, W.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from realmaster.models.arithmetic import building, count_parameters, extend, remembered
from realmaster.models.metering import Cost, meter
from realmaster.models.refiner import refine
from realmaster.types import VideoShape

TILE, TILE_STEP = 256, 192  # pixels: diffusers' defaults for this autoencoder's tiles


@remembered
def count_encoding(config: Mapping[str, Any], shape: VideoShape, *, tiled: bool) -> Cost:
    """Count encoding one window in float32, whole or in diffusers' tiles."""
    return _count_video(config, shape, tiled=tiled, decode=False)


@remembered
def count_decoding(config: Mapping[str, Any], shape: VideoShape, *, tiled: bool) -> Cost:
    """Count decoding one window in float32, whole or in diffusers' tiles."""
    return _count_video(config, shape, tiled=tiled, decode=True)


@remembered
def count_text(config: Mapping[str, Any], *, num_text_tokens: int, num_prompts: int, dtype: str) -> Cost:
    """Count encoding prompts."""
    with building(dtype):
        encoder = build_text_encoder(config)
    tokens = torch.zeros(num_prompts, num_text_tokens, dtype=torch.long, device="meta")
    with torch.no_grad():
        return meter(lambda: encoder(tokens).last_hidden_state)[1]


@remembered
def count_refining(config: Mapping[str, Any], shape: VideoShape) -> Cost:
    """Count refining one window of a shape in float32."""
    from diffusers import UNet2DModel

    with building("float32"):
        net = UNet2DModel(**config).eval().requires_grad_(False)
    video = torch.empty(shape.num_frames, 3, shape.height, shape.width, device="meta")
    with torch.no_grad():
        return meter(lambda: refine(net, video, video))[1]


def build_autoencoder(config: Mapping[str, Any]) -> Any:
    """Build a Wan autoencoder on the meta device, frozen."""
    from diffusers import AutoencoderKLWan

    with building("float32"):
        return AutoencoderKLWan(**config).eval().requires_grad_(False)


def build_text_encoder(config: Mapping[str, Any]) -> Any:
    """Build a UMT5 encoder on the meta device, frozen."""
    from transformers import UMT5Config, UMT5EncoderModel

    with torch.device("meta"):
        return UMT5EncoderModel(UMT5Config(**config)).eval().requires_grad_(False)


@remembered
def describe_autoencoder(config: Mapping[str, Any]) -> tuple[int, int, int]:
    """Give an autoencoder's strides in time and space, and how many parameters it has."""
    model = build_autoencoder(config)
    return model.config.scale_factor_temporal, model.config.scale_factor_spatial, count_parameters(model)


@remembered
def count_text_encoder(config: Mapping[str, Any]) -> int:
    """Count a text encoder's parameters."""
    return count_parameters(build_text_encoder(config))


def _count_video(config: Mapping[str, Any], shape: VideoShape, *, tiled: bool, decode: bool) -> Cost:
    if tiled and (shape.height > TILE or shape.width > TILE):
        return _count_tiles(config, shape, decode=decode)
    if shape.num_frames <= 13:
        return _count_frames(config, shape, decode=decode)
    fewer = [VideoShape(frames, shape.height, shape.width) for frames in (9, 13)]
    first, second = (_count_frames(config, part, decode=decode) for part in fewer)
    return extend(first, second, (shape.num_frames - 9) // 4)


def _count_frames(config: Mapping[str, Any], shape: VideoShape, *, decode: bool) -> Cost:
    model = build_autoencoder(config)
    with torch.no_grad():
        if not decode:
            video = torch.empty(1, 3, shape.num_frames, shape.height, shape.width, device="meta")
            return meter(lambda: model.encode(video).latent_dist.mode())[1]
        sizes = model.config.scale_factor_temporal, model.config.scale_factor_spatial
        size = shape.latents(time_stride=sizes[0], space_stride=sizes[1])
        latents = torch.empty(1, model.config.z_dim, size.num_frames, size.height, size.width, device="meta")
        return meter(lambda: model.decode(latents).sample)[1]


def _count_tiles(config: Mapping[str, Any], shape: VideoShape, *, decode: bool) -> Cost:
    """Count one whole tile, and take the others by their area; all tiles stay until they are put together."""
    rows, columns = (
        [min(TILE, side - start) for start in range(0, side, TILE_STEP)] for side in (shape.height, shape.width)
    )
    area = sum(rows) * sum(columns)
    whole = VideoShape(shape.num_frames, min(TILE, shape.height), min(TILE, shape.width))
    tile = _count_video(config, whole, tiled=False, decode=decode)
    whole_area = whole.height * whole.width
    kept = tile.kept_bytes * area // whole_area
    result = tile.kept_bytes * shape.height * shape.width // whole_area
    peak = max(kept - tile.kept_bytes + tile.peak_bytes, kept + 2 * result)
    return Cost(tile.flops * area / whole_area, peak, result)
