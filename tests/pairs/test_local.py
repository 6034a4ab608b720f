from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from pair_making import settings_for
from realmaster.errors import DataError, OutputError
from realmaster.pairs import frames_file
from realmaster.pairs.frames_file import load_frames, write_frames
from realmaster.pairs.journal import Entry, idle_share
from realmaster.pairs.local import AHEAD, LocalExecutor
from realmaster.pairs.pair_set import PairSet
from realmaster.pairs.planning import make_plan, scan_here
from realmaster.pairs.runner import Done, Step
from realmaster.pairs.stage import Job


class Beside:
    """A stage without a model; says which clips have passed."""

    is_beside_models = True

    def __init__(self, name: str, fails: type[Exception] | None = None) -> None:
        self.name, self.fails = name, fails
        self.passed: dict[str, threading.Event] = {}
        self.threads: set[str] = set()

    def setup(self) -> None:
        pass

    def __call__(self, job: Job) -> Job:
        self.threads.add(threading.current_thread().name)
        if self.fails is not None:
            raise self.fails(f"{job.clip.id} cannot be had")
        self.passed.setdefault(job.clip.id, threading.Event()).set()
        return job


class Model:
    """A stage with a model, which waits until another clip has passed a stage beside it."""

    name = "edit"

    def __init__(self, waits_for: tuple[Beside, str] | None = None, interrupted: bool = False) -> None:
        self.waits_for, self.interrupted = waits_for, interrupted
        self.threads: list[threading.Thread] = []

    def setup(self) -> None:
        pass

    def __call__(self, job: Job) -> Job:
        self.threads.append(threading.current_thread())
        if self.interrupted:
            raise KeyboardInterrupt
        if self.waits_for is not None:
            stage, clip = self.waits_for
            assert stage.passed.setdefault(clip, threading.Event()).wait(20), "nothing went on beside the model"
        return job


def jobs_of(root: Path) -> tuple[PairSet, list[Job]]:
    settings = settings_for(root)
    pairs = PairSet(settings.output)
    return pairs, [Job(clip) for clip in make_plan(pairs, settings, scanner=scan_here, progress=None).clips]


def run(stages: list[object], pairs: PairSet, jobs: list[Job]) -> tuple[list[Step], list[Done]]:
    steps: list[Step] = []
    done: list[Done] = []
    LocalExecutor()(stages, jobs, pairs, "d", report=steps.append, finish=done.append)  # type: ignore[arg-type]
    return steps, done


def test_the_next_clip_is_read_while_a_model_works_on_this_one(tmp_path: Path) -> None:
    pairs, jobs = jobs_of(tmp_path)
    sample, score = Beside("sample"), Beside("score", fails=DataError)  # ends a clip without a record
    model = Model(waits_for=(sample, jobs[AHEAD - 1].clip.id))
    steps, done = run([sample, model, score], pairs, jobs)
    assert {step.clip for step in steps if step.stage == "edit"} == {job.clip.id for job in jobs}
    assert [one.outcome for one in done] == ["failed"] * len(jobs)
    assert set(model.threads) == {threading.current_thread()}  # where Ctrl-C arrives
    assert len(sample.threads) == 1  # a stage has one clip at a time
    assert threading.current_thread().name not in sample.threads


def test_what_hits_every_clip_beside_a_model_ends_the_run(tmp_path: Path) -> None:
    pairs, jobs = jobs_of(tmp_path)
    with pytest.raises(OutputError, match="cannot be had"):
        run([Beside("sample", fails=OutputError), Model()], pairs, jobs)
    assert not pairs.failures()
    with pairs.claim(jobs[0].clip.id) as mine:
        assert mine


def test_an_interruption_ends_the_threads_and_lets_the_clips_go(tmp_path: Path) -> None:
    pairs, jobs = jobs_of(tmp_path)
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        run([Beside("sample"), Model(interrupted=True)], pairs, jobs)
    assert threading.active_count() == before
    for job in jobs:
        with pairs.claim(job.clip.id) as mine:
            assert mine


def test_time_without_a_model_is_what_no_span_covers() -> None:
    def entry(ended_at: float, seconds: float, *spans: tuple[float, float]) -> Entry:
        return Entry("edit", "a", seconds, ended_at, spans)

    first = [entry(10.0, 10.0, (1.0, 4.0), (3.0, 6.0)), entry(8.0, 1.0, (5.0, 5.5))]  # 5 of 10 seconds
    second = [entry(110.0, 10.0, (100.0, 110.0))]  # a run an hour later: the time between is nobody's
    assert idle_share([first]) == pytest.approx(0.5)
    assert idle_share([first, second]) == pytest.approx(0.25)
    assert idle_share([]) is None


def test_frames_are_not_decoded_by_the_process_that_wrote_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PairSet(tmp_path / "set").store
    frames = np.random.default_rng(0).integers(0, 255, (3, 16, 16, 3), dtype=np.uint8)
    write_frames(store, "a.mkv", frames, 16)
    decoded = frames_file.read_frames(store.reading("a.mkv"))
    monkeypatch.setattr(frames_file, "read_frames", lambda path: pytest.fail("decoded"))
    held = load_frames(store, "a.mkv")
    np.testing.assert_array_equal(held, decoded)
    held[:] = 0  # its own
    np.testing.assert_array_equal(load_frames(store, "a.mkv"), frames)


def test_frames_that_another_process_wrote_since_are_read_from_the_file(tmp_path: Path) -> None:
    store = PairSet(tmp_path / "set").store
    old, new = np.zeros((2, 16, 16, 3), np.uint8), np.full((2, 16, 16, 3), 200, np.uint8)
    write_frames(store, "b.mkv", new, 16)
    content = store.reading("b.mkv").read_bytes()
    write_frames(store, "a.mkv", old, 16)
    store.reading("a.mkv").unlink()
    store.reading("a.mkv").write_bytes(content)
    np.testing.assert_array_equal(load_frames(store, "a.mkv"), new)


def test_memory_for_frames_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = PairSet(tmp_path / "set").store
    frames = np.zeros((2, 16, 16, 3), np.uint8)
    monkeypatch.setattr(frames_file, "_MOST_BYTES", frames.nbytes)
    for name in ("a.mkv", "b.mkv"):
        write_frames(store, name, frames, 16)
    monkeypatch.setattr(frames_file, "read_frames", lambda path: frames + 1)
    assert load_frames(store, "a.mkv").max() == 1  # decoded
    assert load_frames(store, "b.mkv").max() == 0  # held
