"""What decides the content of a cache: sizes, frames, cropping, augmentation.

Separate because the training config holds these settings as one group, and reading a config loads no models.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from realmaster.config import Settings
from realmaster.data.augment import Augmentation
from realmaster.training.buckets import Bucket


class CacheSettings(Settings):
    """How pairs become latents."""

    buckets: tuple[Bucket, ...] = Field(min_length=1, description='sizes, such as "832x480x81"')
    frame_rate: int = Field(16, ge=1, le=240, description="frames a second; a whole multiple repeats frames (8 to 16)")
    image_rate: int | None = Field(
        None, ge=1, description="images a second where a clip is a folder of images; None takes frame_rate"
    )
    shorter: Literal["refuse", "hold"] = Field(
        "refuse", description="a clip shorter than every bucket is a broken row, or its last frame is held"
    )
    longer: Literal["first", "split"] = Field(
        "first", description="of a longer clip the first frames are taken, or it is split into as many as fit whole"
    )
    fit: Literal["crop", "stretch"] = Field(
        "crop", description="another aspect is cropped around the middle, or stretched"
    )
    reference_scale: Literal[1, 2] = Field(1, description="how much smaller the reference's sides are")
    num_variants: int = Field(1, ge=1, le=1000, description="versions of each clip: as it is, and augmented ones")
    augmentations: tuple[Augmentation, ...] = Field((), description="what is done to variants 1, 2, ...")
    seed: int = Field(0, ge=0, description="seed of the augmentations")
    dtype: Literal["float32", "bfloat16", "float16"] = Field("float32", description="of the latents on disk")

    def made_of(self) -> dict[str, Any]:
        """Give what every entry of a cache shares, in plain JSON values; buckets and variants may grow."""
        return self.model_dump(mode="json", exclude={"buckets", "num_variants"})
