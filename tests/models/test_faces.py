"""Faces are found, aligned, embedded and matched as insightface does it, from ONNX files of the real layout."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import MissingWeightsError
from realmaster.evaluation.metrics.identity import identity, sampled
from realmaster.models.faces import Face, cosine, match_faces
from realmaster.models.faces_insight import InsightFaces, align, find_models, similarity

Frames = npt.NDArray[np.uint8]
TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]], np.float32
)


def face(left: float, embedding: tuple[float, ...], side: float = 10.0) -> Face:
    return Face((left, 0.0, left + side, side), 0.9, np.array(embedding, np.float32))


def test_faces_are_matched_by_position_before_similarity() -> None:
    """Two people swapped in place are matched in place, and their low similarity is the result."""
    first = [face(0, (1, 0)), face(100, (0, 1))]
    swapped = [face(1, (0, 1)), face(101, (1, 0))]
    matches = match_faces(first, swapped)
    assert {match.by for match in matches} == {"position"}
    assert [cosine(match.first, match.second) for match in matches] == [0.0, 0.0]


def test_what_moved_a_little_is_matched_by_similarity_and_what_is_far_is_not() -> None:
    first = [face(0, (1, 0)), face(14, (0, 1))]
    moved = [face(8, (0, 1)), face(20, (1, 0))]  # overlaps of a quarter and less: no position to go by
    matches = match_faces(first, moved)
    assert all(match.by == "similarity" and cosine(match.first, match.second) == 1.0 for match in matches)
    assert len(matches) == 2
    assert match_faces(first[:1], [face(500, (1, 0))]) == []


def test_the_landmarks_are_laid_on_the_template_exactly() -> None:
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])
    moved = (TEMPLATE @ turn.T * 2.5 + [200, 30]).astype(np.float32)
    matrix = similarity(moved, TEMPLATE)
    np.testing.assert_allclose(moved @ matrix[:, :2].T + matrix[:, 2], TEMPLATE, atol=1e-3)


def test_alignment_agrees_with_scikit_images_transform() -> None:
    """insightface aligns with scikit-image's estimate; noisy landmarks have to give the same matrix."""
    transform = pytest.importorskip("skimage.transform")
    noisy = TEMPLATE * 1.7 + np.random.default_rng(2).normal(0, 3, TEMPLATE.shape).astype(np.float32)
    theirs = transform.SimilarityTransform.from_estimate(noisy, TEMPLATE)
    np.testing.assert_allclose(similarity(noisy, TEMPLATE), theirs.params[:2], atol=1e-3)  # theirs in float32


