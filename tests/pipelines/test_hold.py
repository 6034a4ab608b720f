"""Holding what hardly changes: trembling is stilled, changes come at once, and nothing moves where it must not."""

from __future__ import annotations

import numpy as np
import pytest

from realmaster.evaluation.metrics.flicker import flicker
from realmaster.evaluation.metrics.sharpness import gradient_energy
from realmaster.pipelines import hold as hold_module
from realmaster.pipelines.hold import Hold


@pytest.fixture(scope="module")
def walk() -> np.ndarray:
    """A camera that passes a wall of soft blocks by three pixels a frame: [8, 96, 160, 3]."""
    blocks = np.random.default_rng(0).integers(30, 220, (12, 30, 3))
    wall = np.kron(blocks, np.ones((8, 8, 1))).astype(np.uint8)
    return np.stack([wall[:, 3 * i : 3 * i + 160] for i in range(8)])


def tremble(frames: np.ndarray, levels: int) -> np.ndarray:
    noise = np.random.default_rng(1).integers(-levels, levels + 1, frames.shape)
    return np.clip(frames.astype(int) + noise, 0, 255).astype(np.uint8)


def flickering(renders: np.ndarray, frames: np.ndarray) -> float:
    found = flicker(renders, frames)
    assert found is not None
    return found.levels


def held(levels: float, renders: np.ndarray, frames: np.ndarray, weight: np.ndarray | float = 1.0) -> np.ndarray:
    hold = Hold(levels)
    return np.stack([hold.settle(render, frame, weight) for render, frame in zip(renders, frames, strict=True)])


def test_what_trembles_along_the_motion_is_stilled_and_stays_sharp(walk: np.ndarray) -> None:
    before = tremble(walk, 2)
    after = held(3, walk, before)
    assert flickering(walk, after) < 0.75 * flickering(walk, before)
    assert gradient_energy(after) == pytest.approx(gradient_energy(walk), rel=0.02)
    assert np.abs(after.astype(int) - before).max() <= 2  # never farther from what the translation says


def test_what_really_changes_comes_at_once_and_as_it_is(walk: np.ndarray) -> None:
    still = np.repeat(walk[:1], 4, axis=0)
    lit = still.copy()
    lit[2:, 30:60, 40:90] += 20  # a lamp goes on in what stands still
    np.testing.assert_array_equal(held(3, still, lit), lit)


def test_a_slow_fade_lags_by_two_levels_at_most_and_never_jumps() -> None:
    fade = np.stack([np.full((48, 64, 3), 60 + i // 3, dtype=np.uint8) for i in range(90)])
    after = held(3, np.repeat(fade[:1], len(fade), axis=0), fade).astype(int)
    assert np.abs(after - fade).max() <= 2
    assert np.abs(np.diff(after, axis=0)).max() <= 1


def test_where_the_weight_is_0_or_the_render_is_black_the_frame_stays_bit_for_bit(walk: np.ndarray) -> None:
    renders, frames = walk.copy(), tremble(walk, 2)
    renders[:, :20] = 0
    weight = np.ones(walk.shape[1:3], dtype=np.float32)
    weight[50:] = 0
    after = held(3, renders, frames, weight)
    for part in (slice(0, 20), slice(50, None)):
        np.testing.assert_array_equal(after[:, part], frames[:, part])
    assert (after[1:, 24:46] != frames[1:, 24:46]).mean() > 0.1
    half = held(3, renders, frames, 0.5).astype(int)
    assert 0 < np.abs(half - frames).max() <= 1


@pytest.mark.parametrize("size", [(1, 1), (4, 300), (31, 31), (33, 47)])
def test_any_size_is_held(size: tuple[int, int]) -> None:
    still = np.random.default_rng(2).integers(1, 255, (1, *size, 3), dtype=np.uint8).repeat(3, axis=0)
    after = held(3, still, tremble(still, 1))
    assert after.shape == still.shape
    assert (
        np.abs(np.diff(after.astype(int), axis=0)).mean()
        < 0.5 * np.abs(np.diff(tremble(still, 1).astype(int), axis=0)).mean()
    )


def test_in_a_large_frame_the_motion_of_a_smaller_copy_is_followed(
    walk: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = held(3, walk, tremble(walk, 2))
    monkeypatch.setattr(hold_module, "_LARGEST", walk[0, ..., 0].size // 4)
    reduced = held(3, walk, tremble(walk, 2))
    assert flickering(walk, reduced) < 0.85 * flickering(walk, tremble(walk, 2))
    assert not np.array_equal(whole, reduced)


def test_strips_of_a_large_frame_meet_without_a_seam(walk: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = held(3, walk, tremble(walk, 2))
    monkeypatch.setattr("realmaster.pipelines.strips._PIXELS", 7 * walk.shape[2])
    np.testing.assert_array_equal(held(3, walk, tremble(walk, 2)), whole)
