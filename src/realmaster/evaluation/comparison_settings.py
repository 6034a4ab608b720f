"""What `realmaster evaluate CONFIG.yaml` is told: clips, methods, metrics, tools. One strict YAML file.

Separate from the run so that a mistake in it costs a second. Paths are relative to the folder the command runs in.
"""

from __future__ import annotations

import glob
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import Field, field_validator, model_validator

from realmaster.config import Settings
from realmaster.data.pair_set import PairRow, read_rows
from realmaster.errors import ConfigError
from realmaster.evaluation.metrics.metric import Metric
from realmaster.evaluation.metrics.registry import find_metrics
from realmaster.evaluation.rows import file_name
from realmaster.evaluation.tools import ToolSettings

RENDER, TRUTH = "{render}", "{truth}"  # methods that are no method: the untouched input, and the ceiling
MADE_SUFFIX = ".mkv"  # of clips that a comparison makes: without loss
_CLIP = "{clip}"


class ClipSettings(Settings):
    """Which clips: a pair set, or patterns in which {clip} stands for the name."""

    pairs: Path | None = Field(None, description="pair set: renders, truths, and labels where it has them")
    split: str = Field("test", description="its split; all reads the manifest")
    render: str | None = Field(None, description="pattern of the renders, such as renders/{clip}.mp4")
    truth: str | None = Field(None, description="pattern of the ground truth, where there is any")
    labels: str | None = Field(None, description="pattern of folders of labels, as `realmaster render` writes them")
    names: tuple[str, ...] | None = Field(None, description="these clips only")
    limit: int | None = Field(None, ge=1, description="the first clips only")
    caption: str = Field("", description="what is seen, for baselines, where clips have no captions of their own")

    @model_validator(mode="after")
    def _one_source(self) -> ClipSettings:
        if (self.pairs is None) == (self.render is None):
            raise ValueError("expected either pairs or render, got both or neither")
        for name in ("render", "truth", "labels"):
            pattern = getattr(self, name)
            if pattern is not None and _CLIP not in pattern:
                raise ValueError(f"expected {_CLIP} in {name}, got {pattern!r}")
        return self


class GridSettings(Settings):
    """The common grid that all methods are brought to; the render decides it."""

    max_area: int = Field(832 * 480, ge=32 * 32, description="pixels of a frame; larger renders are shrunk to it")
    num_frames: int | None = Field(None, ge=1, le=1024, description="the first frames only")


class TrainedHere(Settings):
    """An adapter that the comparison trains first, where it is not there yet: a config, and what is changed in it."""

    config: Path = Field(description="of `realmaster train`")
    settings: dict[str, Any] = Field({}, description="what is changed in it, by dotted names; output for one")


class MadeMethod(Settings):
    """A method whose clips the comparison makes itself, where they are not there yet: a baseline and its settings."""

    baseline: str = Field(description="its name; `realmaster baselines list` has them")
    settings: dict[str, Any] = Field({}, description="what it is told, by dotted names")
    seed: int = Field(0, ge=0, description="of every clip")
    train: TrainedHere | None = Field(None, description="train the adapter first (baseline realmaster)")


