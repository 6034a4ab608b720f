"""Carry a change from the model's size to the input's own resolution, along the input's edges.

The model says at its small size what the light and the colours become. A bilateral grid (Chen, Paris and Durand, 2007)
divides the picture by place and by luma; in each of its cells an affine map from the colours of the input to those of
the translation is fitted, and every pixel of the input takes the map of its own place and luma (Gharbi et al., 2017,
section 3.4). A map belongs to a surface and not to a square of the screen, so a change ends where the surface ends, and
the input's sharpness and its text stay.

What was measured (docs/findings.md): a grid beats a guided filter, whose windows smear the change over edges and need
optical flow to be steadied. Where a cell is flat the fit leans towards the input's own contrast, scaled as its light
is, not towards none: a model that blurs must not take the texture away. The guide is the input after the same
autoencoder as the translation, so that both are equally blurred: fitted on the sharp input the gains would shrink. And
the fit is in display codes, not in linear light: it keeps 0.3 dB and 0.01 SSIM more. What earlier frames have said
moves with the picture: light that stayed in its place would lag behind a moving camera. What no map of a cell can say
(a shadow's edge, a light that the render lacks) is what the maps leave: it is added on top, as sharp as the model is.

Letters: H, W of the input; h, w of the model; L lumas, R rows and C columns of the grid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.media.motion import Flow, can_flow, follow, registration
from realmaster.models.profiles import TransferSettings
from realmaster.pipelines.strips import strips

Image = npt.NDArray[np.float32]
Frame = npt.NDArray[np.uint8]
Frames = npt.NDArray[np.uint8]
_CUT_LEVELS = 30.0
_REST_FRAMES = 10.0  # how many frames the remainder is the mean of: it is finer than the maps, and would flicker
_REST_NOISE = 5.0  # levels: less than this is no news, but what an autoencoder makes of the same picture twice
_FEW = 1e-6  # keeps a mean over frames without weight bounded
_NEAR = (1.0, 0.8)  # cells and lumas: how far a cell looks around it (standard deviations)
_FAR = (4.0, 1.2)
_FAR_SHARE = 0.1  # what lies farther off counts this much, the whole picture that much squared: no cell is empty
_HUE = 10.0  # differences of hue keep to the input that much more closely: few cells show all hues that may come
_DARK = 0.05  # keeps the ratio of nearly black cells bounded
_LIGHT = (0.3, 2.0)  # how much darker or lighter contrast may become where a cell is flat
_FINER = 4  # OpenCV looks up in steps of 1/32 of a pixel: of a quarter of a cell, no step is seen
_BLACK = 16.0  # luma: what is darker is changed less, and 0 not at all
_LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)  # BT.601 weights, as OpenCV has them, of display codes
_UPPER = np.triu_indices(4)


@dataclass(frozen=True)
class _Shot:
    """What the frames of a shot have said so far, the older the less."""

    render: Frame
    sums: Image  # [L, R, C, 22]
    rest: Image | None  # [h, w, 3], levels: what the maps left; None where that is not carried
    counted: float  # how many frames it is the mean of, by their weights


class SteadyFit:
    """Fit frame after frame over all frames so far, the older the less: light that changes slowly cannot flicker.

    Each frame counts `steadiness` times as much as the one after it, and moves on to it along the render's optical
    flow. A cut (neighbouring renders that differ by more than 30 levels in the mean) starts afresh.
    """

    def __init__(self, settings: TransferSettings) -> None:
        """Begin a clip."""
        self.settings = settings
        self.shot: _Shot | None = None

    @property
    def begun(self) -> bool:
        """Whether a frame was seen."""
        return self.shot is not None

    def begin(self, render: Frame, guides: Frames, translated: Frames, weights: Image | None = None) -> None:
        """Begin at the mean of some frames, guides and translated uint8 [F, h, w, 3], not at the first one."""
        counts = np.ones(len(guides), dtype=np.float32) if weights is None else weights
        frames = list(zip(counts, guides, translated, strict=True))
        sums = _mean([count * _sums(guide, frame, self.settings) for count, guide, frame in frames])
        rest = None
        if self.settings.remainder:
            maps = _solve(sums, self.settings.epsilon)
            rests = [count * _rest(guide, frame, maps) for count, guide, frame in frames]
            rest = _mean(rests) / np.float32(max(counts.mean(), _FEW))
        self.shot = _Shot(render, sums, rest, min(float(counts.sum()), _REST_FRAMES))

    def fit(self, render: Frame, guide: Frame, translated: Frame, weight: float = 1.0) -> Image:
        """Fit the change of the next frame: affine maps of colours [L, R, C, 3, 4], three gains and an offset for each.

        `guide` and `translated` are uint8 [h, w, 3], cuts are looked for in `render`, of that size too.
        `weight` says how much this frame counts in the maps, its own included.
        """
        sums = np.float32(weight) * _sums(guide, translated, self.settings)
        shot, flow = self.shot, None
        if shot is not None and is_cut(shot.render, render):
            shot = None
        if shot is not None:
            flow = _flow_back(shot.render, render)
            sums += np.float32(self.settings.steadiness) * (_moved(shot.sums, flow) - sums)
        maps, rest, counted = _solve(sums, self.settings.epsilon), None, weight
        if self.settings.remainder:
            rest = _rest(guide, translated, maps)
            if shot is not None and shot.rest is not None:
                counted = min(shot.counted + weight, _REST_FRAMES)
                before = shot.rest if flow is None else follow(shot.rest, flow)
                news = rest - before
                heard = np.sign(news) * np.maximum(np.abs(news) - np.float32(_REST_NOISE), 0)
                rest = before + np.float32(weight / max(counted, _FEW)) * heard
        self.shot = _Shot(render, sums, rest, counted)
        return maps

    @property
    def remainder(self) -> Image | None:
        """What the maps of the last frame leave of its change, [h, w, 3] in levels; None where it is not carried."""
        if self.shot is None or self.shot.rest is None:
            return None
        return np.float32(self.settings.remainder) * self.shot.rest


def is_cut(before: Frame, after: Frame) -> bool:
    """Say whether two neighbouring frames uint8 [h, w, 3] are of different shots."""
    return float(cv2.absdiff(before, after).mean()) > _CUT_LEVELS


def apply_change(
    frame: Frame, maps: Image, remainder: Image | None = None, *, strength: Image | float = 1.0, gain: float = 1.0
) -> Frame:
    """Apply fitted maps [L, R, C, 3, 4] to a frame uint8 [H, W, 3]; its pure black stays.

    Bars and the ground of titles are no surfaces, and a model that has never seen them lights them.

    `remainder` [h, w, 3] is added to what the maps make of the frame, enlarged.
    `strength` (a number, or [H, W] in 0..1) says how far to go from the frame to its translation. `gain` is what the
    frame was multiplied by before the maps were fitted (`exposure`).
    """
    height, width = frame.shape[:2]
    size = (_FINER * maps.shape[2], _FINER * maps.shape[1])
    # the lumas lie one above the other in one tall picture for each colour, in which OpenCV looks places up
    finer = [np.vstack([cv2.resize(level[..., colour, :], size) for level in maps]) for colour in range(3)]
    y, x = _places(height, size[1]), _places(width, size[0])
    rest = None if remainder is None else _Enlarged(remainder / np.float32(gain), height, width)
    out = np.empty_like(frame)
    for strip in strips(height, width):
        weight = strength[strip, :, None] if isinstance(strength, np.ndarray) else strength
        added = None if rest is None else rest.rows(strip)
        out[strip] = _apply(frame[strip], finer, len(maps), y[strip], x, added, weight, gain)
    return out


def _places(count: int, cells: int) -> Image:
    """Where pixels lie among cells, each [count], counted from the middle of the first."""
    return np.clip((np.arange(count, dtype=np.float32) + 0.5) * cells / count - 0.5, 0, cells - 1)


class _Enlarged:
    """A small picture [h, w, 3], looked up at a large one's pixels, some rows at a time."""

    def __init__(self, picture: Image, height: int, width: int) -> None:
        size = (_FINER * picture.shape[1], _FINER * picture.shape[0])
        self.finer = cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC)
        self.y, self.x = _places(height, size[1]), _places(width, size[0])

    def rows(self, strip: slice) -> Image:
        row, column = (np.ascontiguousarray(part) for part in np.broadcast_arrays(self.y[strip, None], self.x))
        return np.asarray(cv2.remap(self.finer, column, row, cv2.INTER_LINEAR), dtype=np.float32)


