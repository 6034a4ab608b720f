"""A pair set is scored fairly: truth and baselines beside the model, and the weather that was asked for."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.data.pair_set import read_rows
from realmaster.errors import ConfigError, MediaError
from realmaster.evaluation.colour_baseline import fit_colour_transforms
from realmaster.evaluation.intervals import score
from realmaster.evaluation.pairs import FIGURES, Method, PairScores, score_pairs, with_settings
from realmaster.evaluation.table import as_markdown, as_sentence, write_json
from realmaster.evaluation.weather import Comparison, WeatherAgreement, weather_agreement

Frames = npt.NDArray[np.uint8]
Film = Callable[[Frames, str], Frames]


def test_the_table_ranks_the_clip_the_colour_transform_and_the_truth(pair_folder: Path, film: Film) -> None:
    done: list[tuple[int, int | None]] = []
    scores = score_pairs(film, pair_folder, progress=lambda now, total: done.append((now, total)))
    untouched = scores.method("untouched engine clip").scores
    affine = scores.method("colour transform, affine per weather").scores
    assert untouched["flicker"].mean == pytest.approx(1.0)
    assert untouched["psnr"].mean < 20 < 45 < affine["psnr"].mean
    assert affine["ssim"].mean > untouched["ssim"].mean
    assert scores.method("model").scores["psnr"] is None, "the exact truth has an infinite PSNR, which is no mean"
    assert scores.method("model").scores["ssim"].mean == pytest.approx(1.0)
    assert scores.method("model").scores["flicker"].mean == pytest.approx(
        scores.method("the truth").scores["flicker"].mean
    )
    assert done[-1] == (8, 8)


def test_without_a_training_split_the_colour_transforms_are_left_out_and_it_says_so(
    pair_folder: Path, film: Film, tmp_path: Path
) -> None:
    shutil.copytree(pair_folder, tmp_path / "set")
    (tmp_path / "set" / "train.jsonl").unlink()
    scores = score_pairs(film, tmp_path / "set", limit=1)
    assert [method.name for method in scores.methods] == ["untouched engine clip", "model", "the truth"]
    assert scores.clips == ("test_1.0_clear",)
    assert "no training split" in scores.warnings[0]


def test_a_weather_that_was_never_fitted_is_named(pair_folder: Path, tmp_path: Path) -> None:
    shutil.copytree(pair_folder, tmp_path / "set")
    train = tmp_path / "set" / "train.jsonl"
    train.write_text("".join(line + "\n" for line in train.read_text().splitlines() if "wall, rain" not in line))
    scores = score_pairs(None, tmp_path / "set")
    assert "clear to rain" in scores.warnings[0]


def test_the_colour_transform_recovers_an_affine_change(pair_folder: Path) -> None:
    (affine,) = fit_colour_transforms(read_rows(pair_folder, "train"), (1,))
    row = read_rows(pair_folder, "test")[1]
    error = affine.apply(row.engine_frames(), row).astype(int) - row.camera_frames()
    assert np.abs(error).max() <= 1


@pytest.fixture
def plain_folder(pair_folder: Path, tmp_path: Path) -> Path:
    """The same pairs with the columns that `realmaster pairs` writes: none names a weather."""
    folder = tmp_path / "plain"
    shutil.copytree(pair_folder, folder)
    for path in folder.glob("*.jsonl"):
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        kept = [{name: value for name, value in row.items() if not name.endswith("_weather")} for row in rows]
        path.write_text("".join(json.dumps(row) + "\n" for row in kept))
    return folder


def test_pairs_that_name_no_weather_share_a_colour_transform_and_have_no_weather_score(
    plain_folder: Path, film: Film
) -> None:
    assert read_rows(plain_folder, "train")[0].weathers == ("", "")
    scores = score_pairs(film, plain_folder, limit=2)
    assert "colour transform, cubic per weather" in [method.name for method in scores.methods]
    assert scores.warnings == ()
    agreement = weather_agreement(film, plain_folder)
    assert (agreement.share, agreement.num_engine_clips) == (None, 0)


def test_pairs_without_a_weather_among_pairs_with_one_are_named(plain_folder: Path, pair_folder: Path) -> None:
    shutil.copy(pair_folder / "train.jsonl", plain_folder)
    (warning,) = score_pairs(None, plain_folder, limit=1).warnings
    assert "no training pair of no weather to no weather" in warning


def test_an_output_of_another_size_is_refused(pair_folder: Path) -> None:
    with pytest.raises(MediaError, match="keep frames, height and width"):
        score_pairs(lambda frames, prompt: frames[:, ::2], pair_folder, baselines=False)


def test_who_follows_the_prompt_agrees_and_who_ignores_it_agrees_by_halves(pair_folder: Path, film: Film) -> None:
    follows = weather_agreement(film, pair_folder)
    ignores = weather_agreement(lambda frames, prompt: film(frames, "a wall, rain"), pair_folder)
    assert (follows.num_engine_clips, len(follows.comparisons)) == (2, 4)
    assert follows.share.mean == 1.0
    assert ignores.share.mean == 0.5
    assert "4 of 4 comparisons" in as_sentence(follows)


def test_without_triples_there_is_no_agreement_to_report(pair_folder: Path, film: Film, tmp_path: Path) -> None:
    shutil.copytree(pair_folder, tmp_path / "set")
    test = tmp_path / "set" / "test.jsonl"
    test.write_text("".join(line + "\n" for line in test.read_text().splitlines() if "wall, rain" not in line))
    agreement = weather_agreement(film, tmp_path / "set")
    assert agreement.share is None
    assert "nothing to compare" in as_sentence(agreement)


def test_the_file_of_figures_holds_each_clip_and_the_table_its_means(
    pair_folder: Path, film: Film, tmp_path: Path
) -> None:
    scores = score_pairs(film, pair_folder, name="mine")
    write_json(tmp_path / "figures.json", scores, weather_agreement(film, pair_folder), {"seed": 0})
    figures = json.loads((tmp_path / "figures.json").read_text())
    values = figures["methods"]["untouched engine clip"]["psnr"]["values"]
    assert len(values) == len(figures["clips"]) == 4
    mean = figures["methods"]["untouched engine clip"]["psnr"]["mean"]
    assert mean == pytest.approx(np.mean(values))
    assert figures["methods"]["mine"]["psnr"] is None
    assert figures["weather_agreement"]["share"]["mean"] == 1.0
    assert f"{mean:.2f} [" in as_markdown(scores)
    assert list(tmp_path.iterdir()) == [tmp_path / "figures.json"]


def test_an_interval_holds_its_mean_and_narrows_with_more_clips() -> None:
    few, many = score([1.0, 2.0, 3.0]), score([1.0, 2.0, 3.0] * 30)
    assert few.low <= few.mean <= few.high
    assert many.high - many.low < few.high - few.low
    assert score([None, float("inf")]) is None
    assert score([None, 4.0]).values == (None, 4.0)


def test_settings_that_are_absent_are_left_to_the_profile(still: Frames) -> None:
    class Recorder:
        def translate_frames(self, frames: Frames, *, prompt: str, **settings: object) -> Frames:
            self.got = {"prompt": prompt, **settings}
            return frames

    recorder = Recorder()
    with_settings(recorder, seed=3, guidance_scale=None)(still, "rain")
    assert recorder.got == {"prompt": "rain", "seed": 3}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (None, "expected a pair set"),
        ("", "found none"),
        ("{", r"train\.jsonl:1: expected one JSON object"),
        ("[1]", "got list"),
        ('{"id": "a", "video": "b.mp4"}', "'reference_video'"),
        (
            '{"id": "a", "video": "b", "reference_video": "c", "caption": "", "camera_weather": 3}',
            "expected text in 'camera_weather', got 3: name a weather, or leave it out",
        ),
    ],
)
def test_a_folder_that_is_no_pair_set_is_refused_with_the_line(
    tmp_path: Path, text: str | None, complaint: str
) -> None:
    if text is not None:
        (tmp_path / "train.jsonl").write_text(text)
    with pytest.raises(ConfigError, match=complaint):
        read_rows(tmp_path, "train")


def test_one_clip_has_no_interval() -> None:
    alone, both = score([None, 31.5]), score([31.5, 30.5])
    assert alone is not None
    assert both is not None
    assert (alone.interval, both.interval) == (None, (both.low, both.high))
    lines = []
    for one in (alone, both):
        method = Method("nano", dict.fromkeys(FIGURES, one))
        lines.append(as_markdown(PairScores(Path("pairs"), "test", ("a",), (method,), ())))
    assert "| 31.50 " in lines[0]
    assert "[" not in lines[0]
    assert "test split, 1 clip " in lines[0]
    assert "31.00 [30.50, 31.50]" in lines[1]
    comparison = Comparison("a", "rain", "sun", 1.0, 2.0)
    assert as_sentence(WeatherAgreement((comparison,), score([1.0]), 1)).endswith("100% over 1 engine clip")
