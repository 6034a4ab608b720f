"""The six stages, in the order of the paper's data engine (arXiv 2603.23462).

    sample     frames of the render, at the clip's rate and size          -> engine.mkv (depth.npy)
    edit       keyframes, turned into photographs together, and checked   -> anchor_0000.png, ...
    control    edges of the render, or what the settings ask for          -> control.mkv
    propagate  the anchors' look carried over the clip along the control  -> camera.mkv
    score      identity, structure, flicker, fidelity, measured once
    finish     videos put in place, then the record

Each reads what the ones before left in the clip's working folder. A stage may be pickled before `setup`.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.data.clip_frames import read_clip, read_clip_pass
from realmaster.data.sources.registry import open_source
from realmaster.data.sources.source import Source
from realmaster.errors import DataError, MediaError
from realmaster.media.images import encode_image, read_image
from realmaster.pairs.frames_file import load_frames, load_planes, write_frames, write_planes
from realmaster.pairs.kept_thresholds import thresholds_now
from realmaster.pairs.makers import load_editor, load_propagator
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.record import Record, write_record
from realmaster.pairs.scores import plain
from realmaster.pairs.scoring import Scorer
from realmaster.pairs.settings import PairSettings
from realmaster.pairs.stage import Job, Stage
from realmaster.pairs.stage_base import StageBase
from realmaster.pairs.thresholds import decide, in_words
from realmaster.pipelines.control import make_control
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.edit_checks import edit_checked
from realmaster.pipelines.propagate import Propagator, choose_anchors

Frames = npt.NDArray[np.uint8]
_ROLES = {"edit": "editor", "propagate": "propagator", "score": "scorer"}


class SampleStage(StageBase):
    """Cut the clip out of its video."""

    name = "sample"
    is_beside_models = True

    def setup(self) -> None:
        """Open nothing yet: a source is opened when its first clip comes."""
        super().setup()
        self._sources: dict[str, Source] = {}

    def __call__(self, job: Job) -> Job:
        """Read, repeat, frame and store the frames, and the depth where control wants it."""
        cut = job.clip.cut
        source, size = self._open(cut.source), (cut.height, cut.width)
        where = (source, cut.video, Fraction(cut.source_rate))
        frames = read_clip(*where, cut.first_frame, size, self.settings.sample)
        write_frames(self.store, self.pairs.work(job.clip.id, "engine.mkv"), frames, cut.frame_rate)
        if self.settings.control.kind == "depth":
            depth = read_clip_pass(*where, "depth", cut.first_frame, size, self.settings.sample)
            write_planes(self.store, self.pairs.work(job.clip.id, "depth.npy"), depth.astype(np.float32))
        return job.found(self.name, {})

    def _open(self, label: str) -> Source:
        if label not in self._sources:
            chosen = next((one for one in self.settings.sources if one.label == label), None)
            if chosen is None:
                raise DataError(f"expected the source {label} in the set's settings, found none: restore it")
            self._sources[label] = open_source(chosen)
        return self._sources[label]


class EditStage(StageBase):
    """Turn the keyframes into photographs, check them against the render, try again or give up."""

    name = "edit"
    uses_torch = True

    def setup(self) -> None:
        """Load the editor, where any frame is to be edited."""
        super().setup()
        self.editor: KeyframeEditor | None = None
        if self.settings.edit.anchors != "none":
            self.editor = load_editor(self.settings)

    def close(self) -> None:
        """Let the editor go."""
        self.editor = None

    def __call__(self, job: Job) -> Job:
        """Edit the keyframes of a clip together, with one prompt and seed."""
        edit = self.settings.edit
        engine = load_frames(self.store, self.pairs.work(job.clip.id, "engine.mkv"))
        indices = choose_anchors(len(engine), edit.anchors, every=edit.every)
        prompt = self.prompt(job, edit.prompt)
        facts: dict[str, Any] = {"anchors": list(indices), "prompt": prompt}
        if self.editor is None:
            return job.found(self.name, facts)
        keyframes = engine[list(indices)]
        editor, seed = _Timed(self.editor, self), job.clip.seed
        if edit.check is None:
            frames, reason, scores = editor.edit(keyframes, prompt=prompt, seed=seed), None, {}
        else:
            checked = edit_checked(editor, keyframes, prompt=prompt, seed=seed, settings=edit.check)
            frames, reason, scores, seed = checked.frames, checked.reason, plain(checked.as_json()), checked.seed
        for index, anchor in zip(indices, frames, strict=True):
            with self.store.writing(self.pairs.work(job.clip.id, anchor_name(index))) as part:
                part.write_bytes(encode_image(anchor, ".png"))
        job = job.found(self.name, facts | {"model": self.editor.describe(), "seed": seed, "scores": scores})
        return job if reason is None else job.reject(self.name, reason)


class _Timed:
    """An editor whose time counts as the model's, and whose frames are looked at."""

    def __init__(self, editor: KeyframeEditor, stage: EditStage) -> None:
        self._editor, self._stage, self.name = editor, stage, editor.name

    def describe(self) -> dict[str, Any]:
        return self._editor.describe()

    def edit(self, frames: Frames, *, prompt: str, seed: int) -> Frames:
        with self._stage.within_model():
            edited = self._editor.edit(frames, prompt=prompt, seed=seed)
        if edited.shape != frames.shape or edited.dtype != np.uint8:
            raise MediaError(
                f"expected uint8 frames {list(frames.shape)} from the editor {self.name}, got {edited.dtype} "
                f"{list(edited.shape)}: mend it"
            )
        return edited


