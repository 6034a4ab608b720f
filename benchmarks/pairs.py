"""The data engine against the truth: every strategy, the editor alone, and the model that reads the whole render.

    python benchmarks/pairs.py --pairs PAIRS                     the ablation of the paper, on exact pairs
    python benchmarks/pairs.py --pairs PAIRS --adapter "taught by the pipeline=FILE"     and adapters of yours
    python benchmarks/pairs.py --pairs PAIRS --profile wan2.2-a14b --limit 4

Exact pairs know what a photograph of each render looks like, so PSNR and SSIM are against the truth; edges and flicker
are against the render, whose structure and motion must stay. "unseen" is PSNR over the pixels that neither the first
nor the last frame shows (what enters in between), by the render's flow; "seen" over all others. Means over clips with
95 % bootstrap intervals. Writes a dated file into benchmarks/results/ and prints the table.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from common import RESULTS, describe_place, keep

from realmaster.data.pair_set import has_split, read_rows
from realmaster.evaluation.intervals import score
from realmaster.evaluation.metrics import edge_agreement, flicker, psnr, sharpness, ssim
from realmaster.evaluation.metrics.unseen import masked_psnr, unseen_pixels
from realmaster.pipelines.control import make_control
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.propagate import Propagator, choose_anchors

Frames = npt.NDArray[np.uint8]
FIGURES = {"psnr": 2, "seen": 2, "unseen": 2, "ssim": 3, "edge_f1": 3, "flicker": 2, "sharpness": 2, "seconds": 1}
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Strategy:
    """Which frames are anchors, and what the propagator follows between them."""

    name: str
    anchors: Any
    control: Any
    every: int | None = None
    true_anchors: bool = False


STRATEGIES = (
    Strategy("first + last, edges (paper)", "first_last", "canny"),
    Strategy("first + last, soft edges", "first_last", "soft"),
    Strategy("first + last, grey", "first_last", "grey"),
    Strategy("first + last, no control", "first_last", None),
    Strategy("first, edges", "first", "canny"),
    Strategy("every 4th, edges", "every", "canny", every=4),
    Strategy("no anchors, edges", "none", "canny"),
    Strategy("no anchors, grey", "none", "grey"),
    Strategy("true first + last, edges", "first_last", "canny", true_anchors=True),
)


@dataclass(frozen=True)
class Clip:
    """One exact pair."""

    name: str
    engine: Frames
    camera: Frames
    caption: str


Method = Callable[[Clip], Frames]


def main(arguments: list[str] | None = None) -> Path | None:
    """Make, measure, print, keep; give the file of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=Path, default=Path("pairs"))
    parser.add_argument("--split", default="test")
    parser.add_argument("--profile", default="nano")
    parser.add_argument("--model-dir", type=Path, help="folder with the profile's weights")
    parser.add_argument("--adapter", action="append", default=[], metavar="NAME=FILE", help="on the profile's base")
    parser.add_argument("--only", action="append", help="methods by their names; all others are left out")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    if not has_split(given.pairs, given.split):
        print(f"no exact pairs with a split {given.split} in {given.pairs}: render some, and name them with --pairs")
        return None
    methods, described = build(given)
    found: dict[str, dict[str, list[float | None]]] = {name: {f: [] for f in FIGURES} for name in methods}
    unseen_shares: list[float] = []
    kept = None
    rows = read_rows(given.pairs, given.split)[: given.limit]
    for row in rows:
        clip = Clip(row.name, row.engine_frames(), row.camera_frames(), row.caption)
        unseen = unseen_pixels(clip.engine)
        unseen_shares.append(float(unseen.mean()))
        for name, method in methods.items():
            start = time.perf_counter()
            output = method(clip)
            seconds = time.perf_counter() - start
            for figure, value in (measure(output, clip, unseen) | {"seconds": seconds}).items():
                found[name][figure].append(value)
        logger.info("%s: %d frames, %.1f %% unseen", clip.name, len(clip.engine), 100 * unseen_shares[-1])
        result = {
            "pairs": given.pairs.name,
            "split": given.split,
            "profile": given.profile,
            "seed": given.seed,
            "models": described,
            "clips": [row.name for row in rows[: len(unseen_shares)]],
            "unseen_share": unseen_shares,
            "methods": found,
        }
        # after every clip, so that a run that is broken off has told something
        kept = keep(describe_place("cpu") | result, given.output, f"pairs-{given.profile}")
    print(table(found))
    return kept


