"""Masks of what stays as rendered."""

from fractions import Fraction
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from realmaster.errors import MediaError
from realmaster.media.images import write_image
from realmaster.pipelines.protect import open_mask, split_ids


def weights(mask: str | Path, count: int = 2) -> list[np.ndarray]:
    return list(islice(open_mask(mask, width=8, height=4, frame_rate=Fraction(16), start_seconds=0), count))


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    image = np.zeros((4, 8, 3), dtype=np.uint8)
    image[:, :4] = 3
    image[:, 6:] = 17
    write_image(tmp_path / "seg.png", image)
    return tmp_path / "seg.png"


def test_white_stays_and_black_changes_in_every_frame(tmp_path: Path) -> None:
    image = np.zeros((4, 8, 3), dtype=np.uint8)
    image[:, :4] = 255
    write_image(tmp_path / "mask.png", image)
    for weight in weights(tmp_path / "mask.png", 30):
        assert (weight[:, :4] == 0).all()
        assert (weight[:, 4:] == 1).all()


def test_ids_choose_segments(labels: Path) -> None:
    (weight,) = weights(f"{labels}#3,17", 1)
    assert (weight[:, :4] == 0).all()
    assert (weight[:, 4:6] == 1).all()
    assert (weight[:, 6:] == 0).all()


def test_a_mask_of_another_size_is_fitted(labels: Path) -> None:
    (weight,) = islice(open_mask(f"{labels}#3", width=16, height=8, frame_rate=Fraction(16), start_seconds=0), 1)
    assert weight.shape == (8, 16)
    assert (weight[:, :8] == 0).all()


def test_ids_that_are_no_numbers_are_refused_in_one_line() -> None:
    with pytest.raises(MediaError, match=r"expected ids .* got 'car'"):
        split_ids("seg.png#car")


def test_a_missing_mask_is_refused() -> None:
    with pytest.raises(MediaError, match="nothing there"):
        weights("no-such-mask.png")
