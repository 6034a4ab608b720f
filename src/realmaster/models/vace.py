"""The control branch of VACE over a Wan transformer: a trained one loaded, an untrained one begun.

Separate from `loading`, whose transformers read a reference: none is read here, no adapter laid over, and the plan of a
translation does not hold.

Source: VACE (arXiv 2503.07598, context adapter tuning): copies of some of the base's blocks read the conditions, and
what each gives is added to the base's hidden states; the base stays frozen.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from realmaster.errors import ConfigError
from realmaster.models.loading import Models, check_checkpoint, load_parts
from realmaster.models.machine_options import apply_options, check_options, place
from realmaster.models.profiles import Profile, missing_remedy


def load_vace(profile: Profile, *, device: torch.device | str = "cpu") -> Models:
    """Load the models of a profile's part "vace" (`load_profile("nano/vace")`) and place them as its memory asks.

    Raises:
        MissingWeightsError: a part is missing. ConfigError: an option cannot work here, or the transformer has no
            control branch.
    """
    device, memory = torch.device(device), profile.memory
    check_options(profile, mode="off", device=device)
    check_checkpoint(profile)
    dtype = getattr(torch, memory.dtype)
    models = load_parts(
        profile.folder,
        transformer=profile.checkpoint.transformer,
        device=device,
        dtype=dtype,
        max_length=profile.text.max_length,
        drop_text_encoder=memory.drop_text_encoder,
        transformers_on_host=memory.offload != "none" or memory.layerwise_fp8,
        remedy=missing_remedy(profile),
    )
    if not hasattr(models.transformer, "vace_blocks"):
        raise ConfigError(
            f"{profile.folder / profile.checkpoint.transformer}: expected a transformer with a control branch, found "
            f"one without: name the folder of {profile.checkpoint.hub or 'a VACE checkpoint'}"
        )
    apply_options(models.autoencoder, models.experts, memory, device=device, dtype=dtype)
    models.swap = place(profile, models.experts, device=device)
    return models


def condition_channels(autoencoder: Any) -> int:
    """Channels of VACE's conditions: kept and changing latents, and the mask's pixels folded into channels."""
    config = autoencoder.config
    return 2 * int(config.z_dim) + int(config.scale_factor_spatial) ** 2


@torch.no_grad()
def grow_vace(base: Any, layers: Sequence[int], num_channels: int) -> Any:
    """Make diffusers' `WanVACETransformer3DModel` over a `WanTransformer3DModel`, which it equals until it is trained.

    `layers` are the base's blocks that get a hint, 0 among them; each copy begins as its block. The kept latents enter
    as the base's own do, so that anchors are read from the first step on; what goes out begins at zero.

    Raises:
        ConfigError: the base has no such blocks.
    """
    from diffusers import WanVACETransformer3DModel

    if 0 not in layers or max(layers) >= base.config.num_layers:
        raise ConfigError(
            f"expected layers with 0 among them and below {base.config.num_layers}, the blocks of this base, got "
            f"{list(layers)}: choose others"
        )
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
