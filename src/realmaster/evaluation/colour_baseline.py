"""The colour transform that a learned translation has to beat: one fixed curve per weather, fitted by least squares.

Separate because a baseline must be as strong as its kind allows and know nothing of the test split. Two degrees: 1 is
an affine matrix (3 x 3 and a bias), 3 a cubic polynomial of R, G and B. Both act on sRGB values: fitted in linear light
they score about 0.4 dB lower on the exact pairs, because the error is counted in sRGB.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from realmaster.data.pair_set import Frames, PairRow

Array = npt.NDArray[np.float64]
_STEP = 4  # every fourth frame, row and column is enough for a fit of twenty numbers
_BLOCK = 1 << 16  # pixels at a time, so that the polynomial's terms stay small in memory


@dataclass(frozen=True)
class ColourTransform:
    """Polynomials of R, G and B per (engine weather, camera weather), fitted on pairs; those without share one."""

    degree: int
    weights: dict[tuple[str, str], Array]  # each [number of terms, 3]

    def knows(self, row: PairRow) -> bool:
        """Say whether the fit saw this pair's weathers."""
        return row.weathers in self.weights

    def apply(self, frames: Frames, row: PairRow) -> Frames:
        """Change the colours of an engine clip, uint8 [F, H, W, 3]; weathers the fit never saw stay untouched."""
        weights = self.weights.get(row.weathers)
        if weights is None:
            return frames
        flat = frames.reshape(-1, 3)
        result = np.empty_like(flat)
        for start in range(0, len(flat), _BLOCK):
            values = _terms(flat[start : start + _BLOCK] / 255.0, self.degree) @ weights
            result[start : start + _BLOCK] = np.rint(np.clip(values, 0.0, 1.0) * 255.0)
        return result.reshape(frames.shape)


def fit_colour_transforms(
    rows: Iterable[PairRow], degrees: tuple[int, ...] = (1, 3), on_row: Callable[[], None] | None = None
) -> list[ColourTransform]:
    """Fit one transform per degree on training pairs, reading each clip once and keeping only normal equations."""
    sums: dict[tuple[int, tuple[str, str]], tuple[Array, Array]] = {}
    for row in rows:
        engine, camera = (_thinned(frames) for frames in (row.engine_frames(), row.camera_frames()))
        for degree in degrees:
            terms = _terms(engine, degree)
            left, right = terms.T @ terms, terms.T @ camera
            old = sums.get((degree, row.weathers))
            sums[degree, row.weathers] = (left, right) if old is None else (old[0] + left, old[1] + right)
        if on_row is not None:
            on_row()
    return [
        ColourTransform(
            degree,
            {
                key: np.asarray(np.linalg.lstsq(left, right)[0], np.float64)
                for (power, key), (left, right) in sums.items()
                if power == degree
            },
        )
        for degree in degrees
    ]


def _thinned(frames: Frames) -> Array:
    return frames[::_STEP, _STEP // 2 :: _STEP, _STEP // 2 :: _STEP].reshape(-1, 3) / 255.0


def _terms(pixels: Array, degree: int) -> Array:
    """Return all products of R, G and B up to a degree: [n, 3] to [n, terms], the constant first."""
    powers = [
        (r, g, b)
        for r in range(degree + 1)
        for g in range(degree + 1)
        for b in range(degree + 1)
        if r + g + b <= degree
    ]
    red, green, blue = pixels.T
    return np.stack([red**r * green**g * blue**b for r, g, b in powers], axis=1)