class ControlStage(StageBase):
    """Draw the control video."""

    name = "control"
    is_beside_models = True

    def __call__(self, job: Job) -> Job:
        """Make edges, soft edges, depth or grey of the render."""
        kind = self.settings.control.kind
        if kind is not None:
            engine = load_frames(self.store, self.pairs.work(job.clip.id, "engine.mkv"))
            depth = load_planes(self.store, self.pairs.work(job.clip.id, "depth.npy")) if kind == "depth" else None
            control = make_control(engine, kind, depth)
            name = self.pairs.work(job.clip.id, "control.mkv")
            write_frames(self.store, name, control, job.clip.cut.frame_rate)
        return job.found(self.name, {"kind": kind})


class PropagateStage(StageBase):
    """Carry the anchors' look over the clip."""

    name = "propagate"
    uses_torch = True

    def setup(self) -> None:
        """Load the propagator."""
        super().setup()
        self.propagator: Propagator | None = load_propagator(self.settings)

    def close(self) -> None:
        """Let the propagator go."""
        self.propagator = None

    def __call__(self, job: Job) -> Job:
        """Make the camera's clip from anchors and control."""
        assert self.propagator is not None, "set up before the first job"
        clip = job.clip
        engine = load_frames(self.store, self.pairs.work(clip.id, "engine.mkv"))
        has_control = self.settings.control.kind is not None
        control = load_frames(self.store, self.pairs.work(clip.id, "control.mkv")) if has_control else None
        prompt = self.prompt(job, self.settings.propagate.prompt)
        anchors = load_anchors(self.pairs, job)
        with self.within_model():
            camera = self.propagator.propagate(engine, anchors, control, prompt=prompt, seed=clip.seed)
        if camera.shape != engine.shape or camera.dtype != np.uint8:
            raise MediaError(
                f"expected uint8 frames {list(engine.shape)} from the propagator {self.propagator.name}, got "
                f"{camera.dtype} {list(camera.shape)}: mend it"
            )
        write_frames(self.store, self.pairs.work(clip.id, "camera.mkv"), camera, clip.cut.frame_rate)
        return job.found(self.name, {"model": self.propagator.describe(), "prompt": prompt})


