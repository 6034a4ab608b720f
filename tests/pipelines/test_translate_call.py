"""What a call from Python may ask for: kinds of arguments, rates, threads."""

import json
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realmaster.errors import ConfigError, RealMasterError
from realmaster.media.writer import ClipWriter
from realmaster.pipelines.call import read_rate
from realmaster.pipelines.translate import Translator
from realmaster.types import ClipInfo


def write(path: Path, frames: np.ndarray) -> Path:
    with ClipWriter(path, ClipInfo(frames.shape[2], frames.shape[1], Fraction(16)), codec="lossless") as writer:
        writer.write(frames)
    return path


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"start_seconds": "0.1"}, "start_seconds as a number of seconds, got '0.1'"),
        ({"start_seconds": None}, "start_seconds as a number of seconds, got None"),
        ({"duration_seconds": "1"}, "duration_seconds as a number of seconds, got '1'"),
        ({"clip": None}, "clip as a path, got None"),
        ({"clip": 3}, "clip as a path, got 3"),
        ({"output": None}, "output as a path, got None"),
        ({"output": 3}, "output as a path, got 3"),
        ({"output": ""}, "got an empty one"),
        ({"clip": ""}, "clip as a path, got an empty one"),
        ({"protect": ""}, "protect as a path, got an empty one"),
        ({"protect": "#3"}, "the name of a mask, got '#3'"),
        ({"prompt": "a\ud800"}, r"prompt as Unicode text, got '\\ud800' as character 2"),
        ({"negative_prompt": "\ud800"}, r"negative_prompt as Unicode text, got '\\ud800' as character 1"),
        ({"num_inference_steps": 10**12}, "num_inference_steps: input should be less than or equal to 1000"),
        ({"start_seconds": 10**400}, "as numbers of seconds, got one beyond"),
        ({"duration_seconds": 10**400}, "as numbers of seconds, got one beyond"),
        ({"strength": 10**400}, "strength from 0 to 1, got int"),
        ({"seed": 10**5000}, "a seed as a whole number .* got int"),
        ({"protect": np.zeros((50, 50), np.uint8)}, "protect as a path, got ndarray: "),
        ({"fps": "fast"}, "frame rate above 0 and up to 1000, got 'fast'"),
        ({"fps": True}, "frame rate above 0"),
        ({"fps": 24}, "got a video, which has its own"),
        ({"clip": "nowhere.mp4"}, "nowhere.mp4"),
    ],
)
def test_an_argument_of_another_kind_is_refused_in_one_line(
    translator: Translator, frames: np.ndarray, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    clip = write(tmp_path / "in.mkv", frames[:1])
    with pytest.raises(RealMasterError, match=said) as caught:
        translator.translate(**({"clip": clip, "output": tmp_path / "out.mkv"} | change))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert not (tmp_path / "out.mkv").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"name": None}, "name as a path, got None"),
        ({"changes": ["sampling.mirror=false"]}, "changes as settings by their names"),
        ({"changes": {1: 2}}, "changes as settings by their names"),
        ({"adapter": 3}, "adapter as a path, got 3"),
        ({"model_dir": 3}, "model_dir as a path, got 3"),
        ({"device": 0}, "device as text, got 0"),
    ],
)
def test_models_chosen_by_another_kind_are_refused_in_one_line(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said) as caught:
        Translator.from_profile(**change)
    assert "\n" not in str(caught.value)


def test_numbers_of_numpy_are_numbers_and_the_settings_can_be_written_as_json(
    translator: Translator, frames: np.ndarray, tmp_path: Path
) -> None:
    clip = write(tmp_path / "in.mkv", frames[:3])
    plain = translator.translate(clip, tmp_path / "a.mkv", codec="lossless", seed=3, strength=0.5, start_seconds=0)
    numpys = {"seed": np.int64(3), "strength": np.float32(0.5), "start_seconds": np.float64(0)}
    other = translator.translate(clip, tmp_path / "b.mkv", codec="lossless", duration_seconds=np.int64(1), **numpys)
    assert (tmp_path / "a.mkv").read_bytes() == (tmp_path / "b.mkv").read_bytes()
    told = {name: json.loads(json.dumps(made.settings))[name] for made in (plain, other) for name in numpys}
    assert told == {"seed": 3, "strength": 0.5, "start_seconds": 0}


@pytest.mark.parametrize(
    ("rate", "exact"),
    [
        (24, "24"),
        (np.float32(23.976), "24000/1001"),
        (29.97, "30000/1001"),
        (24000 / 1001, "24000/1001"),
        ("59.94", "60000/1001"),
        (Fraction(30000, 1001), "30000/1001"),
        (12.5, "25/2"),
    ],
)
def test_a_rate_of_images_may_be_any_number(rate: Any, exact: str) -> None:
    assert str(read_rate(rate)) == exact


def test_a_second_thread_waits_for_the_first(translator: Translator, frames: np.ndarray) -> None:
    alone = [translator.translate_frames(frames[:5], seed=seed) for seed in (1, 2)]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda seed: translator.translate_frames(frames[:5], seed=seed), (1, 2, 1, 2)))
    for index, out in enumerate(together):
        np.testing.assert_array_equal(out, alone[index % 2])


def test_a_translation_from_within_one_is_refused_and_the_next_one_works(
    translator: Translator, frames: np.ndarray, tmp_path: Path
) -> None:
    clip = write(tmp_path / "in.mkv", frames[:2])
    with pytest.raises(ConfigError, match="to end first, got another one from within it"):
        translator.translate(clip, tmp_path / "out.mkv", progress=lambda *_: translator.translate_frames(frames[:1]))
    assert not (tmp_path / "out.mkv").exists()
    assert translator.translate(clip, tmp_path / "out.mkv").num_frames == 2
