"""Name weights by their content (large files by size and age) and a profile by its settings, so that a clip made with
others is made again.

Separate because every method with weights writes this into its clips' records, and none may load them for it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from realmaster.models.profiles import Profile

_NO_EFFECT = {"name", "purpose", "checkpoint", "editor", "propagation"}  # the checkpoint is named by what is in it
_SMALL = 64 * 2**20  # bytes of a file that is read; of a larger one the first megabyte, the size and the time
_ASKED = (".safetensors", ".json")


def digest_of(path: Path) -> str:
    """Name a file, or the safetensors and settings below a folder: 16 hexadecimal digits; "absent" where nothing is."""
    if not path.exists():
        return "absent"
    files = [path] if path.is_file() else sorted(file for file in path.rglob("*") if file.suffix in _ASKED)
    digest = hashlib.sha256()
    for file in files:
        name = file.name if file == path else str(file.relative_to(path))
        digest.update(name.encode() + b"\0")
        status = file.stat()
        with file.open("rb") as stream:
            if status.st_size <= _SMALL:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
            else:
                digest.update(f"{status.st_size} {status.st_mtime_ns}".encode() + stream.read(2**20))
    return digest.hexdigest()[:16]


def digest_of_settings(profile: Profile) -> str:
    """Name what a profile says of how its models are used: 16 hexadecimal digits."""
    return hashlib.sha256(profile.model_dump_json(exclude=_NO_EFFECT).encode()).hexdigest()[:16]
