"""What each metric sees: one clip spoilt in known ways, every metric on every case, as a picture for the docs.

    python benchmarks/metric_cases.py                                   the demo clip
    python benchmarks/metric_cases.py --clip A.mp4 --face B.mp4         and the face of A replaced by that of B (dlib)
    python benchmarks/metric_cases.py --labels FOLDER --dino FOLDER     what needs labels and weights too

The clip is its own render and its own truth. "grain" is noise of one level of 255, which nobody sees: how far a case
moves a metric is told in units of the case that moves it most, counted from there. Metrics that lack something are
left out. Writes a dated file into benchmarks/results/ and the picture where `--picture` says.
"""

from __future__ import annotations

import argparse
import time
from html import escape
from pathlib import Path
from typing import Any

from common import RESULTS, describe_place, keep

from realmaster.data.pair_set import read_frames
from realmaster.evaluation.labels import Labels
from realmaster.evaluation.made_cases import Frames, blurred, cast, flickering, noisy, shifted, sped, with_face
from realmaster.evaluation.metrics.metric import Case, Metric
from realmaster.evaluation.metrics.registry import METRICS
from realmaster.evaluation.tools import Tools, ToolSettings

ROOT = Path(__file__).parents[1]
CASES = {
    "grain": noisy,
    "blur": blurred,
    "shift 5 px": shifted,
    "flicker": flickering,
    "colour cast": cast,
    "twice as fast": sped,
}
FACES = ("identity_arcface", "faces_found_arcface", "identity_dlib")
CELL, LINE, LEFT, TOP = 104, 24, 250, 46


def main(arguments: list[str] | None = None) -> Path:
    """Measure, draw, keep; give the file of figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clip", type=Path, default=ROOT / "assets" / "demo" / "street.mp4")
    parser.add_argument("--frames", type=int, default=13, help="the first frames only")
    parser.add_argument("--face", type=Path, help="clip whose first face replaces the first face of the clip")
    parser.add_argument("--labels", type=Path, help="folder of the clip's labels")
    parser.add_argument("--dino", type=Path)
    parser.add_argument("--picture", type=Path, help="an .svg file")
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(arguments)

    clip = read_frames(given.clip)[: given.frames]
    tools = Tools(ToolSettings(dino=given.dino, dlib=given.face is not None))
    labels = None if given.labels is None else Labels(given.labels, clip.shape[1:3])
    outputs = {name: spoil(clip) for name, spoil in CASES.items()}
    if given.face is not None:
        outputs["another face"] = swap_face(clip, read_frames(given.face), tools)
    figures: dict[str, dict[str, float]] = {}
    seconds: dict[str, float] = {}
    scene: dict[str, Any] = {}
    first: dict[str, Any] = {}
    for name, output in outputs.items():
        case = Case(output, clip, clip, labels, scene_memory=scene)
        face_case = Case(output[1:2], clip[1:2], scene_memory=first)  # faces take seconds a frame on a CPU
        for metric in METRICS.values():
            start = time.perf_counter()
            value = metric.on(face_case if metric.name in FACES else case, tools).value
            if value is not None:
                figures.setdefault(metric.name, {})[name] = value
                seconds[metric.name] = seconds.get(metric.name, 0.0) + time.perf_counter() - start
    result = describe_place("cpu") | {
        "clip": "/".join(given.clip.parts[-2:]),
        "num_frames": len(clip),
        "size": clip.shape[1:3],
    }
    result |= {"figures": figures, "frames_per_second": speeds(seconds, len(clip), len(outputs))}
    if given.picture is not None:
        given.picture.write_text(picture(figures, list(outputs)), "utf-8")
    path = keep(result, given.output, "metric_cases")
    print(f"{len(figures)} metrics on {len(outputs)} cases: {path}")
    return path


def swap_face(clip: Frames, other: Frames, tools: Tools) -> Frames:
    """Replace the first face of a clip by the first face of another, in every frame at the same place."""
    faces = tools.dlib()
    ours, theirs = faces.find(clip[0]), faces.find(other[0])
    if not ours or not theirs:
        raise SystemExit("expected a face in the first frame of both clips, found none: choose other clips")
    left, top, right, bottom = (max(0, round(edge)) for edge in theirs[0].box)
    return with_face(clip, ours[0].box, other[0][top:bottom, left:right])


def speeds(seconds: dict[str, float], num_frames: int, num_cases: int) -> dict[str, float]:
    """Frames per second of each metric that does more than read what another has computed."""
    found = {n: (1 if n in FACES else num_frames) * num_cases / spent for n, spent in seconds.items()}
    return {name: round(speed, 2) for name, speed in found.items() if speed < 1e5}


def moved(metric: Metric, values: dict[str, float]) -> dict[str, float]:
    """How far each case is from grain, in units of the farthest: 0 to 1."""
    still = values.get("grain", next(iter(values.values())))
    far = {name: abs(value - still) for name, value in values.items()}
    most = max(far.values()) or 1.0
    return {name: distance / most for name, distance in far.items()}


def picture(figures: dict[str, dict[str, float]], names: list[str]) -> str:
    """Draw the table of figures, darker where a case moves a metric more."""
    rows, group, y = [], "", TOP
    for name, values in figures.items():
        metric = METRICS[name]
        if metric.group != group:
            group = metric.group
            y += 8
            rows.append(f'<text class="quiet" x="12" y="{y + 15}">{escape(group)}</text>')
            y += LINE - 4
        shares = moved(metric, values)
        unit = f", {metric.unit}" if metric.unit else ""
        rows.append(f'<text x="12" y="{y + 16}">{escape(f"{metric.title}{unit} {metric.arrow}")}</text>')
        for column, case in enumerate(names):
            x = LEFT + column * CELL
            share = shares.get(case, 0.0)
            rows.append(
                f'<rect x="{x}" y="{y}" width="{CELL - 3}" height="{LINE - 3}" fill="#b5622c" '
                f'fill-opacity="{share:.2f}"/>'
            )
            text = f"{values[case]:.{metric.digits}f}" if case in values else "–"
            ink = "#fff" if share > 0.6 else "#1d1c1a"
            middle = x + (CELL - 3) / 2
            rows.append(f'<text class="value" x="{middle}" y="{y + 15}" fill="{ink}">{text}</text>')
        y += LINE
    width, height = LEFT + CELL * len(names) + 10, y + 12
    heads = "".join(
        f'<text class="value quiet" x="{LEFT + CELL * i + (CELL - 3) / 2}" y="{TOP - 14}">{escape(name)}</text>'
        for i, name in enumerate(names)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        'font-family="system-ui, Segoe UI, Helvetica, Arial, sans-serif" font-size="13">'
        "<title>What each metric sees: its figure on made cases</title>"
        "<style>.value{text-anchor:middle;font-variant-numeric:tabular-nums}.quiet{fill:#655f56}</style>"
        f'<rect width="100%" height="100%" fill="#fffefb"/>{heads}{"".join(rows)}</svg>\n'
    )


if __name__ == "__main__":
    main()
