"""The control branch of VACE over a Wan transformer: how an untrained one begins.

Separate from `nano`, whose sizes it takes no part in: it grows over any base, and only training grows one. Trained ones
are loaded as they are, by `loading`.

Source: VACE (arXiv 2503.07598, context adapter tuning): copies of some of the base's blocks read the conditions, and
what each gives is added to the base's hidden states; the base stays frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn


def condition_channels(autoencoder: Any) -> int:
    """Channels of VACE's conditions: kept and changing latents, and the mask's pixels folded into channels."""
    config = autoencoder.config
    return 2 * int(config.z_dim) + int(config.scale_factor_spatial) ** 2


@torch.no_grad()
def grow_vace(base: Any, layers: Sequence[int], num_channels: int) -> Any:
    """Make diffusers' `WanVACETransformer3DModel` over a `WanTransformer3DModel`, which it equals until it is trained.

    `layers` are the base's blocks that get a hint, 0 among them; each copy begins as its block. The kept latents enter
    as the base's own do, so that anchors are read from the first step on; what goes out begins at zero.
    """
    from diffusers import WanVACETransformer3DModel

    settings = {name: value for name, value in base.config.items() if not name.startswith("_")}
    settings.pop("pos_embed_seq_len", None)
    model = WanVACETransformer3DModel(**settings, vace_layers=list(layers), vace_in_channels=num_channels)
    absent = model.load_state_dict(base.state_dict(), strict=False)
    assert not absent.unexpected_keys, "a VACE transformer has every weight of its base"
    for block, layer in zip(model.vace_blocks, layers, strict=True):
        block.load_state_dict(base.blocks[layer].state_dict(), strict=False)
        if block.proj_in is not None:
            nn.init.eye_(block.proj_in.weight)
            nn.init.zeros_(block.proj_in.bias)
        nn.init.zeros_(block.proj_out.weight)
        nn.init.zeros_(block.proj_out.bias)
    latent_channels = base.config.in_channels
    embedding = model.vace_patch_embedding
    nn.init.normal_(embedding.weight, std=0.02)
    nn.init.zeros_(embedding.bias)
    embedding.weight[:, :latent_channels] = base.patch_embedding.weight
    return model


def branch_parameters(model: Any) -> list[nn.Parameter]:
    """Give the parameters of the control branch alone."""
    return [*model.vace_patch_embedding.parameters(), *model.vace_blocks.parameters()]
