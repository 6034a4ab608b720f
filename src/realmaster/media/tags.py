"""What a file says beside picture and sound: title and comment, names of tracks, chapters, timecode.

Separate from the sinks, which write frames, and from `audio.py`, which carries packets. What a container keeps of all
this is written down nowhere in full: so it is handed over whole, and the finished file is read again to say what it
lacks.
"""

from __future__ import annotations

from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path
from typing import Any

from realmaster.media.probe import first_time, is_cover, opened, probe
from realmaster.media.timecode import later_timecode

# of the file that is read, not of its content
_OF_THE_FILE = {"major_brand", "minor_version", "compatible_brands", "encoder", "creation_time", "duration", "software"}
_UNNAMED = (None, "", "und")


class TagCarrier:
    """All that one file says, on its way into an output container."""

    def __init__(
        self,
        source: Path,
        container: Any,
        *,
        start: Fraction,
        rate: Fraction,
        num_frames: int | None,
        sound: Iterable[tuple[Any, Any]],
    ) -> None:
        """Hand `source`'s tags over, before the container's header is written.

        Args:
            source: the file.
            container: the output; its first stream is the picture.
            start: where in the source the output begins, in seconds from the source's first picture.
            rate: the output's frames a second.
            num_frames: length of the output, for the chapters; None where it is not known.
            sound: tracks of the source, and the streams they become.

        Raises:
            MediaError: `source` is no media file.
        """
        self._wanted: dict[str, str] = {}  # what the output should say: its name in a warning, and the value
        self._lost: list[str] = []  # what no output here holds
        with opened(source) as origin:
            tags = {name: value for name, value in origin.metadata.items() if not _is_of_the_file(name)}
            container.metadata.update(tags)
            self._wanted |= {f"the tag {name.lower()}": value for name, value in tags.items()}
            for number, (stream, output) in enumerate(sound):
                self._name(stream, output, number)
            if any(not is_cover(stream) for stream in origin.streams.video):
                self._carry_timecode(source, origin, container.streams[0], start, rate)
            self._carry_chapters(
                origin, container, first_time(source) + start, None if num_frames is None else num_frames / rate
            )
            self._lost += [f"{count} {kind}" for kind, count in _other_tracks(origin) if count]

    def warnings(self, written: Path, muxer: str) -> list[str]:
        """Read the finished file again, and say in one sentence what it lacks of what was handed over."""
        with opened(written) as container:
            said = {f"the tag {name.lower()}": value for name, value in container.metadata.items()}
            for number, stream in enumerate(container.streams.audio):
                said |= _track_names(stream, number)
            if timecode := _timecode(container):
                said["the timecode"] = timecode
            said["the chapters"] = str(len(container.chapters()))
        lost = [name for name, value in self._wanted.items() if said.get(name) != value] + self._lost
        if not lost:
            return []
        more = f" and {len(lost) - 8} more" if len(lost) > 8 else ""
        return [f"not carried along into {muxer}: {', '.join(lost[:8])}{more}"]

    def _name(self, stream: Any, output: Any, number: int) -> None:
        output.metadata.update(_track_tags(stream))
        output.disposition = stream.disposition
        self._wanted |= _track_names(stream, number)

    def _carry_timecode(self, source: Path, origin: Any, output: Any, start: Fraction, rate: Fraction) -> None:
        timecode = _timecode(origin)
        if timecode is None:
            return
        facts = probe(source)
        moved = (
            later_timecode(timecode, rate, round(start * rate)) if facts.is_constant and facts.rate == rate else None
        )
        if moved is None:
            self._lost.append("the timecode")
            return
        output.metadata["timecode"] = moved
        self._wanted["the timecode"] = moved

    def _carry_chapters(self, origin: Any, container: Any, zero: Fraction, end: Fraction | None) -> None:
        kept: list[dict[str, Any]] = []
        for chapter in origin.chapters():
            base = Fraction(chapter["time_base"] or 1)
            first = max(Fraction(0), chapter["start"] * base - zero)
            last = chapter["end"] * base - zero
            last = last if end is None else min(last, end)
            if first < last:
                times = {"start": round(first * 1000), "end": round(last * 1000), "time_base": Fraction(1, 1000)}
                kept.append({**chapter, **times, "id": len(kept) + 1})
        if kept:
            container.set_chapters(kept)
            self._wanted["the chapters"] = str(len(kept))


def _is_of_the_file(name: str) -> bool:
    return name.lower() in _OF_THE_FILE or name.lower() == "timecode"


def _track_tags(stream: Any) -> dict[str, str]:
    """Give a track's language and title, which mp4 and mov read back as its name."""
    metadata = stream.metadata
    found = {"language": metadata.get("language"), "title": metadata.get("title") or metadata.get("name")}
    return {name: value for name, value in found.items() if value not in _UNNAMED}


def _track_names(stream: Any, number: int) -> dict[str, str]:
    return {f"the {name} of sound track {number + 1}": value for name, value in _track_tags(stream).items()}


def _timecode(container: Any) -> str | None:
    """Find the picture's timecode: a tag of its stream, of the file, or of a track of its own."""
    for metadata in [stream.metadata for stream in container.streams] + [container.metadata]:
        for name, value in metadata.items():
            if name.lower() == "timecode":
                return str(value)
    return None


def _other_tracks(origin: Any) -> list[tuple[str, int]]:
    covers = sum(is_cover(stream) for stream in origin.streams.video)
    return [
        ("more video tracks", max(0, len(origin.streams.video) - covers - 1)),
        ("cover pictures", covers),
        ("subtitle tracks", len(origin.streams.subtitles)),
        ("attachments", sum(stream.type == "attachment" for stream in origin.streams)),
    ]
