"""Count what a window costs, piece by piece, without computing anything: operations, memory at the peak, memory kept.

Separate because it asks only for settings and sizes: models are built on torch's meta device and their own code is run
there under the meter (`metering`), so that what is counted is what would run. Costs grow linearly with the number of
blocks: two small counts give the large one, exactly. Autoencoder and text encoder are counted in `arithmetic_parts`.

Letters: B batch, C channels, F frames, H, W, N tokens, D width, L layers.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from functools import wraps
from typing import Any, Literal, ParamSpec, TypeVar

import torch
from torch import Tensor, nn

from realmaster.models.adapter import TARGETS, add_lora
from realmaster.models.metering import Cost, meter
from realmaster.models.reference import ReferenceAttention, joint_velocity
from realmaster.models.reference_grid import no_reference
from realmaster.models.reference_one_way import OneWayReading
from realmaster.types import LatentShape

Mode = Literal["cached", "joint"]
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NOTHING = Cost(0.0, 0, 0)
P = ParamSpec("P")
R = TypeVar("R")


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Count the same thing once only: profiles share parts, and a plan asks again under other memory settings."""
    known: dict[str, R] = {}

    @wraps(function)
    def ask(*arguments: P.args, **keywords: P.kwargs) -> R:
        key = json.dumps([arguments, keywords], sort_keys=True, default=str)
        if key not in known:
            known[key] = function(*arguments, **keywords)
        return known[key]

    return ask


@dataclass(frozen=True)
class Work:
    """Floating-point operations of one window, by stage; `step` is one forward of one guidance branch."""

    encode: float
    reference: float
    step: float
    decode: float
    refine: float = 0.0

    def total(self, *, num_steps: int, num_branches: int, num_references: int) -> float:
        """Sum up a window: `num_branches` is 2 under guidance, `num_references` counts the reference's passes."""
        steps = num_references * self.reference + num_branches * num_steps * self.step
        return self.encode + steps + self.decode + self.refine


@dataclass(frozen=True)
class Weights:
    """Bytes of a transformer's weights: all, one block's, and the largest layer's in the computing dtype.

    `pinned` is what all of them take in pinned host memory.
    """

    total: int
    block: int
    num_blocks: int
    largest_layer: int
    pinned: int

    @property
    def outside_blocks(self) -> int:
        """Bytes of embeddings and output layers."""
        return self.total - self.num_blocks * self.block


@remembered
def count_denoising(
    config: Mapping[str, Any],
    latents: LatentShape,
    *,
    num_text_tokens: int,
    mode: Mode,
    spatial_scale: int = 1,
    dtype: str = "float32",
    storage_dtype: torch.dtype | None = None,
) -> tuple[Cost, Cost]:
    """Count the reference pass (nothing in joint mode) and one denoising forward with the reference.

    The reference pass keeps its keys and values; in fp8 they are counted as stored.
    """
    one, two = (
        _denoise_at_depth(config, layers, latents, num_text_tokens, mode, spatial_scale, dtype, storage_dtype)
        for layers in (1, 2)
    )
    depth = int(config["num_layers"])
    return extend(one[0], two[0], depth - 1), extend(one[1], two[1], depth - 1)


@remembered
def count_plain(
    config: Mapping[str, Any], latents: LatentShape, *, num_text_tokens: int, dtype: str = "float32"
) -> Cost:
    """Count one forward without a reference."""

    def at(layers: int) -> Cost:
        model = build_transformer(config, dtype, num_layers=layers)
        noisy, text = _inputs(config, latents, num_text_tokens, dtype)
        timesteps = torch.zeros(1, device="meta")
        with torch.no_grad():
            return meter(lambda: model(noisy, timestep=timesteps, encoder_hidden_states=text).sample)[1]

    return extend(at(1), at(2), int(config["num_layers"]) - 1)


@remembered
def count_training_step(
    config: Mapping[str, Any],
    latents: LatentShape,
    *,
    num_text_tokens: int,
    mode: Mode | None,
    spatial_scale: int = 1,
    adapted_reference: bool = True,
    rank: int = 32,
    batch_size: int = 1,
    gradient_checkpointing: bool = True,
    dtype: str = "bfloat16",
) -> Cost:
    """Count forward and backward of one training step of a LoRA; `mode` None is without a reference.

    The LoRA is counted in `dtype`; its gradients are what the step keeps. `adapted_reference` False leaves the LoRA off
    in the cached reference's own stream, which then is read first and needs no gradient; else both streams go through
    the blocks together, as they are trained.
    """

    def at(layers: int) -> Cost:
        model = build_transformer(config, dtype, num_layers=layers)
        add_lora(model, rank=rank)
        model.train()
        if gradient_checkpointing:
            model.enable_gradient_checkpointing()
        noisy, text = _inputs(config, latents, num_text_tokens, dtype, batch_size)
        reference = _inputs(config, _scaled(latents, spatial_scale), num_text_tokens, dtype, batch_size)[0]
        timesteps = torch.zeros(batch_size, device="meta")

        def predict() -> Tensor:
            if mode == "joint":
                return joint_velocity(model, noisy, reference, timesteps, text, spatial_scale=spatial_scale)
            if mode is None:
                return model(noisy, timestep=timesteps, encoder_hidden_states=text, return_dict=False)[0]
            if adapted_reference:
                return reading.velocity(noisy, reference, timesteps, text, text, spatial_scale=spatial_scale)
            with torch.no_grad():
                cache = reading.encode(reference, text, spatial_scale=spatial_scale)
            return reading.denoise(noisy, timesteps, text, cache)

        reading: Any = nullcontext()
        if mode == "cached":
            reading = OneWayReading(model) if adapted_reference else ReferenceAttention(model)
        with reading:
            return meter(lambda: predict().float().square().mean().backward())[1]

    return extend(
        at(2), at(3), int(config["num_layers"]) - 2
    )  # the first block's input needs no gradient: begin at two


