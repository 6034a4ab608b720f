"""What footage has besides surfaces: fades, black bars, dim light, cuts, single frames."""

from pathlib import Path

import numpy as np
import pytest

from realmaster.media.reader import open_clip
from realmaster.models.profiles import TransferSettings, WindowSettings
from realmaster.pipelines.exposure import Exposure
from realmaster.pipelines.translate import Translator
from realmaster.pipelines.windows import cut_windows

STREET = Path(__file__).parents[2] / "assets/demo/street.mp4"


@pytest.fixture(scope="module")
def translator() -> Translator:
    return Translator.from_profile("nano", device="cpu")


@pytest.fixture(scope="module")
def street() -> np.ndarray:
    with open_clip(STREET, duration_seconds=1.0) as clip:
        return np.concatenate(list(clip.chunks(16)))[:, ::4, ::4]


def levels(frames: np.ndarray) -> np.ndarray:
    return frames.mean(axis=(1, 2, 3))


@pytest.mark.parametrize("level", [0, 255])
def test_a_black_or_white_clip_stays_black_or_white(translator: Translator, level: int) -> None:
    frames = np.full((5, 72, 128, 3), level, dtype=np.uint8)
    np.testing.assert_array_equal(translator.translate_frames(frames), frames)


def test_a_fade_from_black_grows_lighter(translator: Translator, street: np.ndarray) -> None:
    light = np.concatenate([np.zeros(4), np.linspace(0, 1, 12)])
    faded = (street * light[:, None, None, None]).astype(np.uint8)
    out = levels(translator.translate_frames(faded))
    np.testing.assert_array_equal(out[:5], 0)
    assert (np.diff(out[4:]) > -2).all()
    assert (out < levels(faded) * 1.5 + 2).all()


def test_a_fade_to_white_never_grows_darker(translator: Translator, street: np.ndarray) -> None:
    share = np.linspace(0, 1, 16)[:, None, None, None]
    out = levels(translator.translate_frames((street * (1 - share) + 255 * share).astype(np.uint8)))
    assert (np.diff(out) > 0).all()
    assert out[-1] == 255


def test_a_white_flash_is_seen_and_soon_forgotten(translator: Translator, street: np.ndarray) -> None:
    flashed = street.copy()
    flashed[6:8] = (0.3 * street[6:8] + 0.7 * 255).astype(np.uint8)
    out, usual = (translator.translate_frames(frames) for frames in (flashed, street))
    brighter = levels(flashed)[6:8] - levels(street)[6:8]
    assert (levels(out)[6:8] - levels(usual)[6:8] > 0.6 * brighter).all()
    assert np.abs(out[8:].astype(int) - usual[8:]).mean() < 2.5


def test_a_dim_clip_stays_dim(translator: Translator, street: np.ndarray) -> None:
    dim = (street[:5] * 0.15).astype(np.uint8)
    assert levels(translator.translate_frames(dim)).max() < 1.5 * levels(dim).min()


def test_black_bars_stay_black(translator: Translator, street: np.ndarray) -> None:
    barred = street[:5].copy()
    barred[:, :15] = barred[:, -15:] = 0
    out = translator.translate_frames(barred)
    assert (out[:, :15] == 0).all()
    assert (out[:, -15:] == 0).all()
    assert np.abs(out[:, 15:-15].astype(int) - barred[:, 15:-15]).mean() > 3


@pytest.mark.parametrize("length", [6, 8, 9])
def test_each_shot_is_translated_as_if_it_were_alone(translator: Translator, street: np.ndarray, length: int) -> None:
    other = np.roll(street[::-1, ::-1], 20, axis=2)  # upside down
    out = translator.translate_frames(np.concatenate([other[:length], street[:6]]))
    alone = translator.translate_frames(other[:length]), translator.translate_frames(street[:6])
    np.testing.assert_array_equal(out, np.concatenate(alone))


def test_no_window_spans_a_cut() -> None:
    frames = np.repeat(np.uint8([10, 200, 90]), [7, 1, 6])[:, None, None, None].repeat(3, axis=3)
    windows = list(cut_windows(iter([frames]), WindowSettings(num_frames=5, overlap=1), time_stride=4))
    assert [(window.num_held, window.num_padding) for window in windows] == [(0, 0), (1, 2), (0, 4), (0, 0), (1, 3)]
    assert all(len(np.unique(window.frames)) == 1 for window in windows)


def test_a_single_frame_comes_out_as_it_does_in_a_clip(translator: Translator, street: np.ndarray) -> None:
    still = street[:1].repeat(6, axis=0)
    np.testing.assert_array_equal(translator.translate_frames(still[:1])[0], translator.translate_frames(still)[0])


def test_only_renders_dimmer_or_brighter_than_the_model_knows_are_shown_at_its_light() -> None:
    renders = np.repeat(np.uint8([0, 20, 50, 100, 240]), 12).reshape(5, 2, 2, 3)
    exposure = Exposure.of(renders, TransferSettings(dimmest=80, brightest=160))
    np.testing.assert_allclose(exposure.gains, [8, 4, 1.6, 1, 2 / 3])
    np.testing.assert_allclose(exposure.shares, [0, 0.5, 1, 1, 10 / 85], atol=1e-6)
    np.testing.assert_array_equal(levels(exposure.expose(renders)), [0, 80, 80, 100, 160])
    untouched = Exposure.of(renders, TransferSettings(dimmest=80, brightest=160, channels="pixels"))
    np.testing.assert_array_equal(untouched.expose(renders), renders)
