"""A window's pieces laid out as the pipeline holds and computes them: memory by part and by stage, seconds by stage.

Separate from `plan`, which decides whether that fits and what helps. The stages are those of `pipelines/sampling.py`
and `pipelines/denoise.py` (prompts, encode, reference, denoise, decode) and
`pipelines/refine.py`: where those change, this changes.

Times are estimates: operations over the speed of a matrix product here and the share of it that models reach.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch

from realmaster.models.arithmetic import (
    NOTHING,
    Weights,
    Work,
    count_denoising,
    pinned_bytes,
    weigh_transformer,
)
from realmaster.models.arithmetic_parts import (
    count_decoding,
    count_encoding,
    count_refining,
    count_text,
    count_text_encoder,
    describe_autoencoder,
)
from realmaster.models.machine import GB
from realmaster.models.machine_options import check_divisible
from realmaster.models.metering import Cost
from realmaster.models.profiles import Profile
from realmaster.models.published import Parts, read_parts
from realmaster.types import LatentShape, VideoShape, round_up_frames

STORED = {"computed": None, "bfloat16": torch.bfloat16, "float8": torch.float8_e4m3fn}
RANK = 32  # of the adapter, where the profile's transformer does not read references itself
CPU_LIBRARIES_GB = 0.7  # resident before a model is loaded, measured with nano (docs/nano.md)
CUDA_CONTEXT_GB = 0.6  # CUDA's own, outside what torch's allocator counts: assumed, `make gpu` measures it
CPU_SHARE = 0.4  # speed of the models over that of a matrix product, measured with nano on 2 cores, 2026-11-21
# Published: Wan2.1-I2V-14B at 480p on an H100, 9.77 s a guided step in diffusers (LightX2V's README): 3.36 PFLOP, where
# a matrix product runs at 798 TFLOP/s. The float32 convolutions of the autoencoder are assumed at a quarter of that.
GPU_SHARE, GPU_AUTOENCODER_SHARE = 0.43, 0.11
HOST_LINK = 20e9  # bytes a second from pinned memory to a GPU over PCIe 4 x16, a common figure
SWAP_LINK = 8e9  # from pageable memory, where an expert that is swapped waits: assumed


@dataclass(frozen=True)
class Counts:
    """What a window costs, before any memory setting has its say."""

    parts: Parts
    window: VideoShape
    latents: LatentShape
    num_tokens: int
    num_reference_tokens: int
    text: Cost
    encode: Cost
    reference: Cost
    forward: Cost
    decode: Cost
    refine: Cost
    text_encoder_bytes: int
    autoencoder_bytes: int

    @property
    def work(self) -> Work:
        """Give the operations of a window by stage."""
        return Work(self.encode.flops, self.reference.flops, self.forward.flops, self.decode.flops, self.refine.flops)


def count_window(profile: Profile, clip: VideoShape) -> Counts:
    """Count a window of a clip at the model's size.

    Raises:
        ConfigError: the profile's sizes or window do not divide. MissingWeightsError: see `read_parts`.
    """
    parts, memory = read_parts(profile), profile.memory
    *strides, autoencoder_size = describe_autoencoder(parts.autoencoder)
    patch = tuple(parts.transformer["patch_size"])
    check_divisible(profile, time_stride=strides[0], space_stride=strides[1] * max(patch[1:]))
    window = _fit_window(profile, clip, strides[0], strides[1] * max(patch[1:]))
    latents = window.latents(time_stride=strides[0], space_stride=strides[1])
    scale = profile.reference.spatial_scale
    render = VideoShape(window.num_frames, *(-(-side // scale) for side in (window.height, window.width)))
    reference, forward = count_denoising(
        parts.transformer,
        latents,
        num_text_tokens=parts.num_text_tokens,
        mode=profile.reference.mode,
        spatial_scale=scale,
        dtype=memory.dtype,
        storage_dtype=STORED[memory.reference_cache.dtype],
    )
    num_tokens = latents.num_tokens((patch[0], patch[1], patch[2]))
    samples = 2 if profile.sampling.mirror else 1
    text_size = 4 if memory.dtype == "float32" else 2
    return Counts(
        parts=parts,
        window=window,
        latents=latents,
        num_tokens=num_tokens,
        num_reference_tokens=num_tokens // scale**2,
        text=count_text(parts.text_encoder, num_text_tokens=parts.num_text_tokens, num_prompts=3, dtype=memory.dtype),
        encode=_times(samples, count_encoding(parts.autoencoder, render, tiled=memory.vae_tiling)),
        reference=_times(samples, reference),
        forward=_times(samples, forward),
        decode=_times(samples * _decoded(profile), count_decoding(parts.autoencoder, window, tiled=memory.vae_tiling)),
        refine=_count_refining(profile, parts, clip, window),
        text_encoder_bytes=count_text_encoder(parts.text_encoder) * text_size,
        autoencoder_bytes=autoencoder_size * 4,
    )


@dataclass(frozen=True)
class Memory:
    """Bytes on the accelerator by part (the largest it gets) and by stage, and bytes of the host."""

    parts: dict[str, int]
    stages: dict[str, int]
    host: int

    @property
    def peak(self) -> int:
        """Bytes of the largest stage."""
        return max(self.stages.values())


def lay_out(profile: Profile, counts: Counts, weights: Weights, device: str, available_gb: float) -> Memory:
    """Lay the parts out over the stages, as the pipeline holds them: two experts together where all stages fit so."""
    together = _lay_out(profile, counts, weights, device, together=True)
    if profile.memory.offload == "experts" and together.peak > available_gb * GB:
        return _lay_out(profile, counts, weights, device, together=False)
    return together


def fit_together(profile: Profile, available_gb: float) -> bool:
    """Say whether both experts fit an accelerator at once, with all that a window of the profile's own size takes."""
    counts = count_window(profile, VideoShape(profile.window.num_frames, profile.size.height, profile.size.width))
    return _lay_out(profile, counts, weigh(profile, counts), "cuda", together=True).peak <= available_gb * GB


