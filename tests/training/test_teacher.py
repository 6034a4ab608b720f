"""The teacher of the reference step: what it learns, what it is asked, and what is learnt from it."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from realmaster.data.frames import Pair
from realmaster.data.pair_set import PairRow
from realmaster.training.teacher import Teacher, TeacherSettings, answers, taught, train_teachers

SETTINGS = TeacherSettings.from_mapping(
    {
        "loop": {"num_steps": 60, "learning_rate": 0.003, "warmup_steps": 5, "average": 0.8, "validate_every": 60},
        "batch_size": 2,
        "widths": (16, 16),
        "dropout": 0.0,
        "count": 1,
    },
    source="test",
)


def make_pair(camera_weather: str, *, gain: float, size: tuple[int, int] = (32, 48)) -> Pair:
    generator = np.random.default_rng(0)
    engine = generator.integers(60, 160, (2, 1, 1, 3)) + generator.integers(-20, 20, (2, *size, 3))
    engine = engine.astype(np.uint8)
    row = PairRow("1_street", Path("e"), Path("c"), "a street", "clear", camera_weather)
    return Pair(row, engine, np.rint(gain * engine).clip(0, 255).astype(np.uint8))


def error(made: np.ndarray, pair: Pair) -> float:
    return float(np.mean((made.astype(float) - pair.camera) ** 2))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> Teacher:
    pairs = [make_pair("clear", gain=1.5), make_pair("rain", gain=0.5)]
    return train_teachers(pairs, pairs, tmp_path_factory.mktemp("teacher"), SETTINGS)[0]


@pytest.mark.parametrize(("weather", "gain"), [("clear", 1.5), ("rain", 0.5)])
def test_one_render_has_an_answer_for_each_weather(teacher: Teacher, weather: str, gain: float) -> None:
    pair = make_pair(weather, gain=gain)
    assert error(answers([teacher], pair), pair) < 0.2 * error(pair.engine, pair)


def test_a_mirrored_render_has_the_mirrored_answer(teacher: Teacher) -> None:
    pair = make_pair("clear", gain=1.5)
    mirrored = replace(pair, engine=np.ascontiguousarray(pair.engine[:, :, ::-1]))
    difference = answers([teacher], mirrored)[:, :, ::-1].astype(int) - answers([teacher], pair)
    assert np.abs(difference).max() <= 1


def test_frames_of_any_size_are_answered_at_their_size(teacher: Teacher) -> None:
    pair = make_pair("rain", gain=0.5, size=(38, 50))
    made = answers([teacher], pair)
    assert made.shape == pair.engine.shape
    assert error(made, pair) < 0.5 * error(pair.engine, pair)


def test_an_untrained_teacher_gives_the_render_back() -> None:
    pair = make_pair("clear", gain=1.5)
    torch.manual_seed(0)
    assert np.array_equal(answers([Teacher(SETTINGS, []).eval()], pair), pair.engine)


def test_what_is_learnt_lies_between_the_truth_and_the_answer(teacher: Teacher) -> None:
    pair = make_pair("clear", gain=1.0)
    (learnt,) = taught([teacher], [pair], 0.25)
    expected = 0.25 * answers([teacher], pair) + 0.75 * pair.camera
    assert np.abs(learnt.camera - expected).max() <= 0.5
    assert np.array_equal(learnt.engine, pair.engine)


def test_a_render_is_learnt_in_weathers_that_nobody_photographed(teacher: Teacher) -> None:
    pair = make_pair("clear", gain=1.5)
    sunny = replace(pair, row=replace(pair.row, caption="a street, sunny day, clear sky"))
    learnt = taught([teacher], [sunny], 1.0)
    assert [other.row.camera_weather for other in learnt] == ["clear", "rain"]  # and none that the teacher never saw
    assert learnt[1].row.caption == "a street, heavy rain, wet ground with reflections"
    rain = make_pair("rain", gain=0.5)
    assert error(learnt[1].camera, rain) < 0.2 * error(rain.engine, rain)
    assert len(taught([teacher], [sunny, rain], 1.0)) == 2  # photographed in rain: the truth has its say


def test_teachers_differ_and_their_mean_is_the_answer(tmp_path: Path) -> None:
    pair = make_pair("clear", gain=1.5)
    two = SETTINGS.model_copy(
        update={"count": 2, "loop": SETTINGS.loop.model_copy(update={"num_steps": 4, "average": 0.0})}
    )
    teachers = train_teachers([pair], [], tmp_path, two)
    alone = [answers([teacher], pair).astype(float) for teacher in teachers]
    assert np.abs(alone[0] - alone[1]).max() > 2
    assert np.abs(answers(teachers, pair) - np.mean(alone, axis=0)).max() <= 1


def test_a_teacher_that_was_trained_is_not_trained_again(tmp_path: Path) -> None:
    pairs = [make_pair("clear", gain=1.5)]
    short = SETTINGS.model_copy(update={"loop": SETTINGS.loop.model_copy(update={"num_steps": 3})})
    first = train_teachers(pairs, pairs, tmp_path, short)
    log = (tmp_path / "0/log.jsonl").read_text()
    second = train_teachers(pairs, pairs, tmp_path, short)
    assert np.array_equal(answers(first, pairs[0]), answers(second, pairs[0]))
    assert (tmp_path / "0/log.jsonl").read_text() == log


def test_weathers_are_those_of_the_pairs_and_others_are_one_kind(tmp_path: Path) -> None:
    pair = make_pair("clear", gain=1.0)
    weathers = [("clear", "clear"), ("clear", "sandstorm"), ("sandstorm", "clear"), ("", "fog")]
    pairs = [replace(pair, row=replace(pair.row, engine_weather=e, camera_weather=c)) for e, c in weathers]
    teacher = Teacher(SETTINGS, pairs[:3])
    assert sorted(map(teacher.kind, pairs)) == [0, 1, 2, 3]
    assert answers([teacher.eval()], pairs[3]).shape == pair.engine.shape


def test_without_scenes_held_out_there_is_no_score(tmp_path: Path) -> None:
    short = SETTINGS.model_copy(update={"loop": SETTINGS.loop.model_copy(update={"num_steps": 2})})
    train_teachers([make_pair("clear", gain=1.5)], [], tmp_path, short)
    assert "psnr" not in (tmp_path / "0/log.jsonl").read_text()
