"""The scorer of a pipeline: settings, the face model loaded once per process, and what the record says of it.

Separate from the formulas (`scores`) because this is what holds a model.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from realmaster.config import Settings
from realmaster.errors import ConfigError
from realmaster.models.faces import FaceModel
from realmaster.pairs.scores import plain, score_clip

Frames = npt.NDArray[np.uint8]
Frame = npt.NDArray[np.uint8]


class IdentitySettings(Settings):
    """Who looks at the faces."""

    model: Literal["arcface", "dlib", "none"] = Field(
        "dlib", description="arcface is the paper's and wants insightface's files; dlib comes with the extra `faces`"
    )
    weights: Path | None = Field(None, description="arcface: folder of insightface's ONNX files")
    num_frames: int = Field(5, ge=1, le=1024, description="frames in which faces are looked for")

    @model_validator(mode="after")
    def _weights_fit(self) -> Self:
        if (self.model == "arcface") != (self.weights is not None):
            raise ValueError(f"expected weights with model arcface and with it alone, got model {self.model}")
        return self


class ScoringSettings(Settings):
    """How finished clips are measured."""

    identity: IdentitySettings = IdentitySettings()
    num_frames: int = Field(16, ge=2, le=1024, description="frames or steps that the other scores look at")


class Scorer:
    """Measures clips; the face model is loaded by `setup`, once in each process."""

    def __init__(self, settings: ScoringSettings | None = None) -> None:
        """Take settings; nothing is loaded yet."""
        self.settings = settings if settings is not None else ScoringSettings()
        self.faces: FaceModel | None = None
        self._is_ready = self.settings.identity.model == "none"

    @property
    def num_face_frames(self) -> int:
        """Frames in which faces are looked for."""
        return self.settings.identity.num_frames

    @property
    def num_frames(self) -> int:
        """Frames, or steps, that the other scores look at."""
        return self.settings.num_frames

    def setup(self) -> None:
        """Load the face model.

        Raises:
            MissingWeightsError, MissingExtraError: it is not on this machine. A set is never filtered without it.
        """
        if not self._is_ready:
            self.faces = _face_model(self.settings.identity)
            self._is_ready = True

    def describe(self) -> dict[str, Any]:
        """Say for the record who measured: the face model with its version, and the settings.

        Raises:
            MissingWeightsError, MissingExtraError: see `setup`.
        """
        self.setup()
        return {
            "faces": None if self.faces is None else self.faces.name,
            "num_face_frames": self.num_face_frames,
            "num_frames": self.num_frames,
        }

    def score(self, source: Frames, result: Frames, anchors: Mapping[int, Frame]) -> dict[str, float]:
        """Measure a clip, see `score_clip`; rounded, so that a record of the same clip is the same bytes."""
        self.setup()
        return plain(score_clip(source, result, anchors, self))


def _face_model(settings: IdentitySettings) -> FaceModel:
    if settings.model == "dlib":
        from realmaster.models.faces_dlib import DlibFaces

        return DlibFaces()
    from realmaster.models.faces_insight import InsightFaces

    if settings.weights is None:
        raise ConfigError("expected weights for the face model arcface, got none: set identity.weights to their folder")
    return InsightFaces(settings.weights)