def _lay_out(profile: Profile, counts: Counts, weights: Weights, device: str, *, together: bool) -> Memory:
    memory, on_cpu = profile.memory, device == "cpu"
    base = int((CPU_LIBRARIES_GB if on_cpu else CUDA_CONTEXT_GB) * GB)
    everything = counts.parts.num_experts * weights.total
    cache = counts.reference.kept_bytes
    branches = 1 if memory.share_reference_between_guidance or profile.sampling.guidance_scale == 1 else 2
    cached = cache * branches
    if on_cpu or memory.offload == "none" or (memory.offload == "experts" and together):
        computing, idle = everything, everything
    elif memory.offload == "experts":
        computing, idle = weights.total, 0
    else:
        groups = memory.blocks_per_group * (2 if memory.offload_stream else 1)
        computing, idle = weights.outside_blocks + groups * weights.block, 0
    on_host = memory.reference_cache.device == "host" and not on_cpu
    layers = weights.num_blocks
    here = min(3, layers) * cached // layers if on_host else cached  # the last, the one in use, the next
    writing = counts.reference.peak_bytes - cache  # activations while the cache is being written
    text = counts.text_encoder_bytes
    kept_text = 0 if memory.drop_text_encoder else text
    frames = counts.window.num_frames * counts.window.height * counts.window.width * 3 * 4
    common = base + counts.autoencoder_bytes
    last = idle if memory.offload != "experts" else max(idle, computing)  # the last expert stays while frames come out
    stages = {
        "prompts": common + text + idle + counts.text.peak_bytes,
        "encode": common + kept_text + last + counts.encode.peak_bytes + frames,
        "reference": common + kept_text + computing + weights.largest_layer + here + max(writing, 0),
        "denoise": common + kept_text + computing + weights.largest_layer + here + counts.forward.peak_bytes,
        "decode": common + kept_text + last + counts.decode.peak_bytes,
    } | ({} if counts.refine is NOTHING else {"refine": common + kept_text + last + counts.refine.peak_bytes})
    if profile.reference.mode == "joint":
        del stages["reference"]
    parts = {
        "weights": computing,
        "reference cache": here,
        "activations": max(counts.forward.peak_bytes, max(writing, 0)) + weights.largest_layer,
        "autoencoder": counts.autoencoder_bytes,
        "autoencoder tile" if memory.vae_tiling else "autoencoder frames": max(
            counts.encode.peak_bytes + frames, counts.decode.peak_bytes
        ),
        "text encoder": text,
        "libraries" if on_cpu else "CUDA context": base,
    }
    host = 0
    if memory.offload != "none" and not on_cpu:
        on_stream = memory.offload == "group" and memory.offload_stream
        host += counts.parts.num_experts * weights.pinned if on_stream else everything
    if on_host:
        tensors = 2 * layers * branches  # keys and values
        host += tensors * pinned_bytes(cached // tensors)
    return Memory(parts, stages, host)


def weigh(profile: Profile, counts: Counts) -> Weights:
    """Weigh one expert with its adapter, as the profile keeps it."""
    rank = 0 if profile.checkpoint.folder is not None and profile.adapter_path is None else RANK
    memory = profile.memory
    return weigh_transformer(counts.parts.transformer, memory.dtype, layerwise_fp8=memory.layerwise_fp8, rank=rank)


def _times(number: int, cost: Cost) -> Cost:
    """Cost of so many samples at once: with `sampling.mirror` the window and its mirror image."""
    if number == 1 or cost is NOTHING:
        return cost
    return Cost(number * cost.flops, number * cost.peak_bytes, number * cost.kept_bytes)


def _decoded(profile: Profile) -> int:
    """How many clips are decoded: the render too, where the change between it and the translation is carried over."""
    return 1 if profile.transfer.channels == "pixels" or profile.refiner is not None else 2


def _count_refining(profile: Profile, parts: Parts, clip: VideoShape, window: VideoShape) -> Cost:
    if profile.refiner is None or parts.refiner is None:
        return NOTHING
    cost = count_refining(parts.refiner, VideoShape(window.num_frames, *profile.refiner.fit(clip.height, clip.width)))
    return replace(cost, flops=(2 if profile.sampling.mirror else 1) * cost.flops)  # one image after the other


def estimate_seconds(
    profile: Profile, counts: Counts, weights: Weights, num_windows: int, readings: int, forwards: int,
    device: str, flops: float,
) -> dict[str, float]:  # fmt: skip
    """Estimate the seconds of each stage of the clip; loading, the transfer and the files' frames are not in it."""
    on_cpu, memory = device == "cpu", profile.memory
    share, video = (CPU_SHARE, CPU_SHARE) if on_cpu else (GPU_SHARE, GPU_AUTOENCODER_SHARE)
    moved = 0.0
    if memory.offload == "group" and not on_cpu:
        moved += weights.num_blocks * weights.block
    if memory.reference_cache.device == "host" and not on_cpu:
        moved += counts.reference.kept_bytes
    waiting = moved / HOST_LINK  # a forward is no faster than what has to come from the host for it
    swaps = 0.0 if on_cpu or memory.offload != "experts" else counts.parts.num_experts * weights.total / SWAP_LINK
    return {
        "prompts": counts.text.flops / (flops * share),
        "encode": num_windows * counts.encode.flops / (flops * video),
        "reference": num_windows * (readings * max(counts.reference.flops / (flops * share), waiting) + swaps)
        if counts.reference is not NOTHING
        else num_windows * swaps,
        "denoise": num_windows * forwards * max(counts.forward.flops / (flops * share), waiting),
        "decode": num_windows * counts.decode.flops / (flops * video),
    } | ({} if counts.refine is NOTHING else {"refine": num_windows * counts.refine.flops / (flops * video)})


def _fit_window(profile: Profile, clip: VideoShape, time_stride: int, space_stride: int) -> VideoShape:
    """Size of a window: the model's number of pixels at the clip's aspect, in whole tokens, as translated."""
    size = profile.size.fit(clip.height, clip.width, stride=space_stride, shares=profile.memory.context_parallel)
    return VideoShape(min(profile.window.num_frames, round_up_frames(clip.num_frames, time_stride)), *size)


def count_windows(profile: Profile, num_frames: int) -> int:
    """Count the windows of a clip."""
    window = profile.window
    return 1 + -(-max(num_frames - window.num_frames, 0) // (window.num_frames - window.overlap))
