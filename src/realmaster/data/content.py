"""What a clip holds, as a name: hashes of its bytes, remembered so that unchanged files are not read again.

Separate because two things ask: the cache, which names its entries by content, and the run, which writes down a digest
of the data that an adapter was trained on.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from realmaster.data.manifest import ManifestRow
from realmaster.errors import MediaError
from realmaster.media.output import temporary
from realmaster.media.sequences import find_images, is_pattern


class ContentHashes:
    """Hashes of clips; a file of the same size and modification time as last time is not read again."""

    def __init__(self, memory: Path | None = None) -> None:
        """Remember in the JSON file `memory`; None remembers nothing beyond this object."""
        self.memory = memory
        self._known: dict[str, list[object]] = {}
        self._changed = False
        if memory is not None and memory.is_file():
            try:
                known = json.loads(memory.read_text(encoding="utf-8"))
            except ValueError:
                known = {}  # it only saves time
            self._known = known if isinstance(known, dict) else {}

    def of(self, clip: Path) -> str:
        """Name the content of a video file, or of a folder or pattern of images: 64 hexadecimal digits.

        Raises:
            MediaError: a file is missing or cannot be read.
        """
        if not clip.is_dir() and not is_pattern(clip):
            return self._of_file(clip)
        files, _ = find_images(clip)
        return hashlib.sha256("\n".join(map(self._of_file, files)).encode()).hexdigest()

    def save(self) -> None:
        """Write down what has been read since the last time."""
        if self.memory is not None and self._changed:
            with temporary(self.memory) as part:
                part.write_text(json.dumps(self._known), encoding="utf-8")
            self._changed = False

    def _of_file(self, file: Path) -> str:
        try:
            status = file.stat()
            key, signature = str(file.resolve()), [status.st_size, status.st_mtime_ns]
            known = self._known.get(key)
            if isinstance(known, list) and known[:2] == signature:
                return str(known[2])
            with file.open("rb") as stream:
                digest = hashlib.file_digest(stream, "sha256").hexdigest()
        except OSError as error:
            raise MediaError(
                f"{file}: expected a file to read, could not ({error.strerror}): check the path"
            ) from error
        self._known[key] = [*signature, digest]
        self._changed = True
        return digest


def data_digest(rows: Iterable[ManifestRow], hashes: ContentHashes) -> str:
    """Name the content of training rows, in their order, wherever the files lie: 64 hexadecimal digits.

    Raises:
        MediaError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for row in rows:
        values = [hashes.of(row.video), hashes.of(row.reference_video), row.caption]
        digest.update((json.dumps(values) + "\n").encode())
    return digest.hexdigest()
