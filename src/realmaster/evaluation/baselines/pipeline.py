"""The pipeline that makes the training data, as a method of its own: edit anchors, draw edges, propagate with VACE.

What the trained model is compared with in the paper's ablation, with every strategy as a setting. It needs the whole
clip and both its ends, edits for each clip anew, and cannot know what appears in between; the trained model can.
"""

from __future__ import annotations

from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import Field, model_validator

from realmaster.evaluation.baselines.baseline import Baseline, Frames, RenderedClip
from realmaster.evaluation.baselines.realmaster import ProfileSettings, lacking_weights
from realmaster.evaluation.baselines.weights import digest_of_settings
from realmaster.evaluation.metrics.metric import Requirement
from realmaster.models.identity import identify_weights
from realmaster.models.profiles import Profile, load_profile
from realmaster.pipelines.control import make_control
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.edit_folder import FromFolder
from realmaster.pipelines.edit_in_context import NanoEditor
from realmaster.pipelines.edit_qwen import QwenImageEdit
from realmaster.pipelines.propagate import AnchorStrategy, choose_anchors
from realmaster.pipelines.propagate_vace import VacePropagator
from realmaster.pipelines.sizes import resize


class PipelineSettings(ProfileSettings):
    """Which frames are edited, by what, and what else the propagator sees.

    `model_dir` holds `<profile>/vace` and `<profile>/editor`, as for `realmaster pairs build`.
    """

    edits: Path | None = Field(None, description="folder of edited frames instead of an editor, named by their renders")
    anchors: AnchorStrategy = Field("first_last", description="frames that are edited")
    every: int | None = Field(None, ge=1, description="distance between anchors, for anchors: every")
    control: Literal["canny", "soft", "grey", "none"] = Field("canny", description="what VACE sees of the render")

    @model_validator(mode="after")
    def _sees_something(self) -> PipelineSettings:
        if self.anchors == "none" and self.control == "none":
            raise ValueError("expected anchors or a control, got neither: the clip would have nothing of the render")
        if (self.anchors == "every") != (self.every is not None):
            raise ValueError("expected every with anchors: every, and only then")
        return self


class Pipeline(Baseline[PipelineSettings]):
    """Anchors and VACE, nothing trained on pairs."""

    settings_class = PipelineSettings
    without_effect = frozenset({"model_dir"})

    def lacking(self) -> Requirement | None:
        """Say which weights are not here."""
        return lacking_weights(self._part("vace")) or (
            None if self._edits_itself is None else lacking_weights(self._edits_itself)
        )

    def describe(self) -> dict[str, Any]:
        """Name weights and settings of propagator and editor."""
        editor, propagator = self._edits_itself, self._part("vace")
        return {
            "weights": identify_weights(propagator),
            "profile": digest_of_settings(propagator),
            **({} if editor is None else {"editor": [identify_weights(editor), digest_of_settings(editor)]}),
        }

    def translate(self, clip: RenderedClip) -> Frames:
        """Edit the anchors together, draw the control, propagate."""
        settings, frames = self.settings, clip.frames
        indices = choose_anchors(len(frames), settings.anchors, every=settings.every)
        anchors: dict[int, Frames] = {}
        if indices:
            edited = self._editor.edit(frames[list(indices)], prompt=clip.prompt, seed=clip.seed)
            anchors = dict(zip(indices, edited, strict=True))
        control = None
        if settings.control != "none":
            size = self._propagator.control_size(*frames.shape[1:3])
            control = make_control(resize(frames, size), settings.control)
        made = self._propagator.propagate(frames, anchors, control, prompt=clip.prompt, seed=clip.seed)
        return np.asarray(made, np.uint8)

    @property
    def _edits_itself(self) -> Profile | None:
        """The editor's part of the profile, where an editor is used."""
        if self.settings.edits is not None or self.settings.anchors == "none":
            return None
        return self._part("editor")

    def _part(self, part: str) -> Profile:
        settings = self.settings
        return load_profile(f"{settings.profile}/{part}", model_dir=settings.model_dir, changes=settings.changes)

    @cached_property
    def _editor(self) -> KeyframeEditor:
        settings = self.settings
        if settings.edits is not None:
            return FromFolder(settings.edits)
        part = self._part("editor")
        kind = NanoEditor if part.editor is None or part.editor.kind == "in_context" else QwenImageEdit
        return kind.from_profile(
            settings.profile, device=self.device, model_dir=settings.model_dir, changes=settings.changes
        )

    @cached_property
    def _propagator(self) -> VacePropagator:
        settings = self.settings
        return VacePropagator.from_profile(
            settings.profile, device=self.device, model_dir=settings.model_dir, changes=settings.changes
        )
