"""What needs no model: the untouched render, and a change of colours alone.

A method that does not beat the colour transfer has learnt a filter. It is fitted on pairs (a cubic polynomial of R,
G and B for each kind of weather, `colour_baseline`), or takes mean and spread of Lab colours from photographs:
Reinhard et al., "Color Transfer between Images", 2001, in CIE Lab, the whole clip at once so that it cannot flicker.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from pydantic import Field, model_validator

from realmaster.data.content import ContentHashes
from realmaster.data.pair_set import read_rows
from realmaster.errors import ConfigError, MediaError
from realmaster.evaluation.baselines.baseline import Baseline, BaselineSettings, Frames, RenderedClip
from realmaster.evaluation.baselines.weights import digest_of
from realmaster.evaluation.colour_baseline import ColourTransform, fit_colour_transforms
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.media.reader import open_clip

_MOST_FRAMES = 256  # of photographs: enough for two means and two spreads
_LEAST_SPREAD = 1e-3  # of a flat channel, which stays flat


class Untouched(Baseline[BaselineSettings]):
    """The render, as it came."""

    def translate(self, clip: RenderedClip) -> Frames:
        """Give the frames back."""
        return clip.frames


class ColourSettings(BaselineSettings):
    """Where the colours come from: one of the two."""

    pairs: Path | None = Field(None, description="pair set: a fit on its train split, for clips of pair sets")
    photographs: Path | None = Field(None, description="folder of images, or a clip, whose colours are taken")
    degree: int = Field(3, ge=1, le=3, description="of the fitted polynomial: 1 is affine, 3 cubic")

    @model_validator(mode="after")
    def _not_both(self) -> ColourSettings:
        if self.pairs is not None and self.photographs is not None:
            raise ValueError("expected either pairs or photographs, got both")
        return self


class ColourTransfer(Baseline[ColourSettings]):
    """The render in other colours."""

    settings_class = ColourSettings
    without_effect = frozenset({"pairs", "photographs"})  # named by their digests

    def lacking(self) -> Requirement | None:
        """Say that neither pairs nor photographs are named."""
        if self.settings.pairs is None and self.settings.photographs is None:
            return Requirement("no colours to take", "set pairs=FOLDER (a pair set) or photographs=FOLDER (images)")
        return None

    def describe(self) -> dict[str, Any]:
        """Name what was fitted by its content."""
        if self.settings.photographs is not None:
            return {"photographs": ContentHashes().of(self.settings.photographs)}
        assert self.settings.pairs is not None
        return {"fitted_on": digest_of(self.settings.pairs / "train.jsonl")}

    def translate(self, clip: RenderedClip) -> Frames:
        """Change the colours of all frames in one way."""
        if self.settings.photographs is not None:
            return transfer_colours(clip.frames, *self._target)
        if clip.row is None:
            raise ConfigError(
                f"{clip.name}: expected a clip of a pair set, which says its weather, got a plain one: take "
                "the colours of photographs instead (photographs=FOLDER)"
            )
        if not self._fit.knows(clip.row):
            raise MediaError(
                f"{clip.name}: expected a training pair of {clip.row.weathers_in_words}, found none: add one "
                "(columns engine_weather and camera_weather), or leave the clip out"
            )
        return self._fit.apply(clip.frames, clip.row)

    @cached_property
    def _fit(self) -> ColourTransform:
        assert self.settings.pairs is not None
        rows = read_rows(self.settings.pairs, "train")
        return fit_colour_transforms(rows, (self.settings.degree,))[0]

    @cached_property
    def _target(self) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Mean and spread [3] of the photographs' Lab colours."""
        assert self.settings.photographs is not None
        seen = []
        if self.settings.photographs.is_dir():
            seen = [
                image for path in sorted(self.settings.photographs.iterdir()) if (image := _image(path)) is not None
            ]
        if not seen:
            with open_clip(self.settings.photographs) as clip:
                for chunk in clip.chunks(16):
                    seen += [_thin(frame) for frame in chunk]
                    if len(seen) >= _MOST_FRAMES:
                        break
        pixels = np.concatenate(seen[:_MOST_FRAMES])
        return pixels.mean(0), pixels.std(0)


def transfer_colours(frames: Frames, mean: npt.NDArray[np.float64], spread: npt.NDArray[np.float64]) -> Frames:
    """Give frames uint8 [F, H, W, 3] the mean and spread [3] of CIE Lab colours: (c - own mean) spread / own + mean."""
    lab = [cv2.cvtColor(frame.astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB) for frame in frames]
    flat = np.concatenate([image.reshape(-1, 3) for image in lab]).astype(np.float64)
    own_mean, own_spread = flat.mean(0), flat.std(0)
    gain = np.where(own_spread < _LEAST_SPREAD, 1.0, spread / np.maximum(own_spread, _LEAST_SPREAD))
    done = [cv2.cvtColor(((image - own_mean) * gain + mean).astype(np.float32), cv2.COLOR_LAB2RGB) for image in lab]
    return np.stack([np.rint(np.clip(image, 0.0, 1.0) * 255.0).astype(np.uint8) for image in done])


def _image(path: Path) -> npt.NDArray[np.float64] | None:
    read = cv2.imread(str(path), cv2.IMREAD_COLOR)
    return None if read is None else _thin(np.asarray(read[..., ::-1], np.uint8))


def _thin(frame: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    """Every fourth row and column in Lab: [n, 3]."""
    lab = cv2.cvtColor(np.ascontiguousarray(frame[::4, ::4]).astype(np.float32) / 255.0, cv2.COLOR_RGB2LAB)
    return np.asarray(lab.reshape(-1, 3), np.float64)
