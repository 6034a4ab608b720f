"""Settings of a set of pairs: which footage, how it is edited and carried on, what is kept, and who computes it.

The groups `sources`, `sample`, `edit`, `control`, `propagate`, `seed`, `caption` and `video` decide every picture:
their digest stands in each record, and a set is never continued with others. The rest may change from run to run.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from realmaster.config import Settings
from realmaster.data.sampler import SampleSettings
from realmaster.data.sources.source import SourceSettings
from realmaster.pairs.scoring import ScoringSettings
from realmaster.pairs.stage import STAGES
from realmaster.pairs.thresholds import Thresholds
from realmaster.pipelines.control import ControlKind
from realmaster.pipelines.edit_checks import EditCheckSettings
from realmaster.pipelines.propagate import AnchorStrategy

_FUNCTION = r"[\w.]+:\w+"
_OF_FACES = ("min_identity", "max_identity_distance", "no_faces", "min_faces_found")


class EditSettings(Settings):
    """Which frames are edited, by what, and how an edit is checked."""

    editor: str = Field(
        "profile",
        description='"profile"; "folder:PATH" with edits made elsewhere; or package.module:function',
    )
    prompt: str | None = Field(None, description="what the editor is asked for; null takes the clip's caption")
    anchors: AnchorStrategy = Field("first_last", description="first_last (paper), first, none, or every k-th frame")
    every: int | None = Field(None, ge=1, description="k of anchors: every")
    check: EditCheckSettings | None = Field(
        EditCheckSettings(), description="what an edit may do to its keyframe, and how many seeds are tried; null: all"
    )

    @model_validator(mode="after")
    def _every_fits(self) -> Self:
        if (self.anchors == "every") != (self.every is not None):
            raise ValueError("expected every with anchors: every, and with it alone")
        return self


class ControlSettings(Settings):
    """What tells the propagator where things are."""

    kind: ControlKind | None = Field("canny", description="canny (paper), soft, depth (the source's), grey; null: none")


class PropagateSettings(Settings):
    """What carries the edits over the clip."""

    propagator: str = Field("profile", description='"profile", or package.module:function')
    prompt: str | None = Field(None, description="what is to be seen; null takes the clip's caption")


class VideoSettings(Settings):
    """How finished clips are stored."""

    codec: Literal["h264", "lossless"] = Field(
        "h264", description="h264 is visually lossless; lossless is exact, 6x larger"
    )


class StageCompute(Settings):
    """What Ray gives one stage."""

    workers: int = Field(1, ge=1, le=1024, description="actors, each with its own models")
    cpus: float = Field(0.1, ge=0, description="cores that Ray counts for each")
    gpus: float = Field(0.0, ge=0, description="GPUs of each; 0.5 lets two share one")


class ComputeSettings(Settings):
    """Who computes; decides no picture, but for the threads, on which the last digits of a CPU's sums depend."""

    device: str | None = Field(None, description="torch's name of it; null takes the fastest there is")
    threads: int | None = Field(None, ge=1, le=256, description="threads of each process; null takes torch's own")
    hold: Literal["all", "one"] = Field(
        "all", description="local: all models at once; or one at a time, each stage going over a batch of clips"
    )
    batch: int = Field(64, ge=1, description="clips that are under way together where models are held one at a time")
    stages: dict[str, StageCompute] = Field({}, description="Ray: workers of a stage; others have one worker")
    attempts: int = Field(3, ge=1, le=16, description="Ray: how often a clip is tried when its worker dies")
    stop_after: int | None = Field(
        20, ge=1, description="stop when so many clips failed one after the other; null goes on"
    )

    @field_validator("stages")
    @classmethod
    def _known(cls, stages: dict[str, StageCompute]) -> dict[str, StageCompute]:
        unknown = set(stages) - set(STAGES)
        if unknown:
            raise ValueError(f"expected stages among {', '.join(STAGES)}, got {', '.join(sorted(unknown))}")
        return stages

    def of(self, stage: str) -> StageCompute:
        """Give what Ray gives a stage."""
        return self.stages.get(stage, StageCompute())


class PairSettings(Settings):
    """A set of pairs."""

    output: str = Field(description="folder of the set, or an fsspec address such as s3://bucket/set")
    profile: str = Field("nano", description="whose editor and propagator make the pairs")
    model_dir: str | None = Field(None, description="folder of the profile's checkpoints")
    changes: dict[str, Any] = Field({}, description="settings of the profile by their dotted names")
    seed: int = Field(0, ge=0, lt=2**32, description="of the draw of clips and of their noise")
    caption: str = Field("a photograph", description="of clips whose source says nothing")
    sources: tuple[SourceSettings, ...] = Field(min_length=1)
    sample: SampleSettings
    edit: EditSettings = EditSettings()
    control: ControlSettings = ControlSettings()
    propagate: PropagateSettings = PropagateSettings()
    video: VideoSettings = VideoSettings()
    scoring: ScoringSettings = ScoringSettings()
    thresholds: Thresholds = Thresholds()
    compute: ComputeSettings = ComputeSettings()

    @model_validator(mode="after")
    def _fits(self) -> Self:
        for maker in (self.edit.editor, self.propagate.propagator):
            is_folder = maker is self.edit.editor and maker.startswith("folder:")
            if maker != "profile" and not is_folder and not re.fullmatch(_FUNCTION, maker):
                raise ValueError(f'expected "profile" or package.module:function, got {maker!r}')
        return self

    @model_validator(mode="after")
    def _faces_can_be_judged(self) -> Self:
        """A threshold that somebody chose and that this face model cannot measure would let every clip pass."""
        model = self.scoring.identity.model
        measured = {"arcface": {"min_identity"}, "dlib": {"max_identity_distance"}, "none": set[str]()}[model]
        measured |= set() if model == "none" else {"no_faces", "min_faces_found"}
        usual = Thresholds()
        chosen = {n for n in _OF_FACES if getattr(self.thresholds, n) not in (None, getattr(usual, n))}
        lost = sorted(chosen - measured)
        if lost:
            raise ValueError(
                f"expected thresholds that the face model {model} can measure, got {lost[0]}: choose another "
                "scoring.identity.model, or leave it out"
            )
        return self

    @field_validator("changes", mode="before")
    @classmethod
    def _are_dotted(cls, changes: Any) -> Any:
        """Take groups within groups as dotted names."""
        return dict(_dotted(changes)) if isinstance(changes, Mapping) else changes

    def deciding(self) -> dict[str, Any]:
        """Give the settings that decide pictures, scores and splits, as JSON.

        How many clips there are does not, nor where footage and checkpoints lie: both may move.
        """
        values = self.model_dump(mode="json", exclude={"output", "compute", "thresholds", "model_dir"})
        for source in values["sources"]:
            del source["path"]
        values["sample"] = {k: v for k, v in values["sample"].items() if k not in ("train", "validation")}
        return values

    @property
    def digest(self) -> str:
        """Name the settings that decide pictures: 16 hexadecimal digits."""
        return hashlib.sha256(json.dumps(self.deciding(), sort_keys=True).encode()).hexdigest()[:16]


def _dotted(changes: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in changes.items():
        if isinstance(value, Mapping) and value:
            yield from _dotted(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
