"""What a reference costs: seconds per denoising forward of the plain model, with a cached and with a joint reference.

    python benchmarks/reference.py                            nano's sizes and window on this CPU
    python benchmarks/reference.py --device cuda              one expert of Wan2.2-T2V-A14B, random weights, bfloat16
    python benchmarks/reference.py --device cuda --storage-device host --storage-dtype fp8

Weights are random: time does not depend on them. The ways alternate, so that a change of the machine's load meets all
of them; medians are printed and kept. On a CPU the ratios are those of processor seconds, which other programs on the
machine disturb least; on a GPU those of wall seconds. Writes a dated file into benchmarks/results/.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import PRECISIONS, RESULTS, build, describe_place, keep, timed
from diffusers import WanTransformer3DModel

from realmaster.models.profiles import load_profile
from realmaster.models.reference import ReferenceAttention, ReferenceCache, joint_velocity
from realmaster.types import VideoShape

CACHED_TO_PLAIN, JOINT_TO_CACHED = 1.5, 1.8  # at most, at least
STORED = {"computed": None, "bf16": torch.bfloat16, "fp8": torch.float8_e4m3fn}
SIZES = {  # the transformer's settings that can be changed from the command line, and how many numbers they take
    "num_attention_heads": None,
    "attention_head_dim": None,
    "num_layers": None,
    "ffn_dim": None,
    "patch_size": 3,
}


@dataclass(frozen=True)
class Model:
    """A transformer to time and the clip it is timed on."""

    config: dict[str, Any]
    space_stride: int
    text_tokens: int
    width: int
    height: int
    num_frames: int
    dtype: str


def nano() -> Model:
    """The embedded model at the size and on the window of its profile."""
    profile = load_profile("nano")
    config = read_json(profile.folder / profile.checkpoint.transformer / "config.json")
    stride = read_json(profile.folder / "vae" / "config.json")["scale_factor_spatial"]
    text_tokens = read_json(profile.folder / "tokenizer" / "tokenizer_config.json")["model_max_length"]
    sizes = {key: value for key, value in config.items() if not key.startswith("_")}
    size, window = profile.size, profile.window
    return Model(sizes, stride, text_tokens, size.width, size.height, window.num_frames, "float32")


def read_json(path: Path) -> dict[str, Any]:
    settings: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return settings


MODELS: dict[str, Callable[[], Model]] = {
    "nano": nano,
    "wan2.1-1.3b": lambda: Model(
        {"num_attention_heads": 12, "ffn_dim": 8960, "num_layers": 30}, 8, 512, 832, 480, 81, "bfloat16"
    ),
    "wan2.2-a14b": lambda: Model({}, 8, 512, 832, 480, 81, "bfloat16"),  # the defaults of the class
}


def main(words: list[str] | None = None) -> None:
    options = parse(words)
    name = options.model or ("nano" if options.device == "cpu" else "wan2.2-a14b")
    model = MODELS[name]()
    if options.threads:
        torch.set_num_threads(options.threads)
    dtype = PRECISIONS[options.dtype or model.dtype]
    changes = {key: getattr(options, key) for key in SIZES if getattr(options, key) is not None}
    transformer = build({**model.config, **changes}, torch.device(options.device), dtype)
    changed = {
        "resized": changes or options.space_stride or options.width or options.height or options.frames,
        f"scale{options.spatial_scale}": options.spatial_scale != 1,
        options.storage_dtype: options.storage_dtype != "computed",
        options.storage_device: options.storage_device != "model",
    }
    name = "-".join([name, *(word for word, is_so in changed.items() if is_so)])
    lengths = options.frames or [model.num_frames]
    cases = [measure(transformer, model, num_frames, dtype, options) for num_frames in lengths]
    for case in cases:
        show(name, case)
    print(f"kept in {write(name, cases, dtype, options)}")


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--model", choices=MODELS, help="default: nano on a CPU, wan2.2-a14b on a GPU")
    parser.add_argument("--dtype", choices=PRECISIONS, help="default: the model's")
    parser.add_argument(
        "--frames", type=int, nargs="+", help="pixel frames of each clip, 4 n + 1; default: the model's"
    )
    parser.add_argument("--width", type=int, help="pixels; default: the model's")
    parser.add_argument("--height", type=int, help="pixels; default: the model's")
    parser.add_argument("--space-stride", type=int, help="pixels a latent pixel covers; default: the model's")
    for key, count in SIZES.items():
        parser.add_argument(f"--{key.replace('_', '-')}", type=int, nargs=count, help="default: the model's")
    parser.add_argument("--spatial-scale", type=int, default=1, help="2: a reference of half the size")
    parser.add_argument("--storage-dtype", choices=STORED, default="computed", help="how the cache is kept")
    parser.add_argument("--storage-device", choices=["model", "host"], default="model", help="where the cache is kept")
    parser.add_argument("--repeats", type=int, default=5, help="rounds after one that is thrown away")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's choice")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result file")
    return parser.parse_args(words)


@torch.no_grad()
def measure(
    transformer: WanTransformer3DModel, model: Model, num_frames: int, dtype: torch.dtype, options: argparse.Namespace
) -> dict[str, Any]:
    """Time the ways at one length, one after the other in every round."""
    config, place = transformer.config, {"device": options.device, "dtype": dtype}
    shape = VideoShape(num_frames, options.height or model.height, options.width or model.width)
    size = shape.latents(time_stride=4, space_stride=options.space_stride or model.space_stride)
    noisy = torch.randn(1, config.in_channels, size.num_frames, size.height, size.width, **place)
    step = options.spatial_scale * config.patch_size[1]
    half = [-(-side // step) * config.patch_size[1] for side in (size.height, size.width)]
    reference = torch.randn(1, config.in_channels, size.num_frames, *half, **place)
    words = torch.randn(1, model.text_tokens, config.text_dim, **place)
    timesteps = torch.tensor([500.0], device=options.device)
    scale = {"spatial_scale": options.spatial_scale}

    attention = ReferenceAttention(
        transformer, storage_dtype=STORED[options.storage_dtype], storage_device=options.storage_device
    )
    held: list[ReferenceCache] = []

    def encode() -> None:
        held.clear()  # two caches of the large model do not fit a GPU
        held.append(attention.encode(reference, words, **scale))

    ways = {
        "reference pass": encode,
        "plain": lambda: attention.denoise(noisy, timesteps, words, None),
        "cached": lambda: attention.denoise(noisy, timesteps, words, held[0]),
        "joint": lambda: joint_velocity(transformer, noisy, reference, timesteps, words, **scale),
    }
    with attention:
        rounds = [
            {way: timed(forward, options.device) for way, forward in ways.items()} for _ in range(options.repeats + 1)
        ]
    seconds = {
        way: {clock: statistics.median(turn[way][clock] for turn in rounds[1:]) for clock in rounds[0][way]}
        for way in ways
    }
    clock = "processor" if options.device == "cpu" else "wall"
    ratios = {
        "cached_to_plain": seconds["cached"][clock] / seconds["plain"][clock],
        "joint_to_cached": seconds["joint"][clock] / seconds["cached"][clock],
    }
    return {
        "num_frames": num_frames,
        "height": shape.height,
        "width": shape.width,
        "transformer": {key: config[key] for key in SIZES},
        "num_tokens": size.num_tokens(tuple(config.patch_size)),
        "cache_gb": held[0].nbytes / 1e9,
        "seconds": seconds,
        "ratios": ratios,
        "bound": arithmetic(config, size.num_tokens(tuple(config.patch_size)), options.spatial_scale),
    }


def arithmetic(config: Any, num_tokens: int, spatial_scale: int) -> dict[str, float]:
    """The ratios if only multiplications counted: attention grows with what a token sees, the rest does not."""
    width = config.num_attention_heads * config.attention_head_dim
    rest = 6 * width**2 + 2 * width * config.ffn_dim  # q, k, v, o, and q, o of the text; both feed-forward layers
    seen, reference = 2 * width * num_tokens, 1 / spatial_scale**2
    plain, cached = rest + seen, rest + seen * (1 + reference)
    return {"cached_to_plain": cached / plain, "joint_to_cached": 1 + reference}


def show(name: str, case: dict[str, Any]) -> None:
    print(
        f"\n{name}, {case['width']}x{case['height']}, {case['num_frames']} frames = {case['num_tokens']} tokens, "
        f"cache {case['cache_gb']:.3f} GB"
    )
    for way, clocks in case["seconds"].items():
        print(f"  {way:15}" + "".join(f"{value:10.3f} {unit(clock)}" for clock, value in clocks.items()))
    ratios, bound = case["ratios"], case["bound"]
    print(
        f"  cached / plain {ratios['cached_to_plain']:.2f} (multiplications alone {bound['cached_to_plain']:.2f}), "
        f"joint / cached {ratios['joint_to_cached']:.2f} (multiplications alone {bound['joint_to_cached']:.2f})"
    )
    if bound["joint_to_cached"] == 2:  # a reference of full size
        met = ratios["cached_to_plain"] <= CACHED_TO_PLAIN and ratios["joint_to_cached"] >= JOINT_TO_CACHED
        verdict = "met" if met else "NOT met"
        print(f"  expected of a window: at most {CACHED_TO_PLAIN} and at least {JOINT_TO_CACHED}: {verdict}")


def unit(clock: str) -> str:
    return {"wall": "s", "processor": "s of processor", "peak_gb": "GB at peak"}[clock]


def write(name: str, cases: list[dict[str, Any]], dtype: torch.dtype, options: argparse.Namespace) -> Path:
    """Keep what was measured, with where and how."""
    result = {
        "benchmark": "reference",
        **describe_place(options.device),
        "settings": {
            "model": name,
            "dtype": str(dtype).removeprefix("torch."),
            "spatial_scale": options.spatial_scale,
            "storage_dtype": options.storage_dtype,
            "storage_device": options.storage_device,
            "repeats": options.repeats,
            "ratios_of": "processor seconds" if options.device == "cpu" else "wall seconds",
        },
        "cases": cases,
    }
    return keep(result, options.output, f"reference-{name}-{options.device.replace(':', '')}")


if __name__ == "__main__":
    main()
