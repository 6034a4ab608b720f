"""Control videos: what of the render tells the propagator where things are, frame by frame.

Separate because they are pictures, made without a model. The released VACE weights know scribbles, dark lines on white
(edges the other way round would be read as ordinary frames), depth, bright where it is near, and grey frames. "soft" is
a scribble whose lines fade, "grey" the render without its colours.

Letters: F frames, H, W pixels.
"""

from __future__ import annotations

from typing import Any, Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import ConfigError
from realmaster.media.motion import can_flow, follow, registration

Frames = npt.NDArray[np.uint8]
Depth = npt.NDArray[np.floating[Any]]
ControlKind = Literal["canny", "soft", "depth", "grey"]
CONTROL_KINDS: tuple[ControlKind, ...] = get_args(ControlKind)

_BLUR_SIGMA = 1.0  # pixels at 480 rows; grows and shrinks with the picture
_STRONG_PERCENTILE = 90.0  # of the clip's gradients
_WEAK_SHARE = 0.4
_FLOOR = 16.0  # of the Sobel sum, that is 2 levels a pixel
_HOLD = 0.5  # share of the frame before in the gradients that decide, after moving along
_NEAR, _FAR = 2.0, 98.0  # percentiles of the clip's inverse depth that become white and black


def make_control(frames: Frames, kind: ControlKind, depth: Depth | None = None) -> Frames:
    """Make the control video of a clip: uint8 [F, H, W, 3] from uint8 [F, H, W, 3].

    Args:
        frames: the rendered clip.
        kind: canny (dark lines on white, steadied), soft (the same, fading), depth (near is bright) or grey.
        depth: distance from the camera, float [F, H, W], any unit, infinite or 0 where there is sky; for "depth" alone.

    Raises:
        ConfigError: no such kind, or "depth" without depth of this clip.
    """
    if kind == "canny":
        return _canny(frames)
    if kind == "soft":
        return _soft(frames)
    if kind == "grey":
        return np.stack([_three(_grey(frame)) for frame in frames])
    if kind == "depth":
        return _depth(frames, depth)
    raise ConfigError(f"expected a control among {', '.join(CONTROL_KINDS)}, got {kind!r}: choose one")


def _canny(frames: Frames) -> Frames:
    """Canny edges from gradients that are averaged along the motion, with one pair of thresholds for the clip.

    One pair, because thresholds of each frame's own make a line appear and go with the light; averaged, because the
    gradients of a moving edge waver with its place between pixels.
    """
    strong = _threshold(frames)
    lines = []
    for dx, dy in _steady_gradients(frames):
        steep = [np.clip(np.rint(part), -32768, 32767).astype(np.int16) for part in (dx, dy)]
        edges = cv2.Canny(steep[0], steep[1], _WEAK_SHARE * strong, strong, L2gradient=True)
        lines.append(_three(255 - np.asarray(edges, dtype=np.uint8)))
    return np.stack(lines)


def _soft(frames: Frames) -> Frames:
    """The strength of the steadied gradients: black from the strong threshold on, white where there is none."""
    strong = _threshold(frames)
    pictures = []
    for dx, dy in _steady_gradients(frames):
        share = np.clip(np.hypot(dx, dy) / strong, 0, 1)
        pictures.append(_three(np.rint(255 * (1 - share)).astype(np.uint8)))
    return np.stack(pictures)


def _depth(frames: Frames, depth: Depth | None) -> Frames:
    """Inverse depth, from the clip's 2nd percentile (black) to its 98th (white), as depth estimators give it."""
    if depth is None or depth.shape != frames.shape[:3]:
        got = "none" if depth is None else str(list(depth.shape))
        raise ConfigError(
            f"expected depth {list(frames.shape[:3])} of the clip for the control 'depth', got {got}: choose a source "
            "with depth, or another control"
        )
    distance = depth.astype(np.float32)
    seen = np.isfinite(distance) & (distance > 0)
    if not seen.any():
        raise ConfigError("expected a distance above 0 somewhere in the depth, found none: choose another control")
    inverse = np.zeros_like(distance)
    inverse[seen] = 1 / distance[seen]
    far, near = (float(value) for value in np.percentile(inverse[seen], (_NEAR, _FAR)))
    share = np.clip((inverse - far) / max(near - far, 1e-12), 0, 1) if near > far else seen.astype(np.float32)
    return np.stack([_three(np.rint(255 * picture).astype(np.uint8)) for picture in share])


def _steady_gradients(frames: Frames) -> Any:
    """Yield each frame's gradients [H, W] twice, mixed with the frame before's where that one shows the same."""
    before: npt.NDArray[np.float32] | None = None
    last: npt.NDArray[np.uint8] | None = None
    for frame in frames:
        luma = _blurred(frame)
        gradients = np.dstack([cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)])
        if before is not None and last is not None and can_flow(*luma.shape):
            flow = registration(luma, last)
            moved = follow(before, flow)
            same = np.abs(follow(last, flow) - luma) < 8  # levels; elsewhere something else came into sight
            share = (_HOLD * same.astype(np.float32))[..., None]
            gradients = (1 - share) * gradients + share * moved
        before, last = gradients.astype(np.float32), luma
        yield before[..., 0], before[..., 1]


def _threshold(frames: Frames) -> float:
    """The gradient above which a line begins: the clip's strongest tenth, and no less than noise."""
    strengths = []
    for frame in frames[:: max(1, len(frames) // 16)]:
        luma = _blurred(frame)
        strengths.append(np.hypot(cv2.Sobel(luma, cv2.CV_32F, 1, 0), cv2.Sobel(luma, cv2.CV_32F, 0, 1)).ravel())
    return max(float(np.percentile(np.concatenate(strengths), _STRONG_PERCENTILE)), _FLOOR)


def _blurred(frame: Frames) -> npt.NDArray[np.uint8]:
    sigma = max(0.5, _BLUR_SIGMA * min(frame.shape[:2]) / 480)
    return np.asarray(cv2.GaussianBlur(_grey(frame), (0, 0), sigma), dtype=np.uint8)


def _grey(frame: Frames) -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.uint8)


def _three(plane: npt.NDArray[np.uint8]) -> Frames:
    return np.repeat(plane[..., None], 3, axis=2)
