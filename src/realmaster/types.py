"""Frozen shapes and clips: the arithmetic on sizes lives here and nowhere else."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class VideoShape:
    """Size of a pixel video: frames, height and width in pixels."""

    num_frames: int
    height: int
    width: int

    def latents(self, *, time_stride: int, space_stride: int) -> LatentShape:
        """Size after a causal video autoencoder: the first frame alone, then groups of `time_stride`."""
        if (self.num_frames - 1) % time_stride or self.height % space_stride or self.width % space_stride:
            raise ValueError(f"{self} does not divide by strides {time_stride} (time) and {space_stride} (space)")
        return LatentShape(
            1 + (self.num_frames - 1) // time_stride, self.height // space_stride, self.width // space_stride
        )


@dataclass(frozen=True)
class LatentShape:
    """Size of latents: frames, height and width in latent pixels."""

    num_frames: int
    height: int
    width: int

    def num_tokens(self, patch: tuple[int, int, int]) -> int:
        """Count the transformer's tokens for a (time, height, width) patch."""
        return (self.num_frames // patch[0]) * (self.height // patch[1]) * (self.width // patch[2])


@dataclass(frozen=True)
class ClipInfo:
    """What is known of a clip before its frames are read.

    Width and height are those of the frames as delivered: upright, square pixels. `num_frames` and `duration_seconds`
    are absent where the container does not say. `frame_rate` is exact.
    """

    width: int
    height: int
    frame_rate: Fraction
    num_frames: int | None = None
    duration_seconds: float | None = None
    has_audio: bool = False
    has_alpha: bool = False
    source: str = ""


def round_up_frames(num_frames: int, time_stride: int) -> int:
    """Smallest count >= num_frames that is 1 modulo the autoencoder's time stride."""
    return 1 + -(-(num_frames - 1) // time_stride) * time_stride
