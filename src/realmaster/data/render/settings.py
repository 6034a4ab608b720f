"""What can be asked of the renderer: one clip (`ClipSettings`) or a whole set of them (`RenderSettings`).

A clip's settings decide its every pixel; they go into its record, and a second run compares them.
"""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from realmaster.config import Settings

Scene = Literal["street", "courtyard", "room", "demo"]
Weather = Literal["clear", "overcast", "rain", "night"]
Look = Literal["engine", "camera"]
Label = Literal["depth", "normal", "segmentation", "flow", "camera"]
Closeup = Literal["none", "first", "last"]

PAIR_SCENES: tuple[Scene, ...] = ("street", "courtyard", "room")
WEATHERS: tuple[Weather, ...] = ("clear", "overcast", "rain", "night")
LOOKS: tuple[Look, ...] = ("engine", "camera")
LABELS: tuple[Label, ...] = ("depth", "normal", "segmentation", "flow", "camera")


class PictureSettings(Settings):
    """Size, length and quality; the same for every clip of a set."""

    num_frames: int = Field(13, ge=1, le=1000, description="Frames of a clip; 4n + 1 fits the video autoencoders.")
    width: int = Field(256, ge=16, le=4096, description="Pixels.")
    height: int = Field(144, ge=16, le=4096, description="Pixels.")
    frame_rate: int = Field(16, ge=1, le=120, description="Frames a second that the files say.")
    motion_rate: float = Field(
        24.0, gt=0, le=240, description="Frames to a second of the scene's own time; 24 at 16 fps is a slow two thirds."
    )
    looks: tuple[Look, ...] = Field(LOOKS, min_length=1, description="Which of the two looks to render.")
    labels: tuple[Label, ...] = Field((), description="Ground truth to store for each frame.")
    samples: int = Field(3, ge=1, le=4096, description="Paths a pixel of the camera look, before denoising.")
    keep_clear: bool = Field(
        False, description="Move people and camera out of cars, walls and one another; changes what a seed shows."
    )
    average_grades: bool = Field(
        False,
        description="The camera look as the mean of all grades, through a middling lens, without grain: to learn from.",
    )
    supersampling: int = Field(2, ge=1, le=4, description="The camera look is rendered this much larger, then reduced.")


class ClipSettings(PictureSettings):
    """Everything that decides one clip."""

    seed: int = Field(ge=0, lt=2**32, description="Seed of geometry, camera path and light.")
    scene: Scene
    engine_weather: Weather
    camera_weather: Weather
    closeup: Closeup = Field("none", description="Frame the face of the first or last person of the scene.")


class RenderSettings(PictureSettings):
    """A set of pairs: which seeds, and what is fixed for all of them; None lets the seed decide."""

    seeds: tuple[int, ...] = Field(min_length=1, description="Scenes to render.")
    scene: Scene | None = None
    weathers: tuple[Weather, ...] | None = Field(None, min_length=1, description="Weathers of the camera look.")
    engine_weather: Weather | None = Field(
        None, description="Weather of the engine look; else that of the camera look."
    )
    closeup: Closeup | None = None

    @model_validator(mode="after")
    def _seeds_are_different(self) -> Self:
        if len(set(self.seeds)) != len(self.seeds):
            raise ValueError("seeds are named twice")
        return self
