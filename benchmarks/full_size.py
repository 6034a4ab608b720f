"""What the full size costs: seconds and peak memory of forwards and training steps, random weights, 832x480x81.

    python benchmarks/full_size.py --device cuda                      one expert of Wan2.2-T2V-A14B, bfloat16
    python benchmarks/full_size.py --device cuda --budget 900         stop beginning cases after 15 minutes
    python benchmarks/full_size.py --device cuda --cases 'forward *'  some cases; --list names all
    python benchmarks/full_size.py                                    reduced width on this CPU, the same ratios
    python benchmarks/full_size.py --device virtual                   full size, no GPU: what is allocated, no time

The forwards: diffusers' own text-to-video, joint by naive concatenation (reference and noisy frames in one sequence,
timesteps by diffusers' per-token path), our joint, our cached; the training steps of the same, through the trainer's
own step. Each case builds its own model, so that one that runs out of memory is recorded and the rest go on; the result
file is written again after every case, and cases of one day and one setting come together in one file. Beside each
measured peak stands what `realmaster plan` counts for it.

On the virtual device (`common/virtual_cuda.py`) every case runs as on a GPU, on shapes alone. On a CPU width and tokens
shrink together, so that attention keeps its share of the work (0.53) and with it the ratios.
"""

from __future__ import annotations

import argparse
import fnmatch
import gc
import json
import statistics
import time
from collections.abc import Callable
from contextlib import ExitStack, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from common import PRECISIONS, RESULTS, build, describe_place, keep, timed
from common.virtual_cuda import virtual_cuda
from diffusers import AutoencoderKLWan

from realmaster.models.adapter import add_lora
from realmaster.models.arithmetic import count_denoising, count_plain, count_training_step, weigh_transformer
from realmaster.models.published import AUTOENCODER, WAN_14B
from realmaster.models.reference import ReferenceAttention, joint_velocity
from realmaster.types import LatentShape, VideoShape

TO_REACH = {  # what the project set itself, on one H100
    "cached_to_plain": ("at most", 1.6),
    "cached_to_naive_joint": ("at most", 0.55),
    "four_steps_seconds": ("at most", 30.0),
    "forty_guided_steps_seconds": ("at most", 360.0),
    "training_step_seconds": ("at most", 35.0),
}
REDUCED = {**WAN_14B, "num_attention_heads": 2, "attention_head_dim": 64, "ffn_dim": 344, "num_layers": 2}
REDUCED_VIDEO = VideoShape(num_frames=9, height=208, width=336)  # 819 tokens: 1/40, for 1/40 of the width
FULL_VIDEO = VideoShape(num_frames=81, height=480, width=832)
FP8 = torch.float8_e4m3fn
SECONDS = {"cpu": "medians; ratios of processor seconds", "cuda": "medians of the clock", "virtual": "none"}