class ComparisonSettings(Settings):
    """Everything about one comparison."""

    title: str = Field("Evaluation", description="heading of the report")
    output: Path = Field(description="folder for rows, tables and the page; a second run goes on with it")
    clips: ClipSettings
    methods: dict[str, str | MadeMethod] = Field(
        min_length=1,
        description="name: pattern with {clip}; {render} and {truth} are the clips themselves; or a baseline to run",
    )
    ours: str | None = Field(None, description="method that is tested against the best baseline; null is the first")
    baselines: tuple[str, ...] | None = Field(
        None, description="methods to be tested against; null is all but ours, {render} and {truth}"
    )
    metrics: tuple[str, ...] | None = Field(None, description="names; null is all of them")
    grid: GridSettings = GridSettings()
    tools: ToolSettings = ToolSettings()
    workers: int = Field(1, ge=1, le=256, description="processes, each with a clip at a time")
    players: int = Field(2, ge=0, le=20, description="best and worst clips to show on the page, this many each")

    @field_validator("methods")
    @classmethod
    def _methods_have_clips(cls, methods: dict[str, str | MadeMethod]) -> dict[str, str | MadeMethod]:
        for name, pattern in methods.items():
            if not name.strip() or len(name) > 80 or re.search(r"[\x00-\x1f]", name):
                raise ValueError(f"expected a name of 1 to 80 characters for each method, got {name!r}")
            if isinstance(pattern, str) and pattern not in (RENDER, TRUTH) and _CLIP not in pattern:
                raise ValueError(f"expected {_CLIP}, {RENDER} or {TRUTH} for the method {name!r}, got {pattern!r}")
        return methods

    @model_validator(mode="after")
    def _names_are_known(self) -> ComparisonSettings:
        names = [file_name(name).lower() for name in self.made]
        if len(set(names)) < len(names):
            raise ValueError("expected methods whose names differ by more than upper and lower case")
        for name in (*(() if self.ours is None else (self.ours,)), *(self.baselines or ())):
            if name not in self.methods:
                raise ValueError(f"expected one of the methods {', '.join(self.methods)}, got {name!r}")
        return self

    @property
    def our_method(self) -> str:
        """The method that is tested."""
        return self.ours if self.ours is not None else next(iter(self.methods))

    @property
    def baseline_methods(self) -> tuple[str, ...]:
        """The methods that it is tested against."""
        if self.baselines is not None:
            return tuple(name for name in self.baselines if name != self.our_method)
        return tuple(
            name for name, pattern in self.methods.items() if name != self.our_method and pattern not in (RENDER, TRUTH)
        )

    @property
    def made(self) -> dict[str, MadeMethod]:
        """The methods whose clips the comparison makes."""
        return {name: method for name, method in self.methods.items() if isinstance(method, MadeMethod)}

    @property
    def patterns(self) -> dict[str, str]:
        """Where each method's clips are: as told, or in the output folder where the comparison makes them."""
        return {
            name: pattern if isinstance(pattern, str) else str(self.clips_folder(name) / f"{_CLIP}{MADE_SUFFIX}")
            for name, pattern in self.methods.items()
        }

    def clips_folder(self, method: str) -> Path:
        """Where the clips of a method go that the comparison makes."""
        return self.output / "clips" / file_name(method)

    def chosen_metrics(self) -> list[Metric]:
        """The metrics, in the order of the tables.

        Raises:
            ConfigError: there is no metric of a name.
        """
        return find_metrics(self.metrics)


@dataclass(frozen=True)
class Scene:
    """One clip of the comparison: the render, and what is known of it."""

    name: str
    render: Path
    truth: Path | None
    labels: Path | None
    row: PairRow | None = None  # of a pair set: caption and weathers

    def output(self, pattern: str) -> Path | None:
        """Where a method's clip should be; None for the truth of a scene that has none."""
        if pattern == TRUTH:
            return self.truth
        return self.render if pattern == RENDER else Path(pattern.replace(_CLIP, self.name))


def find_scenes(settings: ComparisonSettings) -> list[Scene]:
    """Find the clips.

    Raises:
        ConfigError: there are none, or a method has none of them.
    """
    scenes = list_scenes(settings.clips)
    for method, pattern in settings.patterns.items():
        if method not in settings.made and not any(
            path is not None and _is_there(path) for path in (scene.output(pattern) for scene in scenes)
        ):
            where = "clips.truth" if pattern == TRUTH else pattern
            raise ConfigError(
                f"method {method!r}: expected clips at {where} such as {scenes[0].output(pattern)}, "
                f"found none of {len(scenes)}: correct the pattern or make the clips"
            )
    return scenes


def list_scenes(clips: ClipSettings) -> list[Scene]:
    """List the renders that are asked for.

    Raises:
        ConfigError: there are none, or one that is named is missing.
    """
    scenes = _scenes(clips)
    if clips.names is not None:
        missing = set(clips.names) - {scene.name for scene in scenes}
        if missing:
            raise ConfigError(f"expected a clip named {min(missing)!r}, found none: correct clips.names")
        scenes = [scene for scene in scenes if scene.name in clips.names]
    return scenes[: clips.limit]


def _scenes(clips: ClipSettings) -> list[Scene]:
    if clips.pairs is not None:
        return [
            Scene(row.name, row.engine, row.camera, _folder(clips.pairs / "labels" / row.name), row)
            for row in read_rows(clips.pairs, clips.split)
        ]
    pattern = str(clips.render)
    before, after = (glob.escape(part) for part in pattern.split(_CLIP, 1))
    expression = re.compile(re.escape(pattern).replace(re.escape(_CLIP), "([^/]+)", 1).replace(re.escape(_CLIP), r"\1"))
    paths = glob.glob(before + "*" + after.replace(_CLIP, "*"))  # noqa: PTH207, a pattern may be absolute
    found = [re.fullmatch(expression, path) for path in paths]
    names = sorted(match[1] for match in found if match)
    if not names:
        raise ConfigError(f"expected clips at {pattern}, found none: correct clips.render")
    return [
        Scene(
            name,
            Path(pattern.replace(_CLIP, name)),
            None if clips.truth is None else Path(clips.truth.replace(_CLIP, name)),
            None if clips.labels is None else _folder(Path(clips.labels.replace(_CLIP, name))),
        )
        for name in names
    ]


def _folder(path: Path) -> Path | None:
    return path if path.is_dir() else None


def _is_there(path: Path) -> bool:
    return path.exists() or "%" in path.name or "*" in path.name
