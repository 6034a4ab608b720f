"""The video autoencoder's causal 3-D convolutions as 2-D ones, for CPUs.

Separate because it changes speed and nothing else: on a CPU, PyTorch runs small 3-D convolutions on a slow path, and
the same sum written as one 2-D convolution over stacked frames takes the fast one. The stock module's weights, cache
and result stay what they are.

Letters: B batch, C channels, K kernel frames, F frames, H, W.
"""

from __future__ import annotations

from types import MethodType
from typing import Any

import torch
from diffusers.models.autoencoders.autoencoder_kl_wan import WanCausalConv3d
from torch import Tensor, nn
from torch.nn import functional


def use_planar_convolutions(model: nn.Module) -> None:
    """Let every causal convolution of a Wan autoencoder with time stride 1 run as a 2-D convolution.

    Equal to the stock forward up to the order of summation (1e-5 relative in float32).
    """
    for module in model.modules():
        if isinstance(module, WanCausalConv3d) and module.stride[0] == 1:
            module.forward = MethodType(_planar_forward, module)


def _planar_forward(conv: Any, x: Tensor, cache_x: Tensor | None = None) -> Tensor:
    """Convolve [B, C, F, H, W] causally: frame f sees frames f - K + 1 to f."""
    left, right, top, bottom, past, _ = conv._padding
    if cache_x is not None and past > 0:
        x = torch.cat([cache_x.to(x.device), x], dim=2)
        past -= cache_x.shape[2]
    if past > 0:
        x = functional.pad(x, (0, 0, 0, 0, past, 0))
    kernel_frames = conv.kernel_size[0]
    num_frames = x.shape[2] - kernel_frames + 1
    taps = torch.stack([x[:, :, k : k + num_frames] for k in range(kernel_frames)], dim=2)  # [B, C, K, F, H, W]
    planes = taps.permute(0, 3, 1, 2, 4, 5).flatten(2, 3).flatten(0, 1)  # [B F, C K, H, W]
    assert left == right
    assert top == bottom
    out = functional.conv2d(planes, conv.weight.flatten(1, 2), conv.bias, conv.stride[1:], padding=(top, left))
    return out.unflatten(0, (x.shape[0], num_frames)).transpose(1, 2)