def _apply(
    strip: Frame,
    maps: list[Image],
    lumas: int,
    y: Image,
    x: Image,
    added: Image | None,
    weight: Image | float,
    gain: float,
) -> Frame:
    """Apply to each pixel of a strip [n, W, 3] the map of its luma at row y [n] and column x [W] of a luma's cells."""
    one = np.dstack([strip, np.zeros(strip.shape[:2], dtype=np.uint8)]).astype(np.float32)
    one[..., 3] = 255 / gain
    light = _light(one)
    luma = np.minimum(light * np.float32(gain * (lumas - 1) / 255), np.float32(lumas - 1))
    below = np.clip(luma.astype(np.int32), 0, lumas - 2)
    rows = len(maps[0]) // lumas
    lower = (below * rows + y[:, None]).astype(np.float32)
    column = np.ascontiguousarray(np.broadcast_to(x, lower.shape))

    def mapped(colour: Image, row: Image) -> Image:
        return np.einsum("nwk,nwk->nw", cv2.remap(colour, column, row, cv2.INTER_LINEAR), one)

    share = luma - below
    out = np.dstack([(1 - share) * mapped(colour, lower) + share * mapped(colour, lower + rows) for colour in maps])
    if added is not None:
        out += added
    shown = np.minimum(light / np.float32(_BLACK), 1)[..., None]
    out = one[..., :3] + weight * shown * (out - one[..., :3])
    changed = np.clip(out + 0.5, 0, 255).astype(np.uint8)
    return changed if isinstance(weight, float) else np.where(weight == 0, strip, changed)


