"""Edit keyframes until an edit holds: check it against the render, try another seed, give up with the reason.

Separate from the stage, which knows files, and from the check, which knows pictures and no seeds.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.errors import MediaError
from realmaster.pairs.settings import EditSettings
from realmaster.pipelines.edit import KeyframeEditor

Frames = npt.NDArray[np.uint8]
_SEED_STEP = 7919  # between attempts; seeds of clips are hashes, so that no two share one


@dataclass(frozen=True)
class Edited:
    """Anchors uint8 [N, H, W, 3], what was found on the way, and why they are no good, if they are not."""

    frames: Frames
    facts: dict[str, Any]
    reason: str | None


def edit_until_good(
    editor: KeyframeEditor,
    keyframes: Frames,
    *,
    prompt: str,
    seed: int,
    settings: EditSettings,
    within_model: Callable[[], AbstractContextManager[None]],
) -> Edited:
    """Edit the keyframes of a clip together, at most `settings.retries` times more with further seeds.

    Raises:
        MediaError: the editor gave other frames than asked for. RealMasterError: it could not edit.
    """
    num_attempts = 1 + (settings.retries if settings.check else 0)
    edited: Edited | None = None
    for attempt in range(num_attempts):
        tried = (seed + attempt * _SEED_STEP) % 2**32
        with within_model():
            frames = editor.edit(keyframes, prompt=prompt, seed=tried)
        if frames.shape != keyframes.shape or frames.dtype != np.uint8:
            raise MediaError(
                f"expected uint8 frames {list(keyframes.shape)} from the editor {editor.name}, got {frames.dtype} "
                f"{list(frames.shape)}: mend it"
            )
        edited = _checked(keyframes, frames, settings, {"seed": tried, "attempts": attempt + 1})
        if edited.reason is None:
            break
    assert edited is not None, "there is one attempt at least"
    return edited


def _checked(keyframes: Frames, edited: Frames, settings: EditSettings, facts: dict[str, Any]) -> Edited:
    return Edited(edited, facts, None)
