"""`realmaster pairs filter`: decide again which clips are kept, from the scores that every record has.

Separate from `pairs` for its options, one for each threshold.
"""

from __future__ import annotations

import json
from typing import Any

import click

from realmaster.cli.values import Number

CONTEXT = {"help_option_names": ["-h", "--help"]}


@click.command(context_settings=CONTEXT)
@click.argument("place", metavar="SET")
@click.option("--min-identity", type=Number(-1, 1), help="Lowest ArcFace cosine of matched faces; the paper's is 0.4.")
@click.option("--max-identity-distance", type=Number(0, 2), help="Largest dlib distance of matched faces.")
@click.option("--no-faces", type=click.Choice(["keep", "drop"]), help="Clips whose source shows no face.")
@click.option("--min-faces-found", type=Number(0, 1), help="Share of the source's faces found again.")
@click.option("--min-structure", type=Number(0, 1), help="Edge F1 with the source.")
@click.option("--max-flicker", type=Number(0), help="Times the flicker of the source.")
@click.option("--min-anchor", type=Number(0), help="dB between the first anchor and the frame in its place.")
@click.option("--max-frozen", type=Number(0, 1), help="Share of steps that stand still where the source moves.")
@click.option("--max-black", type=Number(0, 1), help="Share of black frames where the source shows something.")
@click.option("--off", multiple=True, metavar="NAME", help="Ask for nothing here, such as min-structure; repeatable.")
@click.option("--dry-run", is_flag=True, help="Only say what would change.")
def command(place: str, off: tuple[str, ...], dry_run: bool, **options: Any) -> None:
    """Decide again which clips of SET are kept; nothing is computed. What is not named stays as it was decided last.

    The thresholds are written to SET/thresholds.json, and clips that are made later are judged by them.
    """
    asked = {name: value for name, value in options.items() if value is not None}
    for word in off:
        name = word.replace("-", "_")
        if name not in options or name == "no_faces":
            known = ", ".join(sorted(other.replace("_", "-") for other in options if other != "no_faces"))
            raise click.UsageError(f"--off: expected one of {known}, got {word!r}")
        asked[name] = None
    from realmaster.pairs.kept_thresholds import last_thresholds, write_thresholds
    from realmaster.pairs.record import existing_set
    from realmaster.pairs.redecide import redecide
    from realmaster.pairs.thresholds import Thresholds

    store = existing_set(place)
    values = {**last_thresholds(store).model_dump(), **asked}
    thresholds = Thresholds.from_mapping(values, source="the options")
    named = [name for name, value in asked.items() if value is not None]
    done = redecide(store, thresholds, asked=named, dry_run=True)
    if not dry_run:
        write_thresholds(store, thresholds)  # first: a clip that is finished from now on is judged by them
        done = redecide(store, thresholds, asked=named)
    would = "would keep" if dry_run else "keeps"
    click.echo(
        f"{place}: {would} {done.kept_now} of {done.num_judged} scored clips, {done.kept_before} before: "
        f"{len(done.came)} came, {len(done.went)} went"
    )
    if dry_run:
        click.echo(json.dumps({"came": done.came, "went": done.went}))
