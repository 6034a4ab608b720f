"""Load somebody's pipeline of diffusers from a folder, put it where it computes, and turn frames into its arguments.

Separate because Lucy-Edit, Cosmos-Transfer and Ditto differ in what they are told, not in how they come from the
disk. Nothing is fetched and nothing but safetensors is read. Not run on a GPU by this project yet.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from safetensors import SafetensorError

from realmaster.errors import ConfigError, MissingWeightsError, NumericalError
from realmaster.evaluation.baselines.baseline import BaselineSettings, Frames
from realmaster.models.causal_conv import use_planar_convolutions
from realmaster.models.text import encode_prompts


class StockSettings(BaselineSettings):
    """Where a pipeline is, and how it computes."""

    model_dir: Path | None = Field(None, description="folder of the checkpoint in diffusers' layout")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("bfloat16", description="of transformer and text encoder")
    offload: Literal["none", "model", "sequential"] = Field(
        "none", description="keep parts in host memory: a whole model at a time, or layer by layer"
    )
    vae_tiling: bool = Field(True, description="decode in tiles, which takes less memory")


def load_stock(
    pipeline: Any,
    folder: Path,
    settings: StockSettings,
    *,
    device: str,
    remedy: str,
    parts: Mapping[str, Any] | None = None,
) -> Any:
    """Load a class of diffusers' pipelines from a folder, its autoencoder in float32.

    Raises:
        MissingWeightsError: a part is not there or cannot be read.
        ConfigError: the folder holds another pipeline, or offload is asked for without a GPU.
    """
    from diffusers import AutoencoderKLWan

    if settings.offload != "none" and not device.startswith("cuda"):
        raise ConfigError(f"expected offload none on {device}, got {settings.offload}: it moves parts to a GPU")
    index = folder / "model_index.json"
    try:
        name = json.loads(index.read_text(encoding="utf-8"))["_class_name"]
        if name != pipeline.__name__:
            raise ConfigError(f"{index}: expected a checkpoint of {pipeline.__name__}, found one of {name}: {remedy}")
        with _no_bars():
            autoencoder = AutoencoderKLWan.from_pretrained(
                folder / "vae", torch_dtype=torch.float32, use_safetensors=True
            )
            loaded = pipeline.from_pretrained(
                str(folder),
                vae=autoencoder,
                dtype=getattr(torch, settings.dtype),
                local_files_only=True,
                use_safetensors=True,
                **(parts or {}),
            )
    except (OSError, ValueError, KeyError, TypeError, AttributeError, SafetensorError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MissingWeightsError(
            f"{folder}: expected whole weights, could not read them ({reason}): {remedy}"
        ) from error
    loaded.set_progress_bar_config(disable=True)
    if settings.vae_tiling:
        loaded.vae.enable_tiling()
    if device == "cpu":
        use_planar_convolutions(loaded.vae)
    place(loaded, settings, device)
    return loaded


def place(pipeline: Any, settings: StockSettings, device: str) -> None:
    """Put a pipeline on a device, or let diffusers move its parts as they are used."""
    if settings.offload == "none":
        pipeline.to(device)
    elif settings.offload == "model":
        pipeline.enable_model_cpu_offload(device=device)
    else:
        pipeline.enable_sequential_cpu_offload(device=device)


def as_images(frames: Frames) -> list[Any]:
    """Give frames uint8 [F, H, W, 3] as diffusers takes them: a list of images."""
    from PIL import Image

    return [Image.fromarray(frame) for frame in frames]


def as_frames(video: Any) -> Frames:
    """Give what a pipeline returned, float [F, H, W, 3] in [0, 1], as uint8 frames.

    Raises:
        NumericalError: there is NaN or infinity in it.
    """
    values = np.asarray(video, np.float32)
    if not np.isfinite(values).all():
        raise NumericalError(
            "expected finite frames from the model, got NaN or infinity: run in float32 (dtype=float32)"
        )
    return np.rint(np.clip(values, 0.0, 1.0) * 255.0).astype(np.uint8)


def edit_video(
    pipeline: Any,
    frames: Frames,
    texts: Mapping[str, Any],
    *,
    num_inference_steps: int,
    guidance_scale: float,
    seed: int,
) -> Frames:
    """Call a pipeline that takes a video and gives one: uint8 [F, H, W, 3] to the same shape."""
    made = pipeline(
        video=as_images(frames),
        height=frames.shape[1],
        width=frames.shape[2],
        num_frames=len(frames),
        num_inference_steps=num_inference_steps,
        guidance_scale=guidance_scale,
        generator=generator_of(seed),
        **texts,
    )
    return as_frames(made.frames[0])


def generator_of(seed: int) -> torch.Generator:
    """Draw noise on the CPU, so that a seed means the same on every device."""
    return torch.Generator("cpu").manual_seed(seed)


@torch.no_grad()
def embeddings_of(pipeline: Any, prompt: str, negative: str, *, guided: bool, max_length: int = 512) -> dict[str, Any]:
    """Encode prompts as Wan's pipelines do, but for a package (ftfy) that mends broken letters.

    Gives prompt_embeds and negative_prompt_embeds [1, L, D]; the latter None without guidance.
    """
    texts = [prompt, negative] if guided else [prompt]
    encoded = [
        encode_prompts(pipeline.tokenizer, pipeline.text_encoder, [text], max_length=max_length).to(
            pipeline._execution_device
        )
        for text in texts
    ]
    return {"prompt_embeds": encoded[0], "negative_prompt_embeds": encoded[1] if guided else None}


@contextmanager
def _no_bars() -> Iterator[None]:
    """Keep the libraries' own progress bars off the terminal: only the command line prints."""
    from diffusers.utils import logging as diffusers_logging
    from transformers.utils import logging as transformers_logging

    shown = [library for library in (diffusers_logging, transformers_logging) if library.is_progress_bar_enabled()]
    for library in shown:
        library.disable_progress_bar()
    try:
        yield
    finally:
        for library in shown:
            library.enable_progress_bar()
