"""Faces by dlib: weights that install from PyPI and run on any CPU. Not ArcFace, and named as such in every table.

Separate because its numbers are another measure: a Euclidean distance of 128-d embeddings, below 0.6 the same person.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from realmaster.errors import MissingExtraError
from realmaster.models.faces import Face
from realmaster.optional import require

Frame = npt.NDArray[np.uint8]
HOW = "install it with `pip install 'realmaster[faces]'`"
FILES = (
    "mmod_human_face_detector.dat",
    "shape_predictor_5_face_landmarks.dat",
    "dlib_face_recognition_resnet_model_v1.dat",
)
_DETECTED_SIDE = 768  # longer side that smaller frames are enlarged to: the detector misses faces below 80 pixels
_MIN_CONFIDENCE = 0.6


def weights_folder() -> Path:
    """Find the weights of the package face-recognition-models without importing it (it wants pkg_resources).

    Raises:
        MissingExtraError: package or files are not there.
    """
    found = find_spec("face_recognition_models")
    places = [Path(place) / "models" for place in (found.submodule_search_locations or ())] if found else []
    for place in places:
        if all((place / name).is_file() for name in FILES):
            return place
    raise MissingExtraError(f"expected the package face-recognition-models with {', '.join(FILES)}, found none: {HOW}")


class DlibFaces:
    """dlib's CNN detector, five landmarks and its embedding network."""

    name = "dlib resnet v1"
    measure: Literal["cosine", "distance"] = "distance"

    def __init__(self) -> None:
        """Load the three models.

        Raises:
            MissingExtraError: dlib or its weights are not installed.
        """
        folder = weights_folder()
        dlib = require("dlib", extra="faces")
        detector, landmarks, embedder = (str(folder / name) for name in FILES)
        self._detector = dlib.cnn_face_detection_model_v1(detector)
        self._landmarks = dlib.shape_predictor(landmarks)
        self._embedder = dlib.face_recognition_model_v1(embedder)

    def find(self, frame: Frame) -> list[Face]:
        """Find and embed the faces of one frame: uint8 [H, W, 3], RGB; small frames are enlarged first."""
        scale = max(1.0, _DETECTED_SIDE / max(frame.shape[:2]))
        size = (round(frame.shape[1] * scale), round(frame.shape[0] * scale))
        large = frame if scale == 1.0 else np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_CUBIC), np.uint8)
        large = np.ascontiguousarray(large)
        faces = []
        for found in sorted(self._detector(large, 0), key=lambda found: -found.confidence):
            if found.confidence < _MIN_CONFIDENCE:
                continue
            box = found.rect
            shape = self._landmarks(large, box)
            embedding = np.array(self._embedder.compute_face_descriptor(large, shape), np.float32)
            place = tuple(float(edge) / scale for edge in (box.left(), box.top(), box.right(), box.bottom()))
            faces.append(Face(place, float(found.confidence), embedding))
        return faces
