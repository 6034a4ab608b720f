"""Windows over a stream of frames."""

from collections.abc import Iterator

import numpy as np
import pytest

from realmaster.models.profiles import WindowSettings
from realmaster.pipelines.windows import cut_windows

SETTINGS = WindowSettings(num_frames=13, overlap=5)


def chunks(total: int, size: int) -> Iterator[np.ndarray]:
    frames = np.arange(total, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    for start in range(0, total, size):
        yield frames[start : start + size]


@pytest.mark.parametrize("size", [1, 4, 13, 100])
@pytest.mark.parametrize("total", [1, 2, 5, 12, 13, 14, 20, 21, 22, 81])
def test_new_frames_of_all_windows_are_the_clip_whatever_the_chunks(total: int, size: int) -> None:
    seen: list[int] = []
    for window in cut_windows(chunks(total, size), SETTINGS, time_stride=4):
        new = window.frames[window.num_held : len(window.frames) - window.num_padding]
        seen.extend(int(frame[0, 0, 0]) for frame in new)
        assert len(new) > 0
        assert len(window.frames) % 4 == 1
    assert seen == list(range(total))


def test_a_window_begins_with_the_last_frames_of_the_one_before() -> None:
    first, second = list(cut_windows(chunks(21, 7), SETTINGS, time_stride=4))
    assert first.num_held == 0
    assert second.num_held == 5
    np.testing.assert_array_equal(second.frames[:5], first.frames[-5:])


def test_the_last_window_repeats_its_last_frame_up_to_the_stride() -> None:
    *_, last = cut_windows(chunks(16, 16), SETTINGS, time_stride=4)
    assert last.num_padding == (1 - len(last.frames[: len(last.frames) - last.num_padding])) % 4
    assert (last.frames[len(last.frames) - last.num_padding :] == 15).all()


def test_no_frames_give_no_window() -> None:
    assert list(cut_windows(iter([]), SETTINGS, time_stride=4)) == []


def test_an_overlap_as_long_as_the_window_is_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        WindowSettings(num_frames=13, overlap=13)