def build_transformer(config: Mapping[str, Any], dtype: str, **changes: Any) -> Any:
    """Build a Wan transformer on the meta device, frozen; what diffusers keeps in float32 is in float32.

    Raises:
        ConfigError: the settings are those of another transformer, which reads no reference.
    """
    from diffusers import WanTransformer3DModel

    name = config.get("_class_name", WanTransformer3DModel.__name__)
    if name != WanTransformer3DModel.__name__:
        raise no_reference(name)
    with building(dtype):
        model = WanTransformer3DModel(**{**config, **changes}).eval().requires_grad_(False)
    return keep_float32(model)


def keep_float32(model: Any) -> Any:
    """Bring to float32 what diffusers keeps in it whatever the model's precision: rotary tables, norms, time."""
    kept = set(model._keep_in_fp32_modules or ())
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if kept & set(name.split(".")):
            tensor.data = tensor.data.float()
    return model


@remembered
def weigh_transformer(config: Mapping[str, Any], dtype: str, *, layerwise_fp8: bool, rank: int = 0) -> Weights:
    """Weigh a transformer as it is kept: in `dtype`, in float8 where diffusers' layerwise casting puts it, with a LoRA.

    The LoRA is counted in `dtype`.
    """
    from diffusers.hooks.layerwise_casting import DEFAULT_SKIP_MODULES_PATTERN

    model = build_transformer(config, dtype)
    size = torch.empty((), dtype=DTYPES[dtype]).element_size()
    skipped = [*DEFAULT_SKIP_MODULES_PATTERN, *(model._skip_layerwise_casting_patterns or ())]
    stored, largest = dict[str, list[int]](), 0
    for name, module in model.named_modules():
        own = [tensor.nbytes for tensor in (*module.parameters(False), *module.buffers(False))]
        cast = layerwise_fp8 and isinstance(module, nn.Linear) and not any(re.search(part, name) for part in skipped)
        stored[name] = [count // size for count in own] if cast else own
        largest = max(largest, sum(own) if cast else 0)
        if rank and isinstance(module, nn.Linear) and _has_lora(name):
            stored[name] += [rank * features * size for features in (module.in_features, module.out_features)]
    every = [count for counts in stored.values() for count in counts]
    block = sum(sum(counts) for name, counts in stored.items() if f"{name}.".startswith("blocks.0."))
    return Weights(sum(every), block, int(config["num_layers"]), largest, sum(map(pinned_bytes, every)))


def pinned_bytes(size: int) -> int:
    """Bytes that a tensor takes in pinned host memory: torch's allocator there gives powers of two."""
    return 1 << (size - 1).bit_length() if size else 0


def count_parameters(model: nn.Module) -> int:
    """Count a model's parameters, a shared one once."""
    return sum(parameter.numel() for parameter in model.parameters())


def _denoise_at_depth(
    config: Mapping[str, Any], layers: int, latents: LatentShape, num_text_tokens: int, mode: Mode, scale: int,
    dtype: str, storage_dtype: torch.dtype | None,
) -> tuple[Cost, Cost]:  # fmt: skip
    model = build_transformer(config, dtype, num_layers=layers)
    noisy, text = _inputs(config, latents, num_text_tokens, dtype)
    reference, _ = _inputs(config, _scaled(latents, scale), num_text_tokens, dtype)
    timesteps = torch.zeros(1, device="meta")
    with torch.no_grad():
        if mode == "joint":
            call = lambda: joint_velocity(model, noisy, reference, timesteps, text, spatial_scale=scale)  # noqa: E731
            return NOTHING, meter(call)[1]
        with ReferenceAttention(model, storage_dtype=storage_dtype) as attention:
            cache, first = meter(lambda: attention.encode(reference, text, spatial_scale=scale))
            return first, meter(lambda: attention.denoise(noisy, timesteps, text, cache))[1]


def _inputs(
    config: Mapping[str, Any], latents: LatentShape, num_text_tokens: int, dtype: str, batch_size: int = 1
) -> tuple[Tensor, Tensor]:
    place: dict[str, Any] = {"device": "meta", "dtype": DTYPES[dtype]}
    size = latents.num_frames, latents.height, latents.width
    noisy = torch.empty(batch_size, config["in_channels"], *size, **place)
    return noisy, torch.empty(batch_size, num_text_tokens, config["text_dim"], **place)


def _scaled(latents: LatentShape, scale: int) -> LatentShape:
    """Give the reference's size: half the tokens along each side at scale 2, whole patches of 2."""
    if scale == 1:
        return latents
    height, width = (-(-side // (2 * scale)) * 2 for side in (latents.height, latents.width))
    return LatentShape(latents.num_frames, height, width)


def extend(first: Cost, second: Cost, count: int) -> Cost:
    """Give the cost `count` equal steps beyond `first`, of which `second` is the first."""

    def at(a: int, b: int) -> int:
        return a + count * (b - a)

    return Cost(
        first.flops + count * (second.flops - first.flops),
        at(first.peak_bytes, second.peak_bytes),
        at(first.kept_bytes, second.kept_bytes),
    )


def _has_lora(name: str) -> bool:
    return name.endswith(tuple(f".{target}" for target in TARGETS))


@contextmanager
def building(dtype: str) -> Iterator[None]:
    """Build modules on the meta device in a precision, as loading does: tables that ask for their own keep it."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(DTYPES[dtype])
    try:
        with torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(before)
