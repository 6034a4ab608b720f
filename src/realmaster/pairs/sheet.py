"""The contact sheet of a set: every clip with its pictures, scores and reason, to be filtered and sorted in the page.

Self-contained as the other pages are, whose style it uses: it works from a disk, and its content security policy
forbids it to load anything. Separate from `sheet_pictures`, which reads the clips.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any, Literal

from realmaster import __version__
from realmaster.errors import DataError, MediaError
from realmaster.evaluation.document import document, house_style
from realmaster.media.output import temporary
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.record import Record, read_records
from realmaster.pairs.scores import heading, in_order, written
from realmaster.pairs.sheet_pictures import ClipPicture, take_picture
from realmaster.pairs.store import Place
from realmaster.pairs.thresholds import rule_of

Progress = Callable[[int, int | None], None]
Which = Literal["all", "kept", "dropped"]


def write_sheet(
    place: Place,
    path: Path,
    *,
    which: Which = "all",
    limit: int | None = None,
    num_columns: int = 6,
    width: int = 160,
    progress: Progress | None = None,
) -> int:
    """Write the sheet of a set; an existing page is replaced, by a rename when it is whole.

    Args:
        place: a set of pairs.
        path: the page, ending in .html.
        which: all clips, those that are kept, or those that are not.
        limit: show this many, at even distances through the set; None shows every one.
        num_columns: moments of each clip.
        width: pixels of a thumbnail; at 160 a clip takes some 60 KB.
        progress: called with (clips done, clips in all).

    Returns:
        The number of clips shown.

    Raises:
        DataError: there is no set, a record cannot be read, or no clip is left to show.
        OutputError: the page cannot be written.
    """
    records = read_records(place)
    pairs = PairSet(place)
    wanted = [r for r in records if which == "all" or r.accepted == (which == "kept")]
    if not wanted:
        have = f"{len(records)} clips, none of them {which}" if records else "a set without a finished clip"
        raise DataError(f"{pairs.root}: expected clips to show, found {have}: show others, or build the set first")
    step = max(1.0, len(wanted) / (limit or len(wanted)))
    chosen = [wanted[int(index * step)] for index in range(min(len(wanted), limit or len(wanted)))]
    cards, notes = [], []
    for number, record in enumerate(chosen, start=1):
        picture = None
        try:
            picture = take_picture(pairs.store, record, num_columns=num_columns, width=width)
        except MediaError as error:
            notes.append(str(error))
        finally:
            pairs.store.forget(f"videos/{record.id}")
        cards.append(_card(record, picture))
        if progress is not None:
            progress(number, len(chosen))
    if len(chosen) < len(wanted):
        notes.insert(0, f"{len(chosen)} of {len(wanted)} clips are here, chosen at even distances; --limit shows more.")
    notes += [f"{f.clip} is set aside since {f.stage}: {f.reason}" for f in pairs.failures().values()]
    names = in_order(sorted({name for record in chosen for name in record.scores}))
    name = Path(pairs.root).absolute().name
    body = Template(_asset("sheet.html")).substitute(
        title=escape(name),
        facts=escape(_facts(records)),
        notices=_notices(notes),
        sorts=_options([("id", "name"), *((name, heading(name)) for name in names)]),
        rules=_options([("", "any"), *((rule, rule) for rule in sorted(_rules(chosen)))]),
        splits=_options([("", "any"), *((split, split) for split in sorted({r.clip.split for r in chosen}))]),
        cards="\n".join(cards),
        data=_script_json([_values(record) for record in chosen]),
        version=escape(__version__),
    )
    style = house_style() + _asset("sheet.css")
    html = document(f"{name} · RealMaster", body, style=style, script=_asset("sheet.js"))
    with temporary(path) as part:
        part.write_text(html, encoding="utf-8", newline="\n")
    return len(chosen)


def _facts(records: Sequence[Record]) -> str:
    kept = sum(record.accepted for record in records)
    return f"{len(records)} clips · {kept} kept · {len(records) - kept} dropped"


def _rules(records: Sequence[Record]) -> Counter[str]:
    return Counter(rule for record in records for rule in rules_of(record))


def rules_of(record: Record) -> list[str]:
    """Name the rules that a clip missed, or the stage that gave it up."""
    if record.accepted or record.reason is None:
        return []
    if record.rejected_at is not None:
        return [record.rejected_at]
    return sorted({rule_of(reason) for reason in record.reason.split("; ")})


def _values(record: Record) -> dict[str, Any]:
    """What the page filters and sorts by."""
    text = " ".join([record.id, record.clip.cut.video, record.clip.caption, record.reason or ""])
    return {
        "id": record.id,
        "kept": record.accepted,
        "split": record.clip.split,
        "rules": rules_of(record),
        "text": text.lower(),
        "scores": record.scores,
    }


def _card(record: Record, picture: ClipPicture | None) -> str:
    mark = '<span class="mark ok">kept</span>' if record.accepted else '<span class="mark no">dropped</span>'
    reason = f'<p class="reason">{escape(record.reason)}</p>' if record.reason else ""
    scores = "".join(
        f'<div data-score="{escape(name, quote=True)}"><dt>{escape(heading(name))}</dt>'
        f"<dd>{escape(written(name, record.scores[name]))}</dd></div>"
        for name in in_order(list(record.scores))
    )
    cut = record.clip.cut
    where = f"{cut.video}, from frame {cut.first_frame} · {cut.num_frames} frames of {cut.width}x{cut.height}"
    return (
        f'<article class="clip" id="clip-{escape(record.id)}"><h3><span>{escape(record.id)}</span>{mark}</h3>'
        f'<p class="fine">{escape(where)} · {escape(record.clip.split)} · {escape(record.clip.caption)}</p>{reason}'
        f"{_picture(picture)}<dl>{scores}</dl>"
        f"<details><summary>Record</summary><pre>{escape(record.as_json())}</pre></details></article>"
    )


def _picture(picture: ClipPicture | None) -> str:
    if picture is None:
        return '<p class="fine">No pictures: the clip was given up before it had any, or its files are gone.</p>'
    rows = "".join(f"<span>{escape(row)}</span>" for row in picture.rows)
    columns = "".join(f"<span>{index}</span>" for index in picture.frames)
    alt = f"{', '.join(picture.rows)} at frames {', '.join(map(str, picture.frames))}"
    return (
        f'<figure class="grid"><div class="rows" aria-hidden="true">{rows}</div>'
        f'<img src="{picture.uri}" alt="{escape(alt, quote=True)}" width="{picture.width}" height="{picture.height}" '
        f'loading="lazy"><div class="columns" aria-hidden="true">{columns}</div></figure>'
    )


def _notices(lines: Sequence[str]) -> str:
    if not lines:
        return ""
    items = "".join(f"<li>{escape(line)}</li>" for line in lines)
    return f'<section class="notices" aria-labelledby="know"><h2 id="know">To know</h2><ul>{items}</ul></section>'


def _options(choices: Sequence[tuple[str, str]]) -> str:
    return "".join(f'<option value="{escape(value, quote=True)}">{escape(words)}</option>' for value, words in choices)


def _script_json(value: Sequence[Mapping[str, Any]]) -> str:
    """Write JSON that cannot end the script element it stands in."""
    return json.dumps(value, ensure_ascii=True, allow_nan=False).replace("<", "\\u003c")


def _asset(name: str) -> str:
    return files("realmaster.pairs").joinpath("assets", name).read_text(encoding="utf-8")