def write_models(folder: Path) -> Path:
    """A detector that says two overlapping faces at one place, and an embedder that gives mean colours."""
    onnx = pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper, numpy_helper

    folder.mkdir()
    picture = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, 640, 640])
    nodes, outputs, weights = [], [], []
    for kind, width in (("score", 1), ("bbox", 4), ("kps", 10)):
        for stride in (8, 16, 32):
            values = np.zeros(((640 // stride) ** 2 * 2, width), np.float32)
            if stride == 16:  # cell (x 10, y 5): centre (160, 80)
                index = (5 * 40 + 10) * 2
                if kind == "score":
                    values[index], values[index + 1] = 0.9, 0.8
                if kind == "bbox":
                    values[index], values[index + 1] = 2.0, 2.1
                if kind == "kps":
                    points = (TEMPLATE - 56) * 0.5 / 16
                    values[index] = values[index + 1] = points.reshape(-1)
            name = f"{kind}_{stride}"
            weights.append(numpy_helper.from_array(values, name + "_value"))
            nodes.append(helper.make_node("Identity", [name + "_value"], [name]))
            outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(values.shape)))
    save(onnx, helper.make_graph(nodes, "scrfd", [picture], outputs, weights), folder / "det_10g.onnx")

    face_in = helper.make_tensor_value_info("input.1", TensorProto.FLOAT, [1, 3, 112, 112])
    out = helper.make_tensor_value_info("683", TensorProto.FLOAT, [1, 3])
    nodes = [
        helper.make_node("GlobalAveragePool", ["input.1"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["683"]),
    ]
    save(onnx, helper.make_graph(nodes, "arcface", [face_in], [out]), folder / "w600k_r50.onnx")
    return folder


def save(onnx: object, graph: object, path: Path) -> None:
    from onnx import helper
    from onnx import save as write

    write(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_models(tmp_path_factory.mktemp("faces") / "buffalo_l")


def test_a_planted_face_is_found_once_where_it_is(models: Path) -> None:
    faces = InsightFaces(models.parent)  # the folder above is found into
    frame = np.zeros((320, 320, 3), np.uint8)
    (found,) = faces.find(frame)  # two anchors overlap: one face; the frame is half the detector's square
    assert found.box == pytest.approx((64.0, 24.0, 96.0, 56.0))
    assert found.confidence == pytest.approx(0.9)
    assert "w600k_r50" in faces.name


def test_identity_is_the_cosine_of_what_the_aligned_faces_hold(models: Path) -> None:
    faces = InsightFaces(models)
    red, blue = np.zeros((6, 320, 320, 3), np.uint8), np.zeros((6, 320, 320, 3), np.uint8)
    red[..., 0], blue[..., 2] = 255, 255
    same, other = identity(red, red, faces), identity(red, blue, faces)
    assert same.value == pytest.approx(1.0)
    assert other.value is not None
    assert other.value < 0
    assert (same.details["num_faces"], same.details["num_matched"], same.details["num_in_place"]) == (5, 5, 5)


@pytest.mark.filterwarnings("ignore::FutureWarning")  # insightface calls scikit-image's older names
def test_detection_alignment_and_embedding_are_insightfaces_own(models: Path) -> None:
    """The same files read by the package itself, where it is installed (`pip install insightface`)."""
    pytest.importorskip("insightface", reason="needs the package insightface")
    from insightface.model_zoo.arcface_onnx import ArcFaceONNX
    from insightface.model_zoo.scrfd import SCRFD
    from insightface.utils import face_align

    faces = InsightFaces(models)
    frame = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    bgr = np.ascontiguousarray(frame[..., ::-1])
    detector = SCRFD(str(models / "det_10g.onnx"))
    detector.prepare(-1, input_size=(640, 640), det_thresh=0.5)
    their_boxes, their_points = detector.detect(bgr)
    boxes, scores, points = faces.detect(frame)
    np.testing.assert_allclose(np.column_stack([boxes, scores]), their_boxes, atol=1e-3)
    np.testing.assert_allclose(points, their_points, atol=1e-3)

    theirs, ours = face_align.norm_crop(bgr, their_points[0]), align(frame, points[0])
    assert np.abs(ours[..., ::-1].astype(int) - theirs).max() <= 1
    expected = ArcFaceONNX(str(models / "w600k_r50.onnx")).get_feat(theirs)[0]
    (found,) = faces.find(frame)
    assert cosine(found, Face(found.box, 1.0, expected / np.linalg.norm(expected))) == pytest.approx(1.0, abs=1e-4)


def test_the_aligned_face_fills_the_template() -> None:
    frame = np.random.default_rng(0).integers(0, 255, (112, 112, 3), dtype=np.uint8)
    np.testing.assert_array_equal(align(frame, TEMPLATE), frame)


def test_a_clip_without_faces_is_absent_with_the_reason() -> None:
    class Blind:
        name = "blind"
        measure = "cosine"

        def find(self, frame: Frames) -> list[Face]:
            return []

    clip = np.zeros((3, 40, 40, 3), np.uint8)
    assert identity(clip, clip, Blind()).reason == "no faces in the render"


def test_five_frames_are_looked_at() -> None:
    assert sampled(81) == [0, 20, 40, 60, 80]
    assert sampled(3) == [0, 1, 2]


def test_a_folder_without_the_models_says_which_files_it_wants(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"det_10g\.onnx.*w600k_r50\.onnx"):
        find_models(tmp_path)
    pytest.importorskip("onnxruntime")
    for name in ("det_10g.onnx", "w600k_r50.onnx"):
        (tmp_path / name).write_bytes(b"no model")
    with pytest.raises(MissingWeightsError, match="expected an ONNX model"):
        InsightFaces(tmp_path)


@pytest.mark.slow
def test_dlib_knows_a_person_in_other_light() -> None:
    pytest.importorskip("dlib")
    data = pytest.importorskip("skimage.data")
    from realmaster.models.faces_dlib import DlibFaces

    picture = np.ascontiguousarray(data.astronaut()[:300, 100:400])
    dimmed = np.clip(picture * np.array([0.7, 0.6, 0.5]), 0, 255).astype(np.uint8)
    figure = identity(picture[None], dimmed[None], DlibFaces())
    assert figure.value is not None
    assert figure.value < 0.6
    assert figure.details["num_in_place"] == figure.details["num_faces"] == 1


def test_the_renders_faces_are_looked_for_once_for_all_methods() -> None:
    from realmaster.evaluation.metrics.metric import Case
    from realmaster.evaluation.metrics.registry import METRICS

    class Counting:
        name = "counting"
        measure = "distance"
        frames: list[int] = []  # noqa: RUF012, counted by the test

        def find(self, frame: Frames) -> list[Face]:
            self.frames.append(int(frame[0, 0, 0]))
            return [face(0, (float(frame[0, 0, 0]), 0))]

    class Tools:
        faces = Counting()

        def lacking(self, tool: str) -> None:
            return None

        def dlib(self) -> Counting:
            return self.faces

    tools, scene = Tools(), {}
    render = np.full((5, 40, 40, 3), 100, np.uint8)
    for level in (103, 107):
        case = Case(np.full_like(render, level), render, scene_memory=scene)
        assert METRICS["identity_dlib"].on(case, tools).value == pytest.approx(level - 100)
    assert Counting.frames.count(100) == 5
