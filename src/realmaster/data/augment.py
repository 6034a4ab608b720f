"""What may be done to a pair before it is encoded: named functions, each with one strength.

Separate from `frames.py`, whose crops serve pairs in memory: here the picture is framed while a clip is being read, so
that a large source gives up pixels that it has instead of being enlarged, and no clip is held at its full size.

Geometry is changed the same way in both looks, or the pair would not be one; colours only in the engine look, which is
what the model has to see past. Letters: F frames, H, W pixels.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, field_validator

from realmaster.config import Settings
from realmaster.data.frames import jitter_look
from realmaster.errors import ConfigError

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Framing:
    """Which part of the picture is shown: a box in fractions of its sides, and whether it is mirrored."""

    left: float = 0.0
    top: float = 0.0
    width: float = 1.0
    height: float = 1.0
    is_mirrored: bool = False

    @classmethod
    def cover(cls, picture: tuple[int, int], size: tuple[int, int]) -> Framing:
        """Frame the middle of a picture (height, width) so that it has the aspect of `size` (height, width)."""
        ratio = (size[1] / size[0]) / (picture[1] / picture[0])  # of the aspects
        width, height = min(1.0, ratio), min(1.0, 1 / ratio)
        return cls((1 - width) / 2, (1 - height) / 2, width, height)

    def show(self, frame: Frames, size: tuple[int, int]) -> Frames:
        """Cut one frame [H, W, 3] and bring it to `size` (height, width): by area averages where it shrinks."""
        rows = _span(self.top, self.height, frame.shape[0])
        columns = _span(self.left, self.width, frame.shape[1])
        part = frame[rows, columns]
        if part.shape[:2] != size:
            shrinks = part.shape[0] >= size[0] and part.shape[1] >= size[1]
            method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
            part = cv2.resize(part, (size[1], size[0]), interpolation=method)
        return np.ascontiguousarray(part[:, ::-1] if self.is_mirrored else part)


class Augmentation(Settings):
    """One augmentation: its name, how often and how strongly."""

    name: str = Field(description="mirror, zoom, engine_colour, or a function of yours as package.module:function")
    share: float = Field(0.5, ge=0, le=1, description="share of variants to which it is done")
    amount: float = Field(1.0, gt=0, description="strength; what it means is the function's to say")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str) -> str:
        if name not in (*GEOMETRY, *LOOKS) and not re.fullmatch(r"[\w.]+:\w+", name):
            raise ValueError(f"expected {', '.join([*GEOMETRY, *LOOKS])} or package.module:function, got {name!r}")
        return name


def mirror(framing: Framing, generator: np.random.Generator, amount: float) -> Framing:
    """Swap left and right (writing and number plates too); `amount` has no effect."""
    return replace(framing, is_mirrored=not framing.is_mirrored)


def zoom(framing: Framing, generator: np.random.Generator, amount: float) -> Framing:
    """Show a part at a drawn place, enlarged by a factor from 1 to 1 + `amount`."""
    factor = float(generator.uniform(1, 1 + amount))
    width, height = framing.width / factor, framing.height / factor
    left, top = generator.uniform(0, 1 - width), generator.uniform(0, 1 - height)
    return Framing(float(left), float(top), width, height, framing.is_mirrored)


def engine_colour(reference: Frames, generator: np.random.Generator, amount: float) -> Frames:
    """Change the colours of the engine look [F, H, W, 3] as another engine might (`frames.jitter_look`)."""
    video = reference.transpose(3, 0, 1, 2).astype(np.float32) / 127.5 - 1
    changed = jitter_look(video, generator, amount)
    pixels = np.rint((changed + 1) * 127.5).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(pixels.transpose(1, 2, 3, 0))


GEOMETRY: dict[str, Callable[[Framing, np.random.Generator, float], Framing]] = {"mirror": mirror, "zoom": zoom}
"""Done to the framing of both looks, in the order of the settings."""

LOOKS: dict[str, Callable[[Frames, np.random.Generator, float], Frames]] = {"engine_colour": engine_colour}
"""Done to the frames of the engine look."""


def find_function(name: str) -> Callable[[Frames, np.random.Generator, float], Any]:
    """Find the function for the engine look behind a name: one of ours, or `package.module:function`.

    Raises:
        ConfigError: there is no such function.
    """
    if name in LOOKS:
        return LOOKS[name]
    module, _, function = name.partition(":")
    try:
        found = getattr(import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ConfigError(f"expected the augmentation {name}, could not import it ({error}): check the name") from error
    if not callable(found):
        raise ConfigError(f"expected the augmentation {name} to be a function, it is none: check the name")
    result: Callable[[Frames, np.random.Generator, float], Any] = found
    return result


def _span(start: float, length: float, total: int) -> slice:
    first = min(round(start * total), total - 1)
    return slice(first, min(total, max(first + 1, round((start + length) * total))))
