"""Faces by insightface's models (SCRFD finds, ArcFace embeds), run by onnxruntime from the user's own files.

Separate because the weights are the user's: insightface gives them for non-commercial research, so they are neither
shipped nor fetched. Layouts and constants are those of insightface's `scrfd.py`, `arcface_onnx.py` and `face_align.py`.

Letters: N candidates, K faces.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MissingWeightsError
from realmaster.models.faces import Face
from realmaster.optional import require

Frame = npt.NDArray[np.uint8]
Array = npt.NDArray[np.float32]
DETECTORS = ("det_10g.onnx", "scrfd_10g_bnkps.onnx", "det_2.5g.onnx", "det_500m.onnx")
EMBEDDERS = ("w600k_r50.onnx", "glintr100.onnx", "w600k_mbf.onnx")
HOW = (
    "unpack insightface's buffalo_l (detection and recognition .onnx files) into a folder and name it: "
    "scoring.identity.weights of a set, --faces of an import, tools.faces of an evaluation"
)
_SIDE = 640  # the detector sees the frame in the upper left of a square of this side
_MIN_CONFIDENCE, _MAX_OVERLAP = 0.5, 0.4
# where eyes, nose and corners of the mouth belong in the 112 x 112 picture that ArcFace was trained on
_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)
_ALIGNED = 112


def find_models(folder: Path) -> tuple[Path, Path]:
    """Find the detector and the embedder in a folder, or in its subfolder `models/buffalo_l`.

    Raises:
        MissingWeightsError: one of them is not there; the message names what was looked for.
    """
    for place in (folder, folder / "buffalo_l", folder / "models" / "buffalo_l"):
        found = [next((place / name for name in names if (place / name).is_file()), None) for names in _KINDS]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
    raise MissingWeightsError(
        f"{folder}: expected one of {', '.join(DETECTORS)} and one of {', '.join(EMBEDDERS)}, found no such pair: {HOW}"
    )


_KINDS = (DETECTORS, EMBEDDERS)


class InsightFaces:
    """SCRFD and ArcFace from a folder of ONNX files."""

    measure: Literal["cosine", "distance"] = "cosine"

    def __init__(self, folder: Path) -> None:
        """Load both models.

        Raises:
            MissingWeightsError: the files are not there, or are no models of this layout.
            MissingExtraError: onnxruntime is not installed.
        """
        detector, embedder = find_models(folder)
        runtime = require("onnxruntime", extra="faces")
        self._detector = _session(runtime, detector)
        self._embedder = _session(runtime, embedder)
        outputs = len(self._detector.get_outputs())
        if outputs != 9:
            raise MissingWeightsError(
                f"{detector}: expected a detector with 9 outputs (scores, boxes, landmarks at 3 strides), got "
                f"{outputs}: take det_10g.onnx"
            )
        digest = hashlib.sha256(detector.read_bytes() + embedder.read_bytes()).hexdigest()[:12]
        self.name = f"ArcFace {embedder.stem} on {detector.stem} ({digest})"

    def find(self, frame: Frame) -> list[Face]:
        """Find and embed the faces of one frame: uint8 [H, W, 3], RGB."""
        boxes, scores, landmarks = self.detect(frame)
        return [
            Face(tuple(map(float, box)), float(score), self.embed(align(frame, points)))  # type: ignore[arg-type]
            for box, score, points in zip(boxes, scores, landmarks, strict=True)
        ]

    def detect(self, frame: Frame) -> tuple[Array, Array, Array]:
        """Find boxes [K, 4], confidences [K] and landmarks [K, 5, 2], the most confident first."""
        height, width = frame.shape[:2]
        scale = _SIDE / max(height, width)
        size = (max(1, int(width * scale)), max(1, int(height * scale)))
        scale = size[1] / height  # as rounded, which is what insightface divides by
        canvas = np.zeros((_SIDE, _SIDE, 3), np.uint8)
        canvas[: size[1], : size[0]] = cv2.resize(frame, size)
        blob = ((canvas.astype(np.float32) - 127.5) / 128.0).transpose(2, 0, 1)[None]
        outputs = [np.asarray(value) for value in self._detector.run(None, {self._detector.get_inputs()[0].name: blob})]
        boxes, scores, landmarks = [], [], []
        for level, stride in enumerate((8, 16, 32)):
            score, box, points = (outputs[level + 3 * kind].reshape(-1, n) for kind, n in enumerate((1, 4, 10)))
            keep = np.flatnonzero(score[:, 0] >= _MIN_CONFIDENCE)
            centre = _centres(stride, len(score))[keep]
            near, far = box[keep, :2] * stride, box[keep, 2:] * stride
            boxes.append(np.concatenate([centre - near, centre + far], axis=1))
            landmarks.append(centre[:, None] + points[keep].reshape(-1, 5, 2) * stride)
            scores.append(score[keep, 0])
        found = np.concatenate(boxes) / scale, np.concatenate(scores), np.concatenate(landmarks) / scale
        chosen = _strongest(found[0], found[1])
        return tuple(np.asarray(values[chosen], np.float32) for values in found)  # type: ignore[return-value]

    def embed(self, aligned: Frame) -> Array:
        """Embed an aligned face: uint8 [112, 112, 3] RGB to float32 [512]."""
        blob = ((aligned.astype(np.float32) - 127.5) / 127.5).transpose(2, 0, 1)[None]
        (output,) = self._embedder.run(None, {self._embedder.get_inputs()[0].name: blob})
        return np.asarray(output, np.float32).reshape(-1)


def align(frame: Frame, landmarks: Array) -> Frame:
    """Turn, scale and move a face so that its landmarks [5, 2] lie where ArcFace expects them: uint8 [112, 112, 3]."""
    return np.asarray(cv2.warpAffine(frame, similarity(landmarks, _TEMPLATE), (_ALIGNED, _ALIGNED)), np.uint8)


def similarity(start: Array, end: Array) -> npt.NDArray[np.float64]:
    """Return the turn, scale and shift, [2, 3], that takes points [n, 2] nearest to others (Umeyama, 1991)."""
    a, b = np.asarray(start, np.float64), np.asarray(end, np.float64)
    mean_a, mean_b = a.mean(axis=0), b.mean(axis=0)
    u, sizes, v = np.linalg.svd((b - mean_b).T @ (a - mean_a) / len(a))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(v)) or 1.0])
    turn = u @ np.diag(sign) @ v
    variance = float(((a - mean_a) ** 2).sum(axis=1).mean())
    scale = float((sizes * sign).sum()) / variance if variance > 0 else 1.0
    return np.concatenate([scale * turn, (mean_b - scale * turn @ mean_a)[:, None]], axis=1)


def _session(runtime: Any, path: Path) -> Any:
    try:
        return runtime.InferenceSession(str(path), providers=runtime.get_available_providers())
    except Exception as error:  # onnxruntime's own errors have no common public base
        raise MissingWeightsError(
            f"{path}: expected an ONNX model, onnxruntime could not read it ({str(error).splitlines()[0]}): {HOW}"
        ) from error


def _centres(stride: int, count: int) -> Array:
    """Middles of the detector's cells in pixels, each as often as there are anchors: [N, 2]."""
    cells = _SIDE // stride
    grid = np.stack(np.meshgrid(np.arange(cells), np.arange(cells)), axis=-1).reshape(-1, 2)
    return np.repeat(grid * stride, count // len(grid), axis=0).astype(np.float32)


def _strongest(boxes: Array, scores: Array) -> list[int]:
    """Keep the most confident of boxes that overlap (with the +1 pixel of insightface's own suppression)."""
    order, kept = list(np.argsort(-scores, kind="stable")), []
    areas = (boxes[:, 2] - boxes[:, 0] + 1) * (boxes[:, 3] - boxes[:, 1] + 1)
    while order:
        first, rest = order[0], np.array(order[1:], int)
        kept.append(int(first))
        low, high = np.maximum(boxes[first, :2], boxes[rest, :2]), np.minimum(boxes[first, 2:], boxes[rest, 2:])
        both = np.prod(np.maximum(0.0, high - low + 1), axis=1)
        order = list(rest[both / (areas[first] + areas[rest] - both) <= _MAX_OVERLAP])
    return kept