def _sums(guide: Frame, translated: Frame, settings: TransferSettings) -> Image:
    """Add up what the fit needs, in each cell: [L, R, C, 22], products of (x, 1) with itself (10) and with y (12)."""
    height, width = guide.shape[:2]
    size = (max(1, round(width / settings.cell)), max(1, round(height / settings.cell)))
    x, y = guide.astype(np.float32) / 255, translated.astype(np.float32) / 255
    ones = np.dstack([x, np.ones((height, width, 1), dtype=np.float32)])
    products = np.concatenate(
        [(ones[..., :, None] * ones[..., None, :])[..., *_UPPER],
         (ones[..., :, None] * y[..., None, :]).reshape(height, width, 12)], axis=2,
    )  # fmt: skip
    luma = _light(x) * (settings.lumas - 1)
    shares = [np.clip(1 - np.abs(luma - level), 0, 1)[..., None] for level in range(settings.lumas)]
    return np.stack(
        [
            _by_three(products * share, lambda part: cv2.resize(part, size, interpolation=cv2.INTER_AREA))
            for share in shares
        ]
    )


def _mean(pictures: list[Image]) -> Image:
    return np.asarray(np.mean(pictures, axis=0), dtype=np.float32)


def _rest(guide: Frame, translated: Frame, maps: Image) -> Image:
    """What the maps leave of a change: [h, w, 3] in levels."""
    return translated.astype(np.float32) - apply_change(guide, maps)


def _flow_back(before: Frame, after: Frame) -> Flow | None:
    """Where a render's surfaces, uint8 [h, w, 3], were in the one before; None if they stayed, or it is too small."""
    if not can_flow(*after.shape[:2]) or np.array_equal(before, after):
        return None
    return registration(*(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (after, before)))


