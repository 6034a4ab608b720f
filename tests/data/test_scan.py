from __future__ import annotations

import sys
from fractions import Fraction

import cv2
import numpy as np
import pytest

from realmaster.data.scan import Scan, ScanSettings, Stretch, scan_frames
from realmaster.errors import MissingExtraError

RATE = Fraction(8)


def shot(seed: int, num_frames: int) -> np.ndarray:
    """A camera that pans over a soft pattern around a colour of its own: uint8 [F, 48, 64, 3]."""
    generator = np.random.default_rng(seed)
    noise = cv2.GaussianBlur(generator.normal(size=(48, 64 + num_frames, 3)), (0, 0), 4)
    wide = np.clip(generator.integers(60, 200, 3) + 300 * noise, 0, 255).astype(np.uint8)
    return np.stack([wide[:, i : i + 64] for i in range(num_frames)])


def scan(frames: np.ndarray, **settings: object) -> Scan:
    return scan_frames(iter(frames), RATE, ScanSettings.from_mapping(settings, source="test"))


@pytest.mark.parametrize("detector", ["adaptive", "content"])
def test_a_cut_is_found_where_it_is(detector: str) -> None:
    frames = np.concatenate([shot(1, 12), shot(2, 9)])
    assert scan(frames, detector=detector).cuts == (12,)
    assert scan(shot(1, 20), detector=detector).cuts == ()


@pytest.mark.parametrize("place", [2, 19])
def test_a_cut_near_either_end_is_found_too(place: int) -> None:
    frames = np.concatenate([shot(1, place), shot(2, 21 - place)])
    assert scan(frames).cuts == (place,)


def test_without_a_detector_a_video_is_one_shot_and_the_package_is_not_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = np.concatenate([shot(1, 6), shot(2, 6)])
    monkeypatch.setitem(sys.modules, "scenedetect.detectors", None)
    assert scan(frames, detector="none").cuts == ()
    with pytest.raises(MissingExtraError, match=r"realmaster\[pairs\]"):
        scan(frames)


def test_black_stretches_are_dropped() -> None:
    frames = shot(1, 20)
    frames[5:8] = 4
    assert Stretch(5, 8, "black") in scan(frames).dropped
    assert not scan(frames, black_level=None, detector="none").dropped


def test_stillness_of_a_second_is_dropped_and_a_repeated_frame_is_not() -> None:
    frames = shot(1, 24)
    frames[6:16] = frames[6]
    assert scan(frames).dropped == (Stretch(6, 16, "frozen"),)
    assert scan(np.repeat(shot(1, 12), 2, axis=0)).dropped == ()


def test_a_menu_is_dropped_and_a_still_camera_that_watches_somebody_is_not() -> None:
    menu = np.full((16, 96, 128, 3), 60, np.uint8)
    for index, frame in enumerate(menu):
        cv2.putText(frame, "PAUSED", (30, 30), cv2.FONT_HERSHEY_SIMPLEX, 0.6, (240, 240, 240), 1)
        frame[80:86, 10 : 14 + 4 * index] = (200, 160, 40)  # its only movement: a bar that fills
    assert Stretch(0, 16, "menu-like") in scan(menu, frozen_seconds=None).dropped
    street = np.repeat(cv2.resize(shot(3, 1)[0], (128, 96))[None], 16, axis=0)
    for index, frame in enumerate(street):
        frame[40:80, 4 * index : 4 * index + 16] = (150, 60, 40)
    assert scan(street).dropped == ()


def test_what_is_left_lies_between_cuts_gaps_and_what_is_dropped() -> None:
    found = Scan(30, cuts=(10,), dropped=(Stretch(14, 17, "black"),))
    assert found.spans() == [(0, 10), (10, 14), (17, 30)]
    assert found.spans(breaks=(20,)) == [(0, 10), (10, 14), (17, 20), (20, 30)]
