"""What `realmaster translate` takes on nano: the demo clip's seconds, and the memory of a short and of a long clip.

    python benchmarks/length.py                    the demo; ten seconds and one minute; a still scene
    python benchmarks/length.py --long 600         ten minutes instead: half an hour of one core more

Each clip is translated by the command, in a process of its own, start of Python included; its peak is the kernel's
figure. The short, the long and the still clip have the demo's frames at half their size, 8 a second: played back and
forth, and the first one again and again, whose mean colours in the first and the last second should be the same.
Writes a dated file into benchmarks/results/.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from fractions import Fraction
from itertools import islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from common import RESULTS, describe_place, keep

from realmaster.media.color import UInt8
from realmaster.media.reader import ClipReader, open_clip
from realmaster.media.writer import ClipWriter
from realmaster.types import ClipInfo

DEMO = Path(__file__).parents[1] / "assets" / "demo" / "street.mp4"
FRAME_RATE = 8
MOST = 1.1  # of the short clip's peak


def main(words: list[str] | None = None) -> None:
    options = parse(words)
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        made = {
            "demo": options.clip,
            "short": make(options.clip, folder / "short.mkv", options.short),
            "long": make(options.clip, folder / "long.mkv", options.long),
            "still": make(options.clip, folder / "still.mkv", options.short, moves=False),
        }
        cases = {name: translate(clip, folder / f"{name}.out.mkv") for name, clip in made.items()}
        drift = np.abs(np.subtract(*ends(folder / "still.out.mkv")))
    ratio = cases["long"]["peak_mb"] / cases["short"]["peak_mb"]
    for name, case in cases.items():
        print(f"{name}: {case['seconds']:.1f} s, peak {case['peak_mb']:.0f} MB")
        print(*(f"  {line}" for line in case["said"]), sep="\n")
    print(f"peak memory, long over short: {ratio:.2f} (at most {MOST})")
    print(f"drift of a still scene: {drift.max():.2f} levels of 255 (less than 1)")
    result = {
        **describe_place("cpu"),
        "settings": {"clip": options.clip.name, "short": options.short, "long": options.long, "frame_rate": FRAME_RATE},
        "cases": cases,
        "ratios": {"long / short, peak": ratio},
        "drift_levels": drift.tolist(),
    }
    print(keep(result, options.output, "length"))


def parse(words: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=DEMO, help="what is translated; default: the demo clip")
    parser.add_argument("--short", type=float, default=10, metavar="SECONDS", help="default: 10")
    parser.add_argument("--long", type=float, default=60, metavar="SECONDS", help="default: 60")
    parser.add_argument("--output", type=Path, default=RESULTS, help="where the dated file goes")
    return parser.parse_args(words)


def make(source: Path, path: Path, seconds: float, *, moves: bool = True) -> Path:
    """Write so many seconds of a clip's frames at half their size, back and forth, or of its first frame."""
    with open_clip(source) as clip:
        frames = [cv2.resize(frame, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for frame in all_of(clip)]
    height, width = frames[0].shape[:2]
    info = ClipInfo(width, height, Fraction(FRAME_RATE))
    with ClipWriter(path, info, codec="lossless") as writer:
        for frame in islice(back_and_forth(frames if moves else frames[:1]), round(seconds * FRAME_RATE)):
            writer.write(frame[None])
    return path


def all_of(clip: ClipReader) -> Iterator[UInt8]:
    for chunk in clip.chunks(FRAME_RATE):
        yield from chunk


def back_and_forth(frames: list[UInt8]) -> Iterator[UInt8]:
    """Give frames without an end, each a neighbour of the one before."""
    while True:
        yield from frames
        yield from frames[-2:0:-1]


def translate(clip: Path, output: Path) -> dict[str, Any]:
    """Run the command; its seconds by the clock, its peak and what it said of its stages."""
    command = [sys.executable, "-m", "realmaster", "translate", str(clip), "-o", str(output), "--codec", "lossless"]
    begun = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.read().splitlines()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{clip.name}: expected `realmaster translate` to end with 0, got {process.returncode}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, bytes
    return {
        "seconds": time.perf_counter() - begun,
        "peak_mb": usage.ru_maxrss * unit / 1e6,
        "said": [line for line in said if line.startswith(("time:", "share:"))],
    }


def ends(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Mean colours of a clip's first and last second, in levels: two of [3]."""
    with open_clip(path) as clip:
        means = np.stack([frame.mean(axis=(0, 1)) for frame in all_of(clip)])
    return means[:FRAME_RATE].mean(axis=0), means[-FRAME_RATE:].mean(axis=0)


if __name__ == "__main__":
    main()