def _moved(sums: Image, flow: Flow | None) -> Image:
    """Move the sums [L, R, C, 22] of the render before to where its surfaces are now."""
    if flow is None:
        return sums
    rows, columns = sums.shape[1:3]
    cells = cv2.resize(flow, (columns, rows), interpolation=cv2.INTER_AREA)
    cells *= np.array([columns / flow.shape[1], rows / flow.shape[0]], dtype=np.float32)
    return np.stack([_by_three(level, lambda part: follow(part, cells)) for level in sums])


def _light(colours: npt.NDArray[Any]) -> Image:
    """Weigh colours [H, W, 3 or 4] to luma [H, W]; numpy's `@` would round by the number of threads."""
    weights = np.zeros((1, colours.shape[2]), dtype=np.float32)
    weights[0, :3] = _LUMA
    return cv2.transform(colours, weights).reshape(colours.shape[:2])


def _solve(sums: Image, epsilon: float) -> Image:
    """Fit the maps of a grid [L, R, C, 3, 4] to its sums [L, R, C, 22], each cell looking around it."""
    whole = sums.mean(axis=(0, 1, 2), dtype=np.float32)
    sums = _blur(sums, *_NEAR) + _FAR_SHARE * _blur(sums, *_FAR) + _FAR_SHARE**2 * whole
    means = sums.astype(np.float64) / sums[..., 9:10]  # the tenth product is 1: how many pixels
    squares = np.empty((*sums.shape[:3], 4, 4))  # float64: variances are small differences, and so may epsilon be
    squares[..., *_UPPER] = squares[..., *_UPPER[::-1]] = means[..., :10]
    cross = means[..., 10:].reshape(*sums.shape[:3], 4, 3)
    mean_x, mean_y = squares[..., 3, :3], cross[..., 3, :]
    covariance = squares[..., :3, :3] - mean_x[..., :, None] * mean_x[..., None, :]
    cross = cross[..., :3, :] - mean_x[..., :, None] * mean_y[..., None, :]
    light = np.clip((mean_y.mean(axis=-1) + _DARK) / (mean_x.mean(axis=-1) + _DARK), *_LIGHT)
    ridge = epsilon * (_HUE * np.eye(3) + (1 - _HUE) / 3)
    gains = np.linalg.solve(covariance + ridge, cross + light[..., None, None] * ridge)  # [L, R, C, in, out]
    offsets = mean_y - np.einsum("lrci,lrcio->lrco", mean_x, gains)
    maps = np.concatenate([gains, offsets[..., None, :]], axis=-2).swapaxes(-1, -2)
    return np.ascontiguousarray(maps, dtype=np.float32)


def _blur(sums: Image, cells: float, lumas: float) -> Image:
    """Blur sums [L, R, C, 22] with a Gaussian over place and luma."""

    def over_place(part: Image) -> Image:
        return np.asarray(cv2.GaussianBlur(part, (0, 0), cells, borderType=cv2.BORDER_REPLICATE), dtype=np.float32)

    blurred = np.stack([_by_three(level, over_place) for level in sums])
    levels = np.arange(len(sums), dtype=np.float32)
    kernel = np.exp(-0.5 * ((levels[:, None] - levels) / lumas) ** 2)
    return np.einsum("ml,lrck->mrck", kernel / kernel.sum(axis=1, keepdims=True), blurred)


def _by_three(picture: Image, change: Callable[[Image], Any]) -> Image:
    """Change a picture [..., K] by three channels at a time and the last alone, K being a multiple of three and one.

    OpenCV takes at most four, and OpenCV 5 looks places up more coarsely in two (`remap`) than in one, three or four:
    sums that belong together would not be moved alike.
    """
    return np.dstack([change(np.ascontiguousarray(picture[..., k : k + 3])) for k in range(0, picture.shape[2], 3)])
