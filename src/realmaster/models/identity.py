"""Which weights a profile stands for, as a record keeps it.

Separate from `profiles` because it reads files: weights on the hub are named by their revision, weights in a folder by
what they hold.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from realmaster.models.checkpoint import list_weights, read_revision
from realmaster.models.profiles import Profile, missing_remedy


def identify_weights(profile: Profile) -> dict[str, Any]:
    """Name a profile's weights: repository and revision, or a digest of the files that are used.

    Raises:
        MissingWeightsError: they are not on this machine.
    """
    checkpoint, folder = profile.checkpoint, profile.folder
    if checkpoint.hub is not None:
        return {"hub": checkpoint.hub, "revision": read_revision(folder) or checkpoint.revision}
    remedy = missing_remedy(profile)
    files = [
        file for part in profile.parts if part != "tokenizer" for file in list_weights(folder / part, remedy=remedy)
    ]
    if profile.adapter_path is not None:
        files.append(profile.adapter_path)
    return {"profile": profile.name, "digest": _digest(files)}


def _digest(files: list[Path]) -> str:
    state = hashlib.sha256()
    for file in files:
        with file.open("rb") as stream:
            state.update(hashlib.file_digest(stream, "sha256").digest())
    return state.hexdigest()[:16]