@dataclass(frozen=True)
class Setup:
    """What every case is measured on."""

    config: dict[str, Any]
    autoencoder: dict[str, Any]
    video: VideoShape
    device: str
    dtype: torch.dtype
    num_text_tokens: int
    rank: int

    @property
    def latents(self) -> LatentShape:
        """Size of the latents."""
        return self.video.latents(time_stride=4, space_stride=8)

    def randn(self, *shape: int) -> torch.Tensor:
        """Random numbers where and as the transformer takes them."""
        return torch.randn(*shape, device=self.device, dtype=self.dtype)

    def inputs(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Noisy latents, reference latents, timesteps and text."""
        size = self.latents.num_frames, self.latents.height, self.latents.width
        noisy, reference = (self.randn(1, self.config["in_channels"], *size) for _ in range(2))
        text = self.randn(1, self.num_text_tokens, self.config["text_dim"])
        return noisy, reference, torch.tensor([500.0], device=self.device), text


@dataclass(frozen=True)
class Case:
    """One thing to measure: `prepare` gives the calls to time by name, and what to leave when done."""

    name: str
    prepare: Callable[[Setup, ExitStack], dict[str, Callable[[], object]]]
    planned_gb: Callable[[Setup], float] | None = None
    needs_gpu: bool = False


def forward_case(way: str, option: str = "") -> Case:
    """A denoising forward under one option: an adapter, compile, fp8, offload; the cache in fp8 or on the host."""

    def prepare(setup: Setup, cleanup: ExitStack) -> dict[str, Callable[[], object]]:
        model = build(setup.config, torch.device(setup.device), setup.dtype)
        if option == "adapter":
            add_lora(model, rank=setup.rank)
        if option == "offload":
            model.to("cpu")  # made on the device: 14 billion random numbers take a CPU core two minutes
            torch.cuda.empty_cache()
        if option == "fp8":
            model.enable_layerwise_casting(storage_dtype=FP8, compute_dtype=setup.dtype)
        if option == "offload":
            model.enable_group_offload(
                onload_device=torch.device(setup.device), offload_device=torch.device("cpu"),
                offload_type="block_level", num_blocks_per_group=1, use_stream=True, record_stream=False,
            )  # fmt: skip
        noisy, reference, timesteps, text = setup.inputs()
        attention = None
        if way == "cached":
            attention = cleanup.enter_context(
                ReferenceAttention(
                    model,
                    storage_dtype=FP8 if option == "fp8 cache" else None,
                    storage_device="host" if option == "host cache" else "model",
                )
            )
        if option == "compile":
            model.compile_repeated_blocks()
        if way == "plain":
            return {"forward": lambda: model(noisy, timestep=timesteps, encoder_hidden_states=text).sample}
        if way == "joint":
            return {"forward": lambda: joint_velocity(model, noisy, reference, timesteps, text)}
        if way == "naive joint":
            return {"forward": lambda: naive_joint(model, noisy, reference, timesteps, text)}
        assert attention is not None
        held: list[Any] = []

        def encode() -> None:
            held.clear()  # two caches of the large model do not fit a GPU
            held.append(attention.encode(reference, text))

        cleanup.callback(held.clear)
        return {"reference pass": encode, "forward": lambda: attention.denoise(noisy, timesteps, text, held[0])}

    def planned_gb(setup: Setup) -> float:
        rank = setup.rank if option == "adapter" else 0
        weights = weigh_transformer(setup.config, dtype_name(setup), layerwise_fp8=option == "fp8", rank=rank)
        text = {"num_text_tokens": setup.num_text_tokens, "dtype": dtype_name(setup)}
        if way == "plain":
            work = count_plain(setup.config, setup.latents, **text).peak_bytes
        else:
            stored = FP8 if option == "fp8 cache" else None
            first, step = count_denoising(
                setup.config, setup.latents, mode="cached" if way == "cached" else "joint", storage_dtype=stored, **text
            )
            work = step.peak_bytes + first.kept_bytes
        return (weights.total + weights.largest_layer + work) / 1e9

    counted = option in ("", "adapter", "fp8", "fp8 cache") and way != "naive joint"
    name = " ".join(["forward", way, *([option] if option else [])])
    return Case(name, prepare, planned_gb if counted else None, needs_gpu=option in ("offload", "host cache"))


def naive_joint(model: Any, noisy: Any, reference: Any, timesteps: Any, text: Any) -> torch.Tensor:
    """Concatenate frames and give every token its own timestep, as diffusers allows: no modulation is shared."""
    both = torch.cat([reference, noisy], dim=2)
    patch = model.config.patch_size
    half = noisy[0, 0].numel() // (patch[0] * patch[1] * patch[2])
    tokens = torch.cat([torch.zeros_like(timesteps)[:, None].expand(-1, half), timesteps[:, None].expand(-1, half)], 1)
    return model(both, timestep=tokens, encoder_hidden_states=text).sample[:, :, noisy.shape[2] :]


def training_case(way: str, option: str = "", *, offloaded: int = 0) -> Case:
    """Forward, backward and optimizer step of a LoRA with gradient checkpointing, as the trainer prepares it.

    `offloaded` blocks of the base wait in host memory.
    """
    adapted = option != "frozen reference"

    def prepare(setup: Setup, cleanup: ExitStack) -> dict[str, Callable[[], object]]:
        from realmaster.training.experts import add_trainable_lora, prepare_memory
        from realmaster.training.residence import TrainedOneAtATime, find_offloaded
        from realmaster.training.settings import MemorySettings
        from realmaster.training.step import InContextStep, ReferenceSettings

        model = build(setup.config, torch.device(setup.device), setup.dtype)
        if offloaded:
            model.to("cpu")
            torch.cuda.empty_cache()
        add_trainable_lora(model, rank=setup.rank, alpha=setup.rank, seed=0)
        model.train()
        memory = MemorySettings(
            fp8_base=option == "fp8", compile=option == "compile", gradient_checkpointing=True, offload_blocks=offloaded
        )
        prepare_memory(model, memory, torch.device(setup.device), setup.dtype)
        TrainedOneAtATime({"expert": model}, torch.device(setup.device), find_offloaded(model, offloaded)).bring(
            "expert"
        )
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        optimizer = torch.optim.AdamW(parameters, lr=1e-4, fused=setup.device != "cpu")
        noisy, reference, timesteps, text = setup.inputs()
        reading = InContextStep(model, ReferenceSettings(mode="joint" if way == "joint" else "cached", adapted=adapted))
        if way == "cached":
            cleanup.enter_context(reading.reading())

        def predict() -> torch.Tensor:
            if way == "plain":
                return model(noisy, timestep=timesteps, encoder_hidden_states=text).sample
            if way == "naive joint":
                return naive_joint(model, noisy, reference, timesteps, text)
            return reading(noisy, reference, timesteps, text, text)

        def step() -> None:
            predict().float().square().mean().backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)

        return {"step": step}

    def planned_gb(setup: Setup) -> float:
        weights = weigh_transformer(setup.config, dtype_name(setup), layerwise_fp8=option == "fp8")
        work = count_training_step(
            setup.config, setup.latents, num_text_tokens=setup.num_text_tokens, mode=None if way == "plain" else way,
            adapted_reference=adapted, rank=setup.rank, dtype=dtype_name(setup),
        )  # fmt: skip
        lora = work.kept_bytes // setup.dtype.itemsize * 16
        away = max(offloaded - 2, 0) * weights.block  # the block that computes and the next one are there
        return (weights.total - away + weights.largest_layer + work.peak_bytes - work.kept_bytes + lora) / 1e9

    counted = way != "naive joint" and option != "compile"
    words = [option] * bool(option) + [f"offload {offloaded}"] * bool(offloaded)
    return Case(" ".join(["train", way, *words]), prepare, planned_gb if counted else None, needs_gpu=offloaded > 0)


def autoencoder_case(*, tiled: bool) -> Case:
    """Encoding and decoding one window in float32."""

    def prepare(setup: Setup, cleanup: ExitStack) -> dict[str, Callable[[], object]]:
        with torch.device(setup.device):
            model = AutoencoderKLWan(**setup.autoencoder).eval().requires_grad_(False)
        if tiled:
            model.enable_tiling()
        video = torch.rand(1, 3, setup.video.num_frames, setup.video.height, setup.video.width, device=setup.device)
        latents = setup.inputs()[0].float()
        return {
            "encode": lambda: model.encode(video).latent_dist.mode(),
            "decode": lambda: model.decode(latents).sample,
        }

    return Case("autoencoder tiled" if tiled else "autoencoder", prepare)


def dtype_name(setup: Setup) -> str:
    """The precision as the profile writes it."""
    return str(setup.dtype).removeprefix("torch.")


CASES = (  # what is asked for first comes first: a budget cuts the end
    forward_case("plain"), forward_case("cached"), forward_case("joint"), forward_case("naive joint"),
    autoencoder_case(tiled=False),
    training_case("cached", offloaded=20), training_case("joint", offloaded=20), training_case("plain", offloaded=20),
    forward_case("cached", "adapter"),
    training_case("cached", "frozen reference", offloaded=20), training_case("cached", "fp8"), training_case("plain"),
    forward_case("cached", "compile"), forward_case("plain", "compile"), forward_case("cached", "fp8"),
    forward_case("cached", "fp8 cache"), forward_case("cached", "host cache"), forward_case("cached", "offload"),
    training_case("joint"), training_case("cached"), training_case("cached", "frozen reference"),
    training_case("joint", "fp8"), training_case("joint", "compile"), training_case("naive joint"),
    forward_case("plain", "fp8"), forward_case("plain", "offload"), forward_case("joint", "compile"),
    autoencoder_case(tiled=True),
)  # fmt: skip


def main(words: list[str] | None = None) -> None:
    options = parse(words)
    chosen = [case for case in CASES if any(fnmatch.fnmatch(case.name, word) for word in options.cases)]
    if options.list:
        print("\n".join(case.name for case in chosen))
        return
    setup = set_up(options)
    result: dict[str, Any] = {
        "benchmark": "full_size",
        **describe_place(options.device),
        "settings": {
            "model": "wan2.2-a14b, one expert" if options.device != "cpu" else "reduced width",
            "transformer": {key: setup.config[key] for key in ("num_layers", "num_attention_heads", "ffn_dim")},
            "video": [setup.video.num_frames, setup.video.height, setup.video.width],
            "num_tokens": setup.latents.num_tokens((1, 2, 2)),
            "dtype": dtype_name(setup),
            "rank": setup.rank,
            "repeats": options.repeats,
            "seconds": SECONDS[options.device],
        },
        "cases": {},
    }
    name = f"full_size-{'reduced-' if options.device == 'cpu' else ''}{options.device}"
    result["cases"] = measured_before(options.output / f"{result['date']}-{name}.json", result)
    began = time.perf_counter()
    for case in chosen:
        spent = time.perf_counter() - began
        if spent > options.budget and case.name in result["cases"]:
            continue
        if spent > options.budget:
            result["cases"][case.name] = {"skipped": f"the budget of {options.budget:.0f} s is spent"}
        elif case.needs_gpu and options.device == "cpu":
            result["cases"][case.name] = {"skipped": "needs a GPU"}
        elif case.name.endswith("compile") and options.device == "virtual":
            result["cases"][case.name] = {"skipped": "nothing is compiled for shapes alone"}
        else:
            result["cases"][case.name] = measure(case, setup, options)
        result["ratios"] = {} if options.device == "virtual" else compare(result["cases"], setup)
        path = keep(result, options.output, name)
        print(f"{case.name:30} {describe(result['cases'][case.name])}", flush=True)
    for name, value in result["ratios"].items():
        words_, bound = TO_REACH.get(name, ("", None))
        aim = "" if bound is None else f"   to reach: {words_} {bound}"
        print(f"{name:30} {value:10.3f}{aim}")
    print(f"kept in {path}")


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda", "virtual"])
    parser.add_argument("--cases", nargs="+", default=["*"], help="names or patterns; default: all")
    parser.add_argument("--list", action="store_true", help="name the cases and leave")
    parser.add_argument("--budget", type=float, default=float("inf"), help="seconds after which no case is begun")
    parser.add_argument(
        "--repeats", type=int, default=3, help="rounds after one that is thrown away; of a training step on a GPU one"
    )
    parser.add_argument("--layers", type=int, help="blocks of the transformer; default: all there are")
    parser.add_argument("--frames", type=int, help="pixel frames, 4 n + 1; default: 81, on a CPU 9")
    parser.add_argument("--width", type=int, help="pixels; default: 832, on a CPU 336")
    parser.add_argument("--height", type=int, help="pixels; default: 480, on a CPU 208")
    parser.add_argument("--rank", type=int, default=32, help="of the LoRA")
    parser.add_argument("--threads", type=int, help="CPU threads; default: torch's choice")
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the result file")
    return parser.parse_args(words)


def set_up(options: argparse.Namespace) -> Setup:
    if options.threads:
        torch.set_num_threads(options.threads)
    on_cpu = options.device == "cpu"
    config, video = (REDUCED, REDUCED_VIDEO) if on_cpu else (WAN_14B, FULL_VIDEO)
    shape = VideoShape(options.frames or video.num_frames, options.height or video.height, options.width or video.width)
    return Setup(
        config={**config, "num_layers": options.layers or config["num_layers"]},
        autoencoder={**AUTOENCODER, "base_dim": 8, "num_res_blocks": 1} if on_cpu else AUTOENCODER,
        video=shape,
        device="cpu" if on_cpu else "cuda",
        dtype=PRECISIONS["float32" if on_cpu else "bfloat16"],
        num_text_tokens=13 if on_cpu else 512,
        rank=4 if on_cpu else options.rank,
    )


def measure(case: Case, setup: Setup, options: argparse.Namespace) -> dict[str, Any]:
    """Measure one case; what it raises is its result."""
    on_cpu, virtual = options.device == "cpu", options.device == "virtual"
    is_step = case.name.startswith("train")
    gradients = torch.enable_grad() if is_step else torch.no_grad()
    repeats = 1 if virtual or (is_step and not on_cpu) else options.repeats
    calls: dict[str, Callable[[], object]] | None = None
    call: Callable[[], object] | None = None
    try:
        with virtual_cuda(computes=False) if virtual else nullcontext(), ExitStack() as cleanup, gradients:
            began = time.perf_counter()
            calls = case.prepare(setup, cleanup)
            found: dict[str, Any] = {"prepare_seconds": time.perf_counter() - began}
            began = time.perf_counter()
            for call in calls.values():
                timed(call, options.device)
            found["first_round_seconds"] = time.perf_counter() - began
            if virtual:  # its time is that of the bookkeeping
                found.clear()
            rounds = [{name: timed(call, options.device) for name, call in calls.items()} for _ in range(repeats)]
            for name in calls:
                found[name] = {
                    clock: statistics.median(turn[name][clock] for turn in rounds) for clock in rounds[0][name]
                }
        if case.planned_gb is not None and not on_cpu:
            found["planned_peak_gb"] = case.planned_gb(setup)
        return found
    except torch.OutOfMemoryError as error:
        return {"out_of_memory": str(error).splitlines()[0]}
    except Exception as error:  # a case is one of many: the rest is still worth measuring
        return {"failed": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"}
    finally:
        calls = call = None  # they hold the model, which must be gone before the next one is built
        gc.collect()
        torch.compiler.reset()
        if not on_cpu and not virtual:
            torch.cuda.empty_cache()
            with suppress(AttributeError):  # pinned memory that only this case's sizes can use again
                torch._C._host_emptyCache()


def compare(cases: dict[str, Any], setup: Setup) -> dict[str, float]:
    """Ratios of the forwards, and whole translations put together from what was measured."""
    clock = "processor" if setup.device == "cpu" else "wall"

    def seconds(case: str, call: str) -> float | None:
        found: float | None = cases.get(case, {}).get(call, {}).get(clock)
        return found

    cached, plain = seconds("forward cached", "forward"), seconds("forward plain", "forward")
    joint, naive = seconds("forward joint", "forward"), seconds("forward naive joint", "forward")
    encode, decode = seconds("autoencoder", "encode"), seconds("autoencoder", "decode")
    ratios: dict[str, float] = {}
    for name, above, below in (
        ("cached_to_plain", cached, plain),
        ("cached_to_naive_joint", cached, naive),
        ("cached_to_joint", cached, joint),
        ("joint_to_naive_joint", joint, naive),
        ("train_cached_to_plain", seconds("train cached", "step"), seconds("train plain", "step")),
        ("train_joint_to_plain", seconds("train joint", "step"), seconds("train plain", "step")),
        *(
            (f"train_{way}_to_plain_offload_20", seconds(f"train {way} offload 20", "step"), stock)
            for way in ("cached", "joint", "cached frozen reference")
            for stock in [seconds("train plain offload 20", "step")]
        ),
    ):
        if above is not None and below is not None:
            ratios[name] = above / below
    if setup.device == "cpu":  # the parts are reduced each in its own way: they do not add up to anything
        return ratios
    worn = "forward cached adapter" if "forward" in cases.get("forward cached adapter", {}) else "forward cached"
    cached, first = seconds(worn, "forward"), seconds(worn, "reference pass")
    if None not in (cached, first, encode, decode):  # without text, loading and the swap of the experts
        around = encode + decode + 2 * first  # type: ignore[operator]
        ratios["four_steps_seconds"] = around + 4 * cached  # type: ignore[operator]
        ratios["forty_guided_steps_seconds"] = around + 80 * cached  # type: ignore[operator]
    ours = [name for name in cases if name.startswith(("train joint", "train cached"))]
    done = [step for step in (seconds(name, "step") for name in ours) if step is not None]
    if done:
        ratios["training_step_seconds"] = min(done)
    return ratios


def measured_before(path: Path, result: dict[str, Any]) -> dict[str, Any]:
    """Cases of the same day, device and settings that a result file holds already."""
    if not path.is_file():
        return {}
    before = json.loads(path.read_text("utf-8"))
    same = all(before.get(key) == result[key] for key in ("device", "versions", "settings"))
    return {name: found for name, found in before["cases"].items() if same and "skipped" not in found}


FORMS = {"wall": "{:.3f} s", "peak_gb": "peak {:.1f} GB"}


def describe(found: dict[str, Any]) -> str:
    """One line of what was measured."""
    for word in ("skipped", "out_of_memory", "failed"):
        if word in found:
            return f"{word.replace('_', ' ')}: {found[word]}"
    parts = [
        f"{name} " + ", ".join(form.format(value[word]) for word, form in FORMS.items() if word in value)
        for name, value in found.items()
        if isinstance(value, dict)
    ]
    return "; ".join(parts) + (f"; planned {found['planned_peak_gb']:.1f} GB" if "planned_peak_gb" in found else "")


if __name__ == "__main__":
    main()