class ScoreStage(StageBase):
    """Measure the result once; what is kept is decided from the scores."""

    name = "score"
    is_beside_models = True

    def setup(self) -> None:
        """Load the face model; a set is never filtered by identity without it."""
        super().setup()
        self.scorer: Scorer | None = Scorer(self.settings.scoring)
        self.scorer.setup()

    def close(self) -> None:
        """Let the face model go."""
        self.scorer = None

    def __call__(self, job: Job) -> Job:
        """Score the clip against its render."""
        assert self.scorer is not None, "set up before the first job"
        engine = load_frames(self.store, self.pairs.work(job.clip.id, "engine.mkv"))
        camera = load_frames(self.store, self.pairs.work(job.clip.id, "camera.mkv"))
        anchors = load_anchors(self.pairs, job)
        with nullcontext() if self.scorer.faces is None else self.within_model():
            scores = self.scorer.score(engine, camera, anchors)
        return job.found(self.name, {"model": self.scorer.describe(), "scores": scores})


class FinishStage(StageBase):
    """Put the videos in place, then the record that makes the clip part of the set."""

    name = "finish"
    is_beside_models = True

    def __call__(self, job: Job) -> Job:
        """Write engine, camera and control as they are kept, and the record last."""
        clip, files = job.clip, {}
        suffix = ".mp4" if self.settings.video.codec == "h264" else ".mkv"
        for name in ("engine", "camera", "control"):
            worked = self.pairs.work(clip.id, f"{name}.mkv")
            if self.store.exists(worked):
                files[name] = f"videos/{clip.id}/{name}{suffix}"
                frames = load_frames(self.store, worked)
                write_frames(self.store, files[name], frames, clip.cut.frame_rate, codec=self.settings.video.codec)
        anchors = tuple(job.facts.get("edit", {}).get("anchors", ()))
        for index in anchors:
            worked = self.pairs.work(clip.id, anchor_name(index))
            if self.store.exists(worked):
                files[anchor_name(index).removesuffix(".png")] = f"videos/{clip.id}/{anchor_name(index)}"
                with self.store.writing(f"videos/{clip.id}/{anchor_name(index)}") as part:
                    part.write_bytes(self.store.reading(worked).read_bytes())
        record = self._record(job, anchors, files)
        write_record(self.store, record)
        self.pairs.clear(clip.id)
        return job

    def _record(self, job: Job, anchors: tuple[int, ...], files: Mapping[str, str]) -> Record:
        models = {_ROLES[stage]: facts["model"] for stage, facts in job.facts.items() if "model" in facts}
        prompts = {stage: facts["prompt"] for stage, facts in job.facts.items() if "prompt" in facts}
        known = ("model", "prompt", "scores", "anchors")
        left = {s: {k: v for k, v in facts.items() if k not in known} for s, facts in job.facts.items()}
        scores = {k: v for facts in job.facts.values() for k, v in facts.get("scores", {}).items()}
        thresholds = thresholds_now(self.store, self.settings.thresholds)
        reason = job.reason if job.rejected_at is not None else in_words(decide(scores, thresholds))
        return Record(
            clip=job.clip,
            settings=self.settings.digest,
            prompts=prompts,
            anchors=anchors,
            models=models,
            facts={stage: facts for stage, facts in left.items() if facts},
            scores=scores,
            accepted=reason is None,
            reason=reason,
            rejected_at=job.rejected_at,
            files=files,
        )


def make_stages(settings: PairSettings, root: str) -> list[Stage]:
    """Make the stages in their order; nothing is loaded yet."""
    return [
        SampleStage(settings, root),
        EditStage(settings, root),
        ControlStage(settings, root),
        PropagateStage(settings, root),
        ScoreStage(settings, root),
        FinishStage(settings, root),
    ]


def anchor_name(index: int) -> str:
    """Name the file of an edited frame."""
    return f"anchor_{index:04d}.png"


def load_anchors(pairs: PairSet, job: Job) -> dict[int, Frames]:
    """Read the edited frames of a clip, by their place in it."""
    indices = job.facts.get("edit", {}).get("anchors", ())
    names = {index: pairs.work(job.clip.id, anchor_name(index)) for index in indices}
    return {index: read_image(pairs.store.reading(name)) for index, name in names.items() if pairs.store.exists(name)}
