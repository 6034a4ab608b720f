"""One self-contained page about one translation: the picture first, then how well it keeps to the render, then figures.

Everything is inline (style, script, pictures), so the file works from a disk, by mail, on a phone, without a network;
its content security policy forbids it to load anything. Separate from the pictures and the words, which it arranges.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from html import escape
from pathlib import Path
from string import Template
from typing import Any, Protocol

from realmaster import __version__
from realmaster.evaluation.alignment import Alignment
from realmaster.evaluation.document import asset, document, house_style
from realmaster.evaluation.page_command import command_line
from realmaster.evaluation.pictures import Pictures, Still, take_pictures
from realmaster.evaluation.plot import plots
from realmaster.evaluation.verdicts import Verdict, summary, verdicts
from realmaster.media.output import temporary
from realmaster.types import ClipInfo


class Translated(Protocol):
    """The part of a `Translation` that the page shows."""

    @property
    def output(self) -> str | Path:
        """Where the film is."""

    @property
    def num_frames(self) -> int:
        """Frames written."""

    @property
    def info(self) -> ClipInfo:
        """Size and rate; its source is the render."""

    @property
    def seconds(self) -> Mapping[str, float]:
        """Time of each stage."""

    @property
    def settings(self) -> Mapping[str, Any]:
        """Everything that was asked for."""

    @property
    def warnings(self) -> tuple[str, ...]:
        """What the user should know."""

    @property
    def truncated(self) -> str | None:
        """Why the clip ended early, if it did."""


def write_report(
    path: str | Path,
    translation: Translated,
    alignment: Alignment | None = None,
    *,
    input_path: str | Path | None = None,
    seconds: Mapping[str, float] | None = None,
    overwrite: bool = True,
) -> Path:
    """Write the page, under a temporary name that is changed when it is whole.

    Args:
        path: the page, ending in .html.
        translation: what was made.
        alignment: how well it keeps to the input, and which stretch of the input that is; None leaves that part out,
            and the stretch is what the settings `start_seconds` and `duration_seconds` say.
        input_path: the render, where `translation.info.source` does not name it.
        seconds: the time of each stage of the whole command, this page excluded; None takes the translation's own.
        overwrite: whether an existing page may be replaced.

    Raises:
        MediaError: input or output cannot be read.
        OutputError: the page cannot be written.
    """
    path = Path(path)
    settings = translation.settings
    start, duration = settings.get("start_seconds"), settings.get("duration_seconds")
    if alignment is not None:
        start, duration = alignment.start_seconds, alignment.duration_seconds
    source = input_path if input_path is not None else translation.info.source
    pictures = take_pictures(
        source,
        translation.output,
        start_seconds=start or 0.0,
        duration_seconds=duration,
        image_rate=translation.info.frame_rate if settings.get("fps") is not None else None,
    )
    name = Path(translation.output).name
    body = Template(asset("page.html")).substitute(
        title=escape(name),
        facts=_facts(translation, source),
        prompt=_prompt(str(settings.get("prompt") or "")),
        notices=_notices(translation, alignment),
        stage=_stage(pictures),
        strip="\n".join(_moment(still, index) for index, still in enumerate(pictures.stills)),
        alignment=_alignment(alignment),
        timing=_timing(translation, seconds),
        settings=_settings(settings) + _command(command_line(settings)),
        version=escape(__version__),
    )
    style = house_style() + asset("page.css")
    html = document(f"{name} · RealMaster", body, style=style, script=asset("page.js"))
    with temporary(path, overwrite=overwrite) as part:
        # a name may hold bytes that are no UTF-8, which Python reads as characters that UTF-8 cannot write
        part.write_text(html, encoding="utf-8", errors="backslashreplace", newline="\n")
    return path


def _facts(translation: Translated, source: str | Path) -> str:
    info = translation.info
    length = float(translation.num_frames / info.frame_rate)
    frames = "1 frame" if translation.num_frames == 1 else f"{translation.num_frames} frames"
    parts = [
        f"from {Path(source).name}",
        f"{info.width} × {info.height}",
        frames,
        f"{_number(float(info.frame_rate))} per second",
        _clock(length),
    ]
    return " · ".join(escape(part) for part in parts)


def _prompt(prompt: str) -> str:
    return f'<p class="prompt"><q>{escape(prompt)}</q></p>' if prompt else ""


def _notices(translation: Translated, alignment: Alignment | None) -> str:
    lines = list(translation.warnings) + list(alignment.warnings if alignment else ())
    if translation.truncated is not None:
        lines.insert(0, f"The clip ended early: {translation.truncated}. What could be read is here.")
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="notices" aria-label="Warnings"><h2>To know</h2><ul>{items}</ul></section>'


def _stage(pictures: Pictures) -> str:
    middle = pictures.stills[len(pictures.stills) // 2]
    width, height = pictures.width, pictures.height
    video = ""
    if pictures.video is not None:
        video = (
            f'<video id="clip" src="{pictures.video}" muted loop playsinline preload="auto" hidden></video>'
            '<canvas class="render" hidden></canvas><canvas class="film" hidden></canvas>'
        )
    shape = f'width="{width}" height="{height}" draggable="false"'
    return (
        f'<div id="stage" style="--ratio:{width / height:.5f};--pos:50%">'
        f'<img class="render" src="{middle.render}" alt="The render" {shape}>'
        f'<img class="film" src="{middle.film}" alt="The film" {shape}>'
        f"{video}"
        '<span class="tag left" aria-hidden="true">Render</span><span class="tag right" aria-hidden="true">Film</span>'
        '<div id="divide" role="slider" tabindex="0" aria-label="Divide between render and film" aria-valuemin="0" '
        'aria-valuemax="100" aria-valuenow="50" aria-valuetext="50 % render"></div></div>'
    )


def _moment(still: Still, index: int) -> str:
    when = _clock(still.seconds)
    return (
        f'<li><button type="button" class="moment" data-seconds="{still.seconds:.4f}" '
        f'aria-label="Show the moment at {when}"><img class="render" src="{still.render}" alt="" loading="lazy">'
        f'<img class="film" src="{still.film}" alt="" loading="lazy"><time>{when}</time></button></li>'
    )


def _alignment(alignment: Alignment | None) -> str:
    if alignment is None:
        return ""
    cards = "".join(_card(verdict) for verdict in verdicts(alignment))
    along = plots(alignment)
    measured = (
        f"Measured on {_plural(alignment.num_pairs, 'pair')} of neighbouring frames out of "
        f"{_plural(alignment.num_frames, 'frame')}, at {alignment.width} × {alignment.height}."
        if alignment.num_pairs
        else f"Measured on {_plural(alignment.num_frames, 'frame')}, at {alignment.width} × {alignment.height}."
    )
    return (
        f'<section aria-labelledby="keeps"><h2 id="keeps">{escape(summary(alignment))}</h2>'
        f'<div class="cards">{cards}</div>'
        + (f'<div class="plots">{along}</div>' if along else "")
        + f'<p class="fine">{escape(measured)}</p></section>'
    )


def _card(verdict: Verdict) -> str:
    mark = {"kept": "ok", "missed": "no"}.get(verdict.mark, "na")
    verdict_html = f'<span class="mark {mark}">{escape(verdict.mark)}</span>' if verdict.mark else ""
    beyond = f"; {verdict.beyond}" if verdict.beyond else ""
    asked = f'<p class="fine">Asked for: {escape(verdict.asked + beyond)}</p>' if verdict.asked else ""
    return (
        f'<article><h3>{escape(verdict.title)}{verdict_html}</h3><p class="figure">{escape(verdict.figure)}</p>'
        f"<p>{escape(verdict.sentence)}</p>{asked}</article>"
    )


def _timing(translation: Translated, of_command: Mapping[str, float] | None) -> str:
    """Show where the time went; the total is that of the stages shown, and what it leaves out is named."""
    measured = translation.seconds if of_command is None else of_command
    stages = [(name, seconds) for name, seconds in measured.items() if seconds > 0]
    total = sum(seconds for _, seconds in stages)
    if total <= 0:
        return ""
    rows, bar = [], []
    for index, (name, seconds) in enumerate(stages):
        label, share = escape(name.replace("_", " ")), seconds / total
        bar.append(f'<i style="flex-grow:{share:.5f}" class="s{index % 8}" title="{label} {share:.0%}"></i>')
        rows.append(
            f'<tr><th scope="row"><i class="s{index % 8}"></i>{label}</th>'
            f"<td>{seconds:.1f} s</td><td>{share:.0%}</td></tr>"
        )
    speed = translation.num_frames / total
    meaning = (
        "From the start of the command until the clip was written. This page came after that and is not included."
        if of_command is not None
        else "These stages added up. Starting Python and making this page are not included."
    )
    return (
        f'<section aria-labelledby="time"><h2 id="time">{total:.1f} seconds, {speed:.2f} frames per second</h2>'
        f'<div class="shares" aria-hidden="true">{"".join(bar)}</div>'
        f'<table><thead><tr><th scope="col">Stage</th><th scope="col">Time</th><th scope="col">Share</th></tr></thead>'
        f'<tbody>{"".join(rows)}</tbody></table><p class="fine">{escape(meaning)}</p></section>'
    )


def _command(line: str | None) -> str:
    if line is None:
        return ""
    return (
        '<section aria-labelledby="again"><h2 id="again">Make it again</h2>'
        f'<pre class="command"><code>{escape(line)}</code></pre></section>'
    )


def _settings(settings: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in settings.items() if name != "prompt" and value not in (None, "", {})}
    rows = "".join(
        f"<div><dt>{escape(str(name).replace('_', ' '))}</dt><dd>{escape(_value(value))}</dd></div>"
        for name, value in shown.items()
    )
    return f'<section aria-labelledby="set"><h2 id="set">Settings</h2><dl>{rows}</dl></section>' if rows else ""


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float | Fraction):
        return _number(float(value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}={_value(inner)}" for name, inner in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_value, value))
    return str(value)


def _number(value: float) -> str:
    return f"{value:g}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    if hours:
        return f"{hours}:{minutes:02d}:{rest:04.1f}"
    return f"{minutes}:{rest:04.1f}"
