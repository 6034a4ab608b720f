"""`realmaster render`: make exact pairs, or the demo clip, with Blender."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from realmaster.cli.progress import progress_bar

SCENES = ("street", "courtyard", "room")
WEATHERS = ("clear", "overcast", "rain", "night")
LOOKS = ("engine", "camera")
LABELS = ("depth", "normal", "segmentation", "flow", "camera")
MOST_SEEDS = 1_000_000


class Seeds(click.ParamType):
    """Seeds as "2000:2010" (the last one left out), "7", or several of both with commas."""

    name = "seeds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, ...]:
        """Read the seeds, or refuse them."""
        if isinstance(value, tuple):
            return value
        seeds: list[int] = []
        for part in str(value).split(","):
            found = re.fullmatch(r"(\d{1,9})(?::(\d{1,9}))?", part.strip())
            if found is None:
                self.fail(f"expected seeds such as 2000:2010 or 7,9, got {value!r}", param, ctx)
            start = int(found[1])
            end = start + 1 if found[2] is None else int(found[2])
            if not 0 < end - start <= MOST_SEEDS:
                self.fail(f"expected a range that holds 1 to {MOST_SEEDS:,} seeds, got {part.strip()!r}", param, ctx)
            seeds += range(start, end)
        return tuple(dict.fromkeys(seeds))


class Size(click.ParamType):
    """A frame size as "256x144"."""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[int, int]:
        """Read (width, height), or refuse it."""
        if isinstance(value, tuple):
            return value
        found = re.fullmatch(r"(\d{1,4})x(\d{1,4})", str(value))
        if found is None:
            self.fail(f"expected WIDTHxHEIGHT such as 256x144, got {value!r}", param, ctx)
        return int(found[1]), int(found[2])


class Names(click.ParamType):
    """Some of a list of names, with commas."""

    name = "names"

    def __init__(self, known: tuple[str, ...]) -> None:
        self._known = known

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Read the names, or refuse one that is not known."""
        if isinstance(value, tuple):
            return value
        names = tuple(dict.fromkeys(part.strip() for part in str(value).split(",") if part.strip()))
        for name in names:
            if name not in self._known:
                self.fail(f"expected some of {','.join(self._known)}, got {name!r}", param, ctx)
        if not names:
            self.fail(f"expected some of {','.join(self._known)}, got none", param, ctx)
        return names


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("output", metavar="OUT")
@click.option("--seeds", type=Seeds(), metavar="FROM:TO", help="Scenes to render; remainder 3 by 12 is a test scene.")
@click.option("--scene", type=click.Choice(SCENES), help="Kind of scene.  [default: the seed decides]")
@click.option("--weather", type=Names(WEATHERS), help="Weathers of the camera look.  [default: the seed decides]")
@click.option("--engine-weather", type=click.Choice(WEATHERS), help="Weather of the engine look.  [default: the same]")
@click.option(
    "--closeup",
    type=click.Choice(["none", "first", "last"]),
    is_flag=False,
    flag_value="first",
    help="Frame the face of the first or last person.  [default: the seed decides]",
)
@click.option("--frames", type=click.IntRange(1, 1000), default=13, show_default=True, help="Frames of a clip.")
@click.option("--size", type=Size(), default="256x144", show_default=True, metavar="WxH", help="Pixels.")
@click.option("--fps", type=click.IntRange(1, 120), default=16, show_default=True, help="Frame rate of the files.")
@click.option("--looks", type=Names(LOOKS), default="engine,camera", show_default=True, help="Looks to render.")
@click.option("--passes", type=Names(LABELS), help="Ground truth to store: depth,normal,segmentation,flow,camera.")
@click.option("--samples", type=click.IntRange(1, 4096), default=3, show_default=True, help="Paths of a camera pixel.")
@click.option(
    "--supersampling",
    type=click.IntRange(1, 4),
    default=2,
    show_default=True,
    help="The camera look is rendered this much larger, then reduced; 1 takes a quarter of the time.",
)
@click.option(
    "--average-grades", is_flag=True, help="Camera look as the mean of all grades, without grain: to learn from."
)
@click.option("--keep-clear", is_flag=True, help="Move people and camera out of cars and walls: other clips by seed.")
@click.option("--workers", type=click.IntRange(1, 256), default=1, show_default=True, help="Clips rendered at a time.")
@click.option("--demo", is_flag=True, help="Render the repository's demo clip into the file OUT instead.")
@click.option("--overwrite", is_flag=True, help="With --demo: replace a clip that exists.")
@click.option("-q", "--quiet", is_flag=True, help="No progress bar and no summary; warnings and errors stay.")
def command(
    output: str,
    seeds: tuple[int, ...] | None,
    scene: str | None,
    weather: tuple[str, ...] | None,
    engine_weather: str | None,
    closeup: str | None,
    frames: int,
    size: tuple[int, int],
    fps: int,
    looks: tuple[str, ...],
    passes: tuple[str, ...] | None,
    samples: int,
    supersampling: int,
    average_grades: bool,
    keep_clear: bool,
    workers: int,
    demo: bool,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Render exact pairs into the folder OUT: one scene, as an engine draws it and as a camera films it.

    A folder that was begun is continued: finished clips are skipped, failed ones tried again. Needs the extra `render`
    (Blender as a Python package, Python 3.11).
    """
    if demo:
        if seeds is not None:
            raise click.UsageError("expected --demo or --seeds, got both: the demo clip has its own seed")
        from realmaster.data.render.demo import render_demo

        path = render_demo(output, overwrite=overwrite)
        if not quiet:
            click.echo(f"demo clip: {path}")
        return
    if seeds is None:
        raise click.UsageError("expected the scenes to render, got none: add --seeds 2000:2010, say")
    from realmaster.data.render.farm import render_pairs
    from realmaster.data.render.settings import RenderSettings

    settings = RenderSettings.from_mapping(
        {
            "seeds": seeds,
            "scene": scene,
            "weathers": weather,
            "engine_weather": engine_weather,
            "closeup": closeup,
            "num_frames": frames,
            "width": size[0],
            "height": size[1],
            "frame_rate": fps,
            "looks": looks,
            "labels": passes or (),
            "samples": samples,
            "supersampling": supersampling,
            "average_grades": average_grades,
            "keep_clear": keep_clear,
        },
        source="the options",
    )
    with progress_bar(quiet=quiet, unit="clip") as progress:
        tally = render_pairs(settings, Path(output), workers=workers, progress=progress)
    for name, reason in tally.reasons.items():
        click.echo(f"realmaster: warning: {name}: {reason}", err=True)
    if not quiet:
        counts = ", ".join(f"{count} in {name}" for name, count in tally.rows.items() if count)
        click.echo(
            f"{output}: {tally.num_accepted} clips rendered, {tally.num_skipped} there already, "
            f"{tally.num_rejected} rejected, {tally.num_failed} failed; {counts or 'no rows'}"
        )
    if tally.num_failed:
        raise click.exceptions.Exit(1)
