"""A comparison as one self-contained page: table, plots, and players that show best and worst clips side by side.

Everything is inline and its content security policy forbids it to load anything, as on the page of a translation, whose
style and pieces it uses. All methods of a clip travel in one video, so they cannot run apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from string import Template

import numpy as np

from realmaster import __version__
from realmaster.errors import MediaError
from realmaster.evaluation.comparison import Comparison, PairedTest
from realmaster.evaluation.comparison_plot import heading_in_html, plot
from realmaster.evaluation.comparison_settings import RENDER, ComparisonSettings, Scene, find_scenes
from realmaster.evaluation.comparison_table import (
    EXPLANATION,
    absences,
    clips_behind,
    difference,
    interval,
    mean,
    measured_with,
)
from realmaster.evaluation.document import asset, document, house_style
from realmaster.evaluation.grid import OpenScene
from realmaster.evaluation.metrics.metric import Metric
from realmaster.evaluation.stacked import StackedVideo
from realmaster.media.output import temporary

_SIDE = 832  # longer side of a layer, in pixels: the paper's frames are shown as they are
_TALLEST = 4096  # of all layers: what decoders of H.264 take


@dataclass(frozen=True)
class Player:
    """One clip to show: all layers in one video, or none where this cannot be encoded."""

    clip: str
    why: str
    layers: tuple[str, ...]
    video: str | None  # data URI
    width: int
    height: int
    frame_rate: float
    num_frames: int


def write_page(path: Path, comparison: Comparison, settings: ComparisonSettings) -> Path:
    """Write the page; an existing file is replaced, by a rename when it is whole.

    Raises:
        OutputError: the page cannot be written.
    """
    scenes = {scene.name: scene for scene in find_scenes(settings)}
    players = [_player(scenes[clip], why, settings) for clip, why in chosen_clips(comparison, settings.players).items()]
    body = Template(asset("comparison.html")).substitute(
        title=escape(comparison.title),
        ours=escape(comparison.ours),
        facts=escape(f"{len(comparison.clips)} clips · {len(comparison.methods)} methods · {comparison.ours} tested"),
        notices=_notices(comparison),
        table=_table(comparison),
        plots="".join(plot(comparison, metric) for metric in comparison.present),
        players="".join(_shown(player, comparison) for player in players if player is not None),
        made_with=_made_with(comparison),
        speeds=_speeds(comparison),
        version=escape(__version__),
    )
    style = house_style() + asset("comparison.css")
    html = document(f"{comparison.title} · RealMaster", body, style=style, script=asset("comparison.js"))
    with temporary(path) as part:
        part.write_text(html, encoding="utf-8", newline="\n")
    return path


def chosen_clips(comparison: Comparison, count: int) -> dict[str, str]:
    """Choose the best and the worst clips of ours, `count` of each at most: name to why.

    A clip's rank is the mean over metrics with a direction of how many deviations its figure lies above the mean.
    """
    totals: dict[str, list[float]] = {}
    for metric in comparison.present:
        found = comparison.cells[comparison.ours, metric.name].score
        if found is None or metric.direction == "neither":
            continue
        known = [value for value in found.values if value is not None]
        spread = float(np.std(known))
        if spread == 0:
            continue
        sign = 1.0 if metric.direction == "higher" else -1.0
        for clip, value in zip(comparison.clips, found.values, strict=True):
            if value is not None:
                totals.setdefault(clip, []).append(sign * (value - found.mean) / spread)
    ranked = sorted(totals, key=lambda clip: -float(np.mean(totals[clip]))) or list(comparison.clips)
    count = min(count, (len(ranked) + 1) // 2)
    if count == 0:
        return {}
    chosen = dict.fromkeys(ranked[:count], f"among the best clips of {comparison.ours}")
    return chosen | {c: f"among the worst clips of {comparison.ours}" for c in ranked[-count:] if c not in chosen}


def _player(scene: Scene, why: str, settings: ComparisonSettings) -> Player | None:
    """Put the render and all methods of a clip into one video; None where the render cannot be read."""
    try:
        opened = OpenScene.read(scene, settings.grid)
    except MediaError:
        return None  # its rows say why
    layers = {"render": opened.render}
    for method, pattern in settings.patterns.items():
        output = scene.output(pattern)
        if output is None or pattern == RENDER:
            continue
        try:
            layers[method] = opened.case(output).output
        except MediaError:
            continue  # absent for this clip, which the table of the clip shows
    length = min(len(frames) for frames in layers.values())
    height, width = opened.render.shape[1:3]
    scale = min(1.0, _SIDE / max(height, width), _TALLEST / (height * len(layers)))
    size = (max(2, round(width * scale)), max(2, round(height * scale)))
    video = StackedVideo(size, opened.rate, len(layers))
    for index in range(length):
        video.add(*(frames[index] for frames in layers.values()))
    shown = min(length, video.num_frames)
    return Player(scene.name, why, tuple(layers), video.finish(), width, height, float(opened.rate), shown)


def _shown(player: Player, comparison: Comparison) -> str:
    figures = _clip_table(player.clip, comparison)
    head = f"<h3>{escape(player.clip)}</h3><p class='fine'>{escape(player.why)}</p>"
    if player.video is None:
        note = '<p class="fine">No player: the clip is one frame, tiny, or large.</p>'
        return f'<article class="player">{head}{note}{figures}</article>'
    right = next((i for i, name in enumerate(player.layers) if name == comparison.ours), len(player.layers) - 1)

    def choice(side: str, chosen: int) -> str:
        options = "".join(
            f'<option value="{index}"{" selected" if index == chosen else ""}>{escape(name)}</option>'
            for index, name in enumerate(player.layers)
        )
        return f'<label>{side} <select data-side="{side.lower()}">{options}</select></label>'

    return (
        f'<article class="player" data-layers="{len(player.layers)}" data-rate="{player.frame_rate:g}" '
        f'data-frames="{player.num_frames}">{head}'
        f'<div class="view" style="--ratio:{player.width / player.height:.5f};--pos:50%">'
        '<div class="pane left"><canvas></canvas><span class="tag left"></span></div>'
        '<div class="pane right"><canvas></canvas><span class="tag right"></span></div>'
        '<div class="divide" role="slider" tabindex="0" aria-label="Divide between left and right" aria-valuemin="0" '
        'aria-valuemax="100" aria-valuenow="50"></div></div>'
        '<div class="controls"><button type="button" class="play">Play</button>'
        f'<input type="range" class="scrub" min="0" max="{max(0, player.num_frames - 1)}" value="0" aria-label="Frame">'
        f"<output>1 / {player.num_frames}</output>{choice('Left', 0)}{choice('Right', right)}"
        '<label>View <select class="mode"><option value="divide">divide</option><option value="beside">side by side'
        '</option><option value="difference">difference × 4</option></select></label></div>'
        f'<video src="{player.video}" muted playsinline preload="auto" hidden></video>{figures}</article>'
    )


def _clip_table(clip: str, comparison: Comparison) -> str:
    values = {(row.method, row.metric): row for row in comparison.rows if row.clip == clip}

    def one(method: str, metric: Metric) -> str:
        row = values.get((method, metric.name))
        if row is None or row.value is None:
            return f'<td title="{escape(row.reason if row else "", quote=True)}">–</td>'
        return f"<td>{row.value:.{metric.digits}f}</td>"

    lines = [
        f'<tr><th scope="row">{heading_in_html(metric)}</th>'
        + "".join(one(method, metric) for method in comparison.methods)
        + "</tr>"
        for metric in comparison.present
    ]
    return f"<details><summary>Figures of this clip</summary>{_framed(comparison.methods, lines)}</details>"


def _table(comparison: Comparison) -> str:
    lines = []
    group = ""
    for metric in comparison.present:
        if metric.group != group:
            group = metric.group
            lines.append(
                f'<tr class="group"><th scope="rowgroup" colspan="{len(comparison.methods) + 2}">{escape(group)}'
                "</th></tr>"
            )
        best = comparison.best(metric)
        cells = "".join(
            f'<td class="{"best" if method == best else "other"}">{_cell(comparison, method, metric)}</td>'
            for method in comparison.methods
        )
        lines.append(
            f'<tr><th scope="row" title="{escape(metric.source, quote=True)}">{heading_in_html(metric)}</th>{cells}'
            f"<td>{_tested(comparison.tests.get(metric.name), metric)}</td></tr>"
        )
    return (
        _framed([*comparison.methods, f"{comparison.ours} minus the best baseline"], lines)
        + f'<p class="fine">{escape(EXPLANATION)}</p>'
    )


def _cell(comparison: Comparison, method: str, metric: Metric) -> str:
    behind = (interval(comparison, method, metric), clips_behind(comparison, method, metric))
    small = "".join(f"<small>{escape(text)}</small>" for text in behind if text)
    return escape(mean(comparison, method, metric)) + small


def _tested(test: PairedTest | None, metric: Metric) -> str:
    if test is None:
        return "–"
    small = f"{escape(test.baseline)}: {test.verdict}, p = {test.p_adjusted:.3f}"
    return f"{difference(test, metric)}<small>{small}</small>"


def _framed(columns: Sequence[str], lines: Sequence[str]) -> str:
    names = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    return (
        f'<div class="wide"><table><thead><tr><th scope="col">Metric</th>{names}</tr></thead>'
        f"<tbody>{''.join(lines)}</tbody></table></div>"
    )


def _notices(comparison: Comparison) -> str:
    lines = [*absences(comparison), *comparison.gaps]
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="notices" aria-labelledby="absent"><h2 id="absent">Absent</h2><ul>{items}</ul></section>'


def _speeds(comparison: Comparison) -> str:
    titles: Mapping[str, str] = {metric.name: metric.title for metric in comparison.metrics}
    items = "".join(
        f"<div><dt>{escape(titles[name])}</dt><dd>{speed:,.1f} frames per second</dd></div>"
        for name, speed in comparison.speeds.items()
        if name in titles
    )
    times = f'<section aria-labelledby="speed"><h2 id="speed">Time of each metric</h2><dl>{items}</dl></section>'
    return times if items else ""


def _made_with(comparison: Comparison) -> str:
    items = "".join(f"<li>{escape(line)}</li>" for line in measured_with(comparison))
    return (
        f'<section aria-labelledby="with"><h2 id="with">Measured with</h2><ul>{items}</ul></section>' if items else ""
    )
