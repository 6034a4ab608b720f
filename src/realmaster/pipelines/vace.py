"""VACE's conditions, and diffusers' own pipeline around a profile's parts.

Separate from the propagator, which cuts clips and keeps books: here is what the released weights expect, and training
encodes with the same lines. The conventions (arXiv 2503.07598; the official code; field practice):

- the frames are the anchors where there are some, the control elsewhere, mid-grey where there is neither;
- the mask is black at anchors, which are kept, and white elsewhere;
- kept frames go to the inactive latents, all others to the reactive ones, grey in each other's place. Shrunk in time,
  the mask never meets a single anchor frame: it is all ones, and anchors are known by the inactive latents.

Letters: F frames, H, W pixels; C condition channels; latents [1, C, F', H', W'].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from realmaster.models.loading import Models

Frames = npt.NDArray[np.uint8]
GREY = 128  # as the field's pictures have it; the official code's 0 in [-1, 1] lies half a level below


def arrange_conditions(shape: tuple[int, ...], anchors: Mapping[int, Frames], control: Frames | None) -> Frames:
    """Lay anchors into the control video, or into grey: uint8 of `shape` [F, H, W, 3]."""
    frames = np.full(shape, GREY, np.uint8) if control is None else control.copy()
    for index, anchor in anchors.items():
        frames[index] = anchor
    return frames


def mask_conditions(shape: tuple[int, ...], anchors: Mapping[int, Frames]) -> Frames:
    """Paint the mask: uint8 of `shape` [F, H, W, 3], 0 at anchors, 255 elsewhere."""
    mask = np.full(shape, 255, np.uint8)
    for index in anchors:
        mask[index] = 0
    return mask


def build_vace_pipeline(models: Models, scheduler: Any) -> Any:
    """Put diffusers' `WanVACEPipeline` around loaded parts, whose transformer is a VACE transformer.

    Prompts reach it encoded: the text encoder may be gone by then. The strides come from the autoencoder's settings, as
    diffusers' `WanPipeline` takes them; its VACE pipeline counts stages instead, which is wrong for autoencoders that
    fold patches, such as nano's.
    """
    from diffusers import WanVACEPipeline
    from diffusers.video_processor import VideoProcessor

    pipeline = WanVACEPipeline(
        tokenizer=None,
        text_encoder=None,
        vae=models.autoencoder,
        scheduler=scheduler,
        transformer=models.transformer,
    )
    pipeline.vae_scale_factor_temporal = models.time_stride
    pipeline.vae_scale_factor_spatial = models.autoencoder.config.scale_factor_spatial
    pipeline.video_processor = VideoProcessor(vae_scale_factor=pipeline.vae_scale_factor_spatial)
    pipeline.set_progress_bar_config(disable=True)
    return pipeline


def as_pictures(frames: Frames) -> list[Any]:
    """Make the pictures that diffusers' pipelines take."""
    from PIL import Image

    return [Image.fromarray(frame) for frame in frames]


@torch.no_grad()
def encode_conditions(pipeline: Any, frames: Frames, mask: Frames) -> Tensor:
    """Encode arranged frames and their mask as the pipeline itself does: [1, C, F', H', W'], float32."""
    num_frames, height, width = frames.shape[:3]
    device = pipeline.vae.device
    video, painted, references = pipeline.preprocess_conditions(
        as_pictures(frames), as_pictures(mask), None, 1, height, width, num_frames, torch.float32, device
    )
    latents = pipeline.prepare_video_latents(video, painted, references, None, device)
    conditions: Tensor = torch.cat([latents, pipeline.prepare_masks(painted, references)], dim=1)
    return conditions
