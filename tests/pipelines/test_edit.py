"""Keyframes are edited together, checked, moved back where they moved, and given up where they are no good."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from realmaster.errors import MediaError
from realmaster.pipelines.edit import KeyframeEditor
from realmaster.pipelines.edit_alignment import align
from realmaster.pipelines.edit_checks import EditCheckSettings, check_edit, edit_checked
from realmaster.pipelines.edit_folder import EditMissingError, FromFolder, name_keyframe
from realmaster.pipelines.edit_in_context import NanoEditor

SETTINGS = EditCheckSettings()


def street(seed: int = 0, size: tuple[int, int] = (144, 256)) -> np.ndarray:
    """A picture with blocks and texture at all scales: uint8 [H, W, 3]."""
    generator = np.random.default_rng(seed)
    picture = np.full((*size, 3), 120, np.uint8)
    for _ in range(40):
        x, y = int(generator.integers(size[1])), int(generator.integers(size[0]))
        colour = [int(value) for value in generator.integers(20, 235, 3)]
        cv2.rectangle(
            picture, (x, y), (x + int(generator.integers(8, 60)), y + int(generator.integers(8, 40))), colour, -1
        )
    texture = cv2.GaussianBlur(generator.normal(0, 30, size), (0, 0), 1.5)
    return np.clip(picture + texture[..., None], 0, 255).astype(np.uint8)


def photograph(picture: np.ndarray) -> np.ndarray:
    """Another look of the same picture: warmer, more contrast, grain."""
    generator = np.random.default_rng(1)
    curve = 255 * (picture / 255.0) ** np.array([0.8, 1.0, 1.3])
    return np.clip(curve + generator.normal(0, 3, picture.shape), 0, 255).astype(np.uint8)


def moved(picture: np.ndarray, *, x: float = 0, y: float = 0, zoom: float = 1) -> np.ndarray:
    matrix = np.float32([[zoom, 0, x], [0, zoom, y]])
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def test_an_edit_that_lies_on_its_keyframe_comes_back_untouched() -> None:
    keyframe = street()
    edit = photograph(keyframe)
    back, scores, reason = check_edit(keyframe, edit, SETTINGS)
    assert reason is None
    assert np.array_equal(back, edit)
    assert scores.shift < 0.004
    assert scores.palette_moved > 3


@pytest.mark.parametrize(("x", "y", "zoom"), [(3, -2, 1), (0, 0, 1.02), (-2, 1, 0.985)])
def test_a_small_move_is_measured_and_taken_back(x: float, y: float, zoom: float) -> None:
    keyframe = street()
    edit = moved(photograph(keyframe), x=x, y=y, zoom=zoom)
    alignment = align(keyframe, edit)
    assert alignment is not None
    assert alignment.matrix == pytest.approx(np.float32([[zoom, 0, x], [0, zoom, y]]), abs=0.6)
    assert alignment.zoom == pytest.approx(zoom, abs=0.004)
    back, scores, reason = check_edit(keyframe, edit, SETTINGS)
    assert reason is None
    assert scores.shift == pytest.approx(alignment.corner_shift(144, 256) / 256)
    inner = (slice(12, -12), slice(12, -12))
    truth = photograph(keyframe).astype(int)
    assert np.abs(back - truth)[inner].mean() < 0.6 * np.abs(edit - truth)[inner].mean()


def test_the_same_edit_is_moved_back_to_the_same_pixels() -> None:
    keyframe = street()
    edit = moved(photograph(keyframe), x=3)
    first, again = (check_edit(keyframe, edit, SETTINGS)[0] for _ in range(2))
    assert np.array_equal(first, again)


def wave(picture: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: picture.shape[0], : picture.shape[1]].astype(np.float32)
    return cv2.remap(
        picture, columns + 5 * np.sin(rows / 14), rows + 5 * np.sin(columns / 18), cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (moved(photograph(street()), x=14), "moved by"),
        (wave(photograph(street())), "warped by|found again|moved by"),
        (photograph(street(seed=7)), "found again"),
        (np.full((144, 256, 3), 90, np.uint8), "found again|edges lost"),
        (photograph(255 - street()), "found again"),
    ],
)
def test_an_edit_of_something_else_is_refused_with_the_reason(edit: np.ndarray, reason: str) -> None:
    _, _, found = check_edit(street(), edit, SETTINGS)
    assert found is not None
    assert any(word in found for word in reason.split("|")), found


def test_colours_may_move_so_far_and_no_further() -> None:
    keyframe = street()
    edit = photograph(keyframe)
    *_, reason = check_edit(keyframe, edit, EditCheckSettings(max_palette_moved=3))
    assert reason is not None
    assert "colours moved by" in reason


def test_a_flat_keyframe_cannot_be_seen_to_move() -> None:
    flat = np.full((144, 256, 3), 100, np.uint8)
    _, scores, reason = check_edit(flat, flat + 10, SETTINGS)
    assert reason is None
    assert (scores.shift, scores.zoom, scores.found) == (0, 1, 1)


class Unsteady:
    """An editor that ruins the keyframes for every seed below `good_from`."""

    name = "unsteady"

    def __init__(self, good_from: int) -> None:
        self.good_from, self.seeds = good_from, []

    def describe(self) -> dict[str, Any]:
        return {"editor": self.name}

    def edit(self, frames: np.ndarray, *, prompt: str, seed: int) -> np.ndarray:
        self.seeds.append(seed)
        if seed >= self.good_from:
            return np.stack([photograph(frame) for frame in frames])
        return np.stack([photograph(frames[0]), photograph(street(seed=9))])


def test_a_bad_edit_is_tried_again_with_the_next_seed() -> None:
    editor, frames = Unsteady(good_from=12), np.stack([street(), street(seed=3)])
    checked = edit_checked(editor, frames, prompt="", seed=10)
    assert editor.seeds == [10, 11, 12]
    assert (checked.reason, checked.seed, checked.num_attempts) == (None, 12, 3)
    told = checked.as_json()
    assert told["edit_attempts"] == 3
    assert {"edit_shift", "edit_zoom", "edit_warp", "edit_found", "edit_edges_lost"} <= told.keys()


def test_keyframes_that_no_seed_edits_are_given_up_with_the_reason() -> None:
    editor, frames = Unsteady(good_from=99), np.stack([street(), street(seed=3)])
    checked = edit_checked(editor, frames, prompt="", seed=0, settings=EditCheckSettings(max_attempts=2))
    assert editor.seeds == [0, 1]
    assert checked.reason is not None
    assert checked.reason.startswith("keyframe 1: over-edited")
    assert checked.as_json()["edit_found"] < 0.15, "the worst keyframe is told"


def test_edits_by_hand_are_asked_for_and_found_again(tmp_path: Path) -> None:
    editor, frames = FromFolder(tmp_path / "edits"), np.stack([street(), street(seed=3)])
    assert isinstance(editor, KeyframeEditor)
    with pytest.raises(EditMissingError, match=f"expected 2 more edits.*{name_keyframe(frames[0])}"):
        editor.edit(frames, prompt="rain", seed=0)
    names = sorted(path.name for path in (tmp_path / "edits" / "to_edit").glob("*.png"))
    assert names == sorted(f"{name_keyframe(frame)}.png" for frame in frames)
    written = cv2.imread(str(tmp_path / "edits" / "to_edit" / f"{name_keyframe(frames[0])}.png"))[..., ::-1]
    assert np.array_equal(written, frames[0])
    assert (tmp_path / "edits" / "to_edit" / f"{name_keyframe(frames[0])}.txt").read_text() == "rain\n"
    for frame in frames:
        path = tmp_path / "edits" / "edited" / f"{name_keyframe(frame)}.png"
        cv2.imwrite(str(path), photograph(frame)[..., ::-1])
    edited = editor.edit(frames[::-1], prompt="", seed=0)
    assert np.array_equal(edited, np.stack([photograph(frame) for frame in frames[::-1]]))


def test_an_edit_of_another_size_or_none_at_all_is_refused(tmp_path: Path) -> None:
    editor, frame = FromFolder(tmp_path), street()
    (tmp_path / "edited").mkdir()
    path = tmp_path / "edited" / f"{name_keyframe(frame)}.png"
    cv2.imwrite(str(path), frame[:100])
    with pytest.raises(MediaError, match="256x144 pixels as its keyframe has, got 256x100"):
        editor.edit(frame[None], prompt="", seed=0)
    path.write_bytes(b"no picture")
    with pytest.raises(MediaError, match="could not read it"):
        editor.edit(frame[None], prompt="", seed=0)


@pytest.fixture(scope="module")
def nano() -> NanoEditor:
    return NanoEditor.from_profile("nano", device="cpu")


def test_nano_edits_keyframes_alike_and_repeatably(nano: NanoEditor) -> None:
    assert isinstance(nano, KeyframeEditor)
    frames = np.stack([street(), street(seed=3), street()])
    edited = nano.edit(frames, prompt="a city street, overcast day, soft light", seed=0)
    assert edited.shape == frames.shape
    assert np.array_equal(edited[0], edited[2]), "a keyframe does not depend on its neighbours"
    assert np.array_equal(edited[:2], nano.edit(frames[:2], prompt="a city street, overcast day, soft light", seed=0))
    assert np.abs(edited.astype(int) - frames).mean() > 2
    assert check_edit(frames[0], edited[0], SETTINGS)[2] is None


def test_nano_hears_the_prompt(nano: NanoEditor) -> None:
    frames = street()[None]
    day, night = (
        nano.edit(frames, prompt=prompt, seed=0).astype(int)
        for prompt in ("a city street, sunny day, clear sky", "a city street, night, street lamps and lit windows")
    )
    assert not np.array_equal(day, night)


def test_an_editor_says_its_weights_and_settings(nano: NanoEditor) -> None:
    said = nano.describe()
    assert said["weights"]["profile"] == "nano/editor"
    assert len(said["weights"]["digest"]) == 16
    assert said["sampling"]["num_inference_steps"] == 1