def build(given: argparse.Namespace) -> tuple[dict[str, Method], dict[str, Any]]:
    """Load the profile's models and make the methods."""
    from realmaster.models.profiles import load_profile
    from realmaster.pipelines.edit_in_context import NanoEditor
    from realmaster.pipelines.edit_qwen import QwenImageEdit
    from realmaster.pipelines.propagate_vace import VacePropagator
    from realmaster.pipelines.translate import Translator

    settings = load_profile(given.profile, model_dir=given.model_dir).editor
    if settings is None:
        raise SystemExit(f"expected a profile with an editor and a propagator, {given.profile} has none")
    kind: Any = QwenImageEdit if settings.kind == "qwen" else NanoEditor
    editor = kind.from_profile(given.profile, model_dir=given.model_dir)
    propagator = VacePropagator.from_profile(given.profile, model_dir=given.model_dir)
    model = Translator.from_profile(given.profile, model_dir=given.model_dir)

    methods: dict[str, Method] = {"untouched render": lambda clip: clip.engine}
    methods["editor on every frame"] = lambda clip: edit_each(editor, clip, given.seed)
    for strategy in STRATEGIES:
        methods[strategy.name] = propagation(strategy, editor, propagator, given.seed)
    methods["model (reads the whole render)"] = translation(model, given.seed)
    for named in given.adapter:
        name, _, file = named.partition("=")
        methods[name] = translation(
            Translator.from_profile(given.profile, adapter=file, model_dir=given.model_dir), given.seed
        )
    if given.only:
        methods = {name: method for name, method in methods.items() if name in given.only}
    return methods, {"editor": editor.describe(), "propagator": propagator.describe()}


def translation(translator: Any, seed: int) -> Method:
    """Make the method that reads the render as a reference, in one pass."""
    return lambda clip: translator.translate_frames(clip.engine, prompt=clip.caption, seed=seed)


def edit_each(editor: KeyframeEditor, clip: Clip, seed: int) -> Frames:
    """Edit every frame, a few at a time: what the editor can do, without anything that holds frames together."""
    parts = [
        editor.edit(clip.engine[first : first + 2], prompt=clip.caption, seed=seed)
        for first in range(0, len(clip.engine), 2)
    ]
    return np.concatenate(parts)


def propagation(strategy: Strategy, editor: KeyframeEditor, propagator: Propagator, seed: int) -> Method:
    """Make the pipeline of one strategy."""

    def make(clip: Clip) -> Frames:
        indices = choose_anchors(len(clip.engine), strategy.anchors, every=strategy.every)
        anchors: dict[int, Frames] = {}
        if strategy.true_anchors:
            anchors = {index: clip.camera[index] for index in indices}
        elif indices:
            edited = editor.edit(clip.engine[list(indices)], prompt=clip.caption, seed=seed)
            anchors = dict(zip(indices, edited, strict=True))
        control = None if strategy.control is None else make_control(clip.engine, strategy.control)
        return propagator.propagate(clip.engine, anchors, control, prompt=clip.caption, seed=seed)

    return make


def measure(output: Frames, clip: Clip, unseen: npt.NDArray[np.bool_]) -> dict[str, float | None]:
    """Measure one output."""
    own = flicker(clip.engine, output)
    return {
        "psnr": psnr(output, clip.camera),
        "seen": masked_psnr(output, clip.camera, ~unseen),
        "unseen": masked_psnr(output, clip.camera, unseen),
        "ssim": ssim(output, clip.camera),
        "edge_f1": edge_agreement(clip.engine, output).f1,
        "flicker": own.ratio if own else None,
        "sharpness": sharpness(output, clip.camera),
    }


def table(found: dict[str, dict[str, list[float | None]]]) -> str:
    """Write the table in Markdown: means with their intervals; PSNR in dB."""
    lines = ["| method | " + " | ".join(FIGURES) + " |", "|---" * (len(FIGURES) + 1) + "|"]
    for name, figures in found.items():
        cells = []
        for figure, digits in FIGURES.items():
            value = score(figures[figure])
            if value is None:
                cells.append("-")
            elif figure == "seconds":
                cells.append(f"{value.mean:.{digits}f}")
            else:
                cells.append(f"{value.mean:.{digits}f} [{value.low:.{digits}f}, {value.high:.{digits}f}]")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
