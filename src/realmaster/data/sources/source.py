"""What a source of footage is: named videos, their frames, and what else the renderer knew of them.

Separate from the readers so that the sampler, the pair builder and a third party's reader share one small protocol. A
reader of your own is a function of `SourceSettings` that gives a `Source`, registered in the entry point group
`realmaster.sources`:

    [project.entry-points."realmaster.sources"]
    my-engine = "my_package.reader:open_source"

Letters: H, W pixels.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from realmaster.config import Settings

Frame = npt.NDArray[np.uint8]  # [H, W, 3]
Plane = npt.NDArray[Any]  # [H, W]
Split = Literal["train", "validation"]


class SourceSettings(Settings):
    """One source of a set."""

    kind: str = Field("video", description="video, manifest, sequences, sail-vos, carla, or an entry point's name")
    path: str = Field(description="file, folder or pattern; relative to where the command runs")
    name: str | None = Field(
        None, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", description="name of the source in records; null takes the kind"
    )
    frame_rate: int | None = Field(
        None,
        ge=1,
        le=1000,
        description="frames a second of images, which carry none; null takes the source's usual one",
    )
    split: Split | None = Field(None, description="put all its videos here; null lets lists or the seed decide")
    caption: str | None = Field(None, description="what is to be seen in all its videos, where they do not say")
    options: dict[str, Any] = Field({}, description="what this kind alone knows; docs/pairs.md lists it")

    @property
    def label(self) -> str:
        """Name of the source in records."""
        return self.name or self.kind


@dataclass(frozen=True)
class SourceVideo:
    """One video of a source.

    `breaks` are the frames before which something is missing: no clip reaches across. `passes` are what else can be
    read of each frame: "depth" (float [H, W], infinite in the sky), "instances" and "segmentation" (whole numbers).
    """

    name: str
    num_frames: int
    frame_rate: Fraction
    height: int
    width: int
    split: Split | None = None
    caption: str | None = None
    passes: tuple[str, ...] = ()
    breaks: tuple[int, ...] = ()


class Source(Protocol):
    """Footage by name. Opening one reads names and headers, not pictures.

    A source may have `unusable`: videos that `videos` found and could not describe, by name, with the reason.
    """

    def videos(self) -> Sequence[SourceVideo]:
        """Give the videos, always in the same order.

        Raises:
            MediaError: none is there, or the folder is laid out otherwise: the message says what was looked for.
        """

    def frames(self, video: str, first: int, count: int) -> Iterator[Frame]:
        """Give `count` frames of a video from `first` on, in the source's own rate: uint8 [H, W, 3] each.

        Raises:
            MediaError: a frame is missing or cannot be read.
        """

    def read_pass(self, video: str, name: str, first: int, count: int) -> Iterator[Plane]:
        """Give a pass of the same frames, [H', W'] each.

        Raises:
            MediaError: the video has no such pass, or it cannot be read.
        """


def is_pair_set(folder: Path) -> bool:
    """Say whether a folder is a set of pairs: what was made from footage is no footage."""
    return (folder / "records").is_dir() and (folder / "videos").is_dir()


class SailVosOptions(Settings):
    """What the SAIL-VOS reader knows beside the folder."""

    train_list: str | None = Field(None, description="file with a training video a line")
    validation_list: str | None = Field(None, description="file with a validation video a line")


class SequenceOptions(Settings):
    """What the reader of engines' image sequences knows beside the folder."""

    depth_scale: float = Field(
        1.0, gt=0, description="depth is multiplied by this; 0.01 makes Unreal's centimetres metres"
    )
    sky_depth: float | None = Field(
        None, gt=0, description="depth from which on there is sky; null asks for infinity only"
    )
