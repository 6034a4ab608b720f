"""The refiner: a small U-Net that draws a translated picture anew at a larger size, with the render beside it.

A toy autoencoder gives back blurs, and at a quarter of the input's pixels. What is fine in a photograph lies mostly
where it lies in the render too, so a convolutional net (diffusers `UNet2DModel`) that sees both can say it: joint
upsampling (Kopf et al., 2007), learnt. It is told neither the prompt nor the weather: light and colours are the
translation's.

Letters: B batch, H, W pixels of the larger size.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional, init

from realmaster.config import Settings

FOLD = 4
"""Pixels of a side that are folded into channels before the first layer: most work is done at the largest size."""


class RefinerSizes(Settings):
    """Sizes of a refiner."""

    widths: tuple[int, ...] = Field((32, 64, 96), min_length=2, description="channels at 1/4, 1/8, ... of the size")
    num_layers: int = Field(1, ge=1, description="residual blocks at each width, and one more on the way up")
    dropout: float = Field(0.05, ge=0, lt=1, description="share of what a block adds that is dropped in training")

    @field_validator("widths")
    @classmethod
    def _in_groups(cls, widths: tuple[int, ...]) -> tuple[int, ...]:
        if any(width < 8 or width % 8 for width in widths):
            raise ValueError(f"expected widths that 8 divides (groups of the norms), got {widths}")
        return widths

    def build(self) -> Any:
        """Make the untrained net, which leaves the picture as it is but for half of the render's finest detail."""
        from diffusers import UNet2DModel

        net: Any = UNet2DModel(
            in_channels=6 * FOLD**2,
            out_channels=3 * FOLD**2,
            block_out_channels=self.widths,
            layers_per_block=self.num_layers,
            down_block_types=("DownBlock2D",) * len(self.widths),
            up_block_types=("UpBlock2D",) * len(self.widths),
            norm_num_groups=8,
            add_attention=False,
            dropout=self.dropout,
        )
        init.zeros_(net.conv_out.weight)
        init.zeros_(net.conv_out.bias)
        return net


def refine(net: Any, render: Tensor, picture: Tensor) -> Tensor:
    """Draw a picture anew: all are [B, 3, H, W] in [-1, 1], the picture a translation enlarged to the render's size."""
    height, width = render.shape[2:]
    step = FOLD * 2 ** (len(net.config.block_out_channels) - 1)  # the fold, and the halvings
    both = torch.cat([render, picture], dim=1)
    both = functional.pad(both, (0, -width % step, 0, -height % step), mode="replicate")
    change = functional.pixel_shuffle(net(functional.pixel_unshuffle(both, FOLD), 0, return_dict=False)[0], FOLD)
    finest: Tensor = render - functional.avg_pool2d(render, 3, 1, 1, count_include_pad=False)
    return picture + 0.5 * finest + change[..., :height, :width]


def load_refiner(folder: Path) -> Any:
    """Load a trained refiner in float32.

    Raises:
        OSError, ValueError: there is none, or its files do not fit each other.
    """
    from diffusers import UNet2DModel

    net: Any = UNet2DModel.from_pretrained(folder, torch_dtype=torch.float32)
    expected, found = (6 * FOLD**2, 3 * FOLD**2), (net.config.in_channels, net.config.out_channels)
    if found != expected:
        raise ValueError(f"expected a refiner of {expected} channels, {folder.name} has {found}")
    return net.requires_grad_(False).eval()


def to_tensor(frames: npt.NDArray[np.uint8], device: torch.device) -> Tensor:
    """Bring frames uint8 [B, H, W, 3] to [B, 3, H, W] in [-1, 1]."""
    return torch.from_numpy(np.ascontiguousarray(frames)).to(device).permute(0, 3, 1, 2).float() / 127.5 - 1
