"""A set of pairs on disk: what is finished, what goes where, and the manifests.

    videos/<clip>/{engine,camera}.mp4   labels/<clip>/   records/<clip>.json   manifest.jsonl  train.jsonl  test.jsonl

A record is written last, by rename: a clip with a finished record is whole and is never rendered again. Manifests are
rebuilt from the records, so that nothing is lost with a run that was killed.
"""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from realmaster import __version__
from realmaster.data.render.plan import clip_id, row_of, split_of
from realmaster.data.render.settings import ClipSettings
from realmaster.errors import OutputError
from realmaster.media.output import put_in_place, remove, temporary

Outcome = Literal["accepted", "rejected", "failed"]
MANIFEST = "manifest.jsonl"


@dataclass(frozen=True)
class Record:
    """What became of one clip. A failed one is tried again by the next run, a rejected one is not."""

    clip: ClipSettings
    outcome: Outcome
    reason: str | None
    facts: Mapping[str, Any]

    @property
    def is_finished(self) -> bool:
        """Whether a second run has nothing to do here."""
        return self.outcome != "failed"


class PairFolder:
    """One set of pairs."""

    def __init__(self, root: Path) -> None:
        """Make the folder, and clear away what a killed run on this machine left half-made.

        Raises:
            OutputError: the folder cannot be made, or is a file.
        """
        self.root = root
        self._parts = root / ".partial"
        self.mine = self._parts / f"{socket.gethostname()}-{os.getpid()}"
        try:
            for folder in (root / "videos", root / "records", self.mine):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"{root}: expected a folder for the pairs, could not make it ({error.strerror}): choose another place"
            ) from error
        for leftover in self._parts.iterdir():
            host, _, process = leftover.name.rpartition("-")
            if host == socket.gethostname() and not _is_running(int(process)):
                remove(leftover)

    def record_of(self, clip: ClipSettings) -> Record | None:
        """Give a clip's record, or None when it has never been tried.

        Raises:
            OutputError: the folder holds a clip of this name that was rendered with other settings.
        """
        path = self._record_path(clip)
        if not path.is_file():
            return None
        values = json.loads(path.read_text(encoding="utf-8"))
        record = Record(ClipSettings(**values["settings"]), values["outcome"], values["reason"], values["facts"])
        if record.is_finished and record.clip != clip:
            changed = [name for name in type(clip).model_fields if getattr(clip, name) != getattr(record.clip, name)]
            raise OutputError(
                f"{self.root}: expected {clip_id(clip)} with the settings asked for, found it rendered with other "
                f"{', '.join(changed)}: choose another folder"
            )
        return record

    def begin(self, clip: ClipSettings) -> Path:
        """Give an empty folder to render a clip into."""
        folder = self.mine / clip_id(clip)
        remove(folder)
        folder.mkdir(parents=True)
        return folder

    def finish(self, record: Record, rendered: Path | None = None) -> None:
        """Move a rendered clip into place and write its record; the record makes it so."""
        name = clip_id(record.clip)
        if rendered is not None:
            labels = rendered / "labels"
            if labels.is_dir():
                (self.root / "labels").mkdir(exist_ok=True)
                put_in_place(labels, self.root / "labels" / name)
            videos = self.root / "videos" / name
            videos.mkdir(exist_ok=True)
            for video in sorted(rendered.glob("*.mp4")):
                put_in_place(video, videos / video.name)
        values = {
            "id": name,
            "source": f"realmaster {__version__} render",
            "outcome": record.outcome,
            "reason": record.reason,
            "row": row_of(record.clip),
            "facts": dict(record.facts),
            "settings": record.clip.model_dump(mode="json"),
        }
        with temporary(self._record_path(record.clip)) as part:
            part.write_text(json.dumps(values, indent=1), encoding="utf-8")
        remove(self.mine / name)

    def write_manifests(self) -> dict[str, int]:
        """Rebuild the manifests from the accepted records; give the rows of each file.

        `manifest.jsonl` has every row; training and test scenes have a file each, which exists when it has a row.
        """
        rows: dict[str, list[dict[str, Any]]] = {MANIFEST: [], "train.jsonl": [], "test.jsonl": []}
        for path in sorted((self.root / "records").glob("[!.]*.json")):  # a hidden one is being written
            values = json.loads(path.read_text(encoding="utf-8"))
            if values["outcome"] == "accepted":
                rows[MANIFEST].append(values["row"])
                rows[f"{split_of(values['row']['seed'])}.jsonl"].append(values["row"])
        for name, lines in rows.items():
            if lines or name == MANIFEST:
                with temporary(self.root / name) as part:
                    part.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
        return {name: len(lines) for name, lines in rows.items()}

    def close(self) -> None:
        """Remove this run's working folder."""
        remove(self.mine)
        if self._parts.is_dir() and not any(self._parts.iterdir()):
            remove(self._parts)

    def _record_path(self, clip: ClipSettings) -> Path:
        return self.root / "records" / f"{clip_id(clip)}.json"


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
