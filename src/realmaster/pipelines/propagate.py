"""What a propagator is, and which frames of a clip are its anchors (arXiv 2603.23462, propagation and its ablation).

Separate from the propagators themselves, which need models: the pair builder, the ablation and the baselines know this
protocol alone.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import numpy as np
import numpy.typing as npt

from realmaster.errors import ConfigError

Frames = npt.NDArray[np.uint8]
AnchorStrategy = Literal["first_last", "first", "none", "every"]
ANCHOR_STRATEGIES: tuple[AnchorStrategy, ...] = get_args(AnchorStrategy)


@runtime_checkable
class Propagator(Protocol):
    """Carry the look of edited keyframes over a whole clip."""

    @property
    def name(self) -> str:
        """What it is called in settings and records."""

    def describe(self) -> dict[str, Any]:
        """Say model, revision and settings, as JSON: what a record keeps, and what names the result."""

    def propagate(
        self, source: Frames, anchors: Mapping[int, Frames], control: Frames | None, *, prompt: str, seed: int
    ) -> Frames:
        """Make the clip that has the anchors' look and the source's motion: uint8 [F, H, W, 3].

        Args:
            source: the rendered clip, uint8 [F, H, W, 3].
            anchors: edited frames, uint8 [H, W, 3], by their index in the clip; may be empty.
            control: the control video, uint8 [F, H, W, 3], as `pipelines.control` makes it; None leaves it out.
            prompt: what is to be seen.
            seed: same arguments and seed, same machine, same frames.

        Raises:
            RealMasterError: the clip cannot be made; the message says why.
        """


def choose_anchors(num_frames: int, strategy: AnchorStrategy, *, every: int | None = None) -> tuple[int, ...]:
    """Give the frames that are edited: first and last (the paper), the first, none, or every k-th and the last.

    Raises:
        ConfigError: no such strategy, or `every` is missing where it is needed.
    """
    if strategy == "first_last":
        return (0, num_frames - 1) if num_frames > 1 else (0,)
    if strategy == "first":
        return (0,)
    if strategy == "none":
        return ()
    if strategy != "every":
        raise ConfigError(
            f"expected an anchor strategy among {', '.join(ANCHOR_STRATEGIES)}, got {strategy!r}: choose one"
        )
    if every is None or every < 1:
        raise ConfigError(f"expected a distance between anchors of at least 1 with 'every', got {every}: set it")
    return tuple(sorted({*range(0, num_frames, every), num_frames - 1}))
