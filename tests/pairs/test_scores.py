"""A clip is measured once, and thresholds decide from what was stored."""

from __future__ import annotations

import json
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from pydantic import ValidationError

from realmaster.errors import MediaError, MissingExtraError, MissingWeightsError
from realmaster.models import faces_dlib
from realmaster.models.faces import Face
from realmaster.pairs.scores import SCORES, in_order, plain, score_clip, written
from realmaster.pairs.scoring import Scorer, ScoringSettings
from realmaster.pairs.thresholds import NEEDED, Thresholds, decide, rule_of

Frames = npt.NDArray[np.uint8]
CALM = Thresholds(max_flicker=None)  # faces that change in place flicker too
NO_FACES = ScoringSettings.from_mapping({"identity": {"model": "none"}}, source="test")


def moving(num_frames: int = 6, speed: int = 2) -> Frames:
    """A textured wall with boxes that slides by: [F, 72, 128, 3]."""
    rng = np.random.default_rng(3)
    wall = cv2.GaussianBlur(rng.uniform(0, 255, (72, 200, 3)).astype(np.float32), (0, 0), 2)
    wall = (40 + 150 * (wall - wall.min()) / np.ptp(wall)).astype(np.uint8)
    for x in range(10, 190, 30):
        cv2.rectangle(wall, (x, 20), (x + 12, 50), (230, x, 40), -1)
    return np.stack([wall[:, speed * i : speed * i + 128] for i in range(num_frames)])


def measure(source: Frames, result: Frames, anchors: dict[int, Any] | None = None) -> dict[str, float]:
    return Scorer(NO_FACES).score(source, result, anchors or {})


def elsewhere(frames: Frames) -> Frames:
    """Another scene: a bare wall with a window."""
    out = np.full_like(frames, 90)
    out[:, 2:12, 2:12] = 200
    return out


def boiling(frames: Frames) -> Frames:
    """Every other frame twice as bright."""
    return np.stack([np.clip(frame * (0.5 + i % 2), 0, 255) for i, frame in enumerate(frames)]).astype(np.uint8)


class Painted:
    """Finds the white square of a frame; its embedding is the colour inside."""

    name = "painted"

    def __init__(self, measure: str = "cosine") -> None:
        self.measure = measure

    def find(self, frame: Frames) -> list[Face]:
        rows, columns = np.nonzero((frame == 255).all(axis=-1))
        if not len(rows):
            return []
        top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
        inside = frame[(top + bottom) // 2, (left + right) // 2].astype(np.float32) - 128
        return [Face((float(left), float(top), float(right), float(bottom)), 0.9, inside)]


def with_person(frames: Frames, colour: tuple[int, int, int], where: slice = slice(None)) -> Frames:
    out = frames.copy()
    for frame in out[where]:
        cv2.rectangle(frame, (30, 10), (60, 40), (255, 255, 255), 3)
        cv2.rectangle(frame, (33, 13), (57, 37), colour, -1)
    return out


class Tools:
    num_face_frames, num_frames = 6, 6

    def __init__(self, faces: Painted | None) -> None:
        self.faces = faces


def test_a_clip_that_equals_its_source_has_the_best_scores() -> None:
    clip = moving()
    scores = measure(clip, clip, {0: clip[0], 5: clip[5]})
    best = {"structure": 1, "edges_kept": 1, "flicker": 1, "frozen": 0, "black": 0, "colour_change": 0, "sharpness": 1}
    assert {name: scores[name] for name in best} == pytest.approx(best, abs=1e-6)
    assert scores["anchor_first"] == scores["anchor_worst"] == 99
    assert decide(scores, Thresholds()) == ()
    assert set(scores) <= set(SCORES)
    json.dumps(scores, allow_nan=False)


@pytest.mark.parametrize(
    ("rule", "spoil"),
    [
        ("structure", lambda clip: elsewhere(clip)),
        ("flicker", lambda clip: boiling(clip)),
        ("frozen", lambda clip: np.repeat(clip[:1], len(clip), axis=0)),
        ("black", lambda clip: np.zeros_like(clip)),
        ("anchor", lambda clip: 255 - clip),
    ],
)
def test_each_fault_is_found_by_its_own_rule(rule: str, spoil: Any) -> None:
    clip = moving()
    reasons = decide(measure(clip, spoil(clip), {0: clip[0]}), Thresholds())
    assert rule in [rule_of(reason) for reason in reasons]


def test_frames_that_the_source_repeats_are_no_standstill() -> None:
    """8 frames a second brought to 16: every other step of the source is none."""
    clip = np.repeat(moving(), 2, axis=0)
    scores = measure(clip, clip)
    assert scores["frozen"] == 0
    assert scores["flicker"] == pytest.approx(1)
    assert "frozen" not in measure(clip[:2], clip[:2]), "nothing moves: there is no figure"


def test_a_fade_of_the_source_is_no_fault_of_the_result() -> None:
    source = moving()
    source[3:] = 0
    assert measure(source, source)["black"] == 0


def test_the_worst_face_decides_and_a_lost_one_is_never_kept() -> None:
    source = with_person(moving(), (250, 60, 60))
    turned = with_person(with_person(moving(), (250, 60, 60)), (60, 60, 250), slice(3, 4))
    scores = score_clip(source, turned, {}, Tools(Painted()))
    assert scores["num_faces"] == scores["num_faces_found"] == 6
    assert scores["identity"] < 0.4
    assert [rule_of(reason) for reason in decide(scores, CALM)] == ["identity"]
    assert decide(scores, CALM.model_copy(update={"min_identity": -1})) == ()
    lost = score_clip(source, moving(), {}, Tools(Painted()))
    assert "identity" not in lost
    assert "faces: 0 of 6 found again" in decide(lost, Thresholds(min_identity=None))


def test_some_lost_faces_are_dropped_only_when_asked() -> None:
    source = with_person(moving(), (250, 60, 60))
    half = moving()
    half[:3] = source[:3]
    scores = score_clip(source, half, {}, Tools(Painted()))
    assert decide(scores, CALM) == ()
    assert decide(scores, CALM.model_copy(update={"min_faces_found": 0.8})) == ("faces: 3 of 6 found again",)


def test_a_distance_is_never_called_a_cosine() -> None:
    source = with_person(moving(), (250, 60, 60))
    scores = score_clip(source, with_person(moving(), (60, 60, 250)), {}, Tools(Painted("distance")))
    assert "identity" not in scores
    assert scores["identity_distance"] > 100
    assert "identity" in [rule_of(reason) for reason in decide(scores, Thresholds())]


def test_a_source_without_faces_is_kept_or_dropped_as_asked() -> None:
    scores = score_clip(moving(), moving(), {}, Tools(Painted()))
    assert (scores["num_faces"], "identity" in scores) == (0, False)
    assert decide(scores, Thresholds()) == ()
    assert decide(scores, Thresholds(no_faces="drop")) == ("faces: the source shows none",)
    unmeasured = score_clip(moving(), moving(), {}, Tools(None))
    assert decide(unmeasured, Thresholds(no_faces="drop")) == (), "faces that nobody looked for are not absent"


def test_a_result_without_edges_has_lost_them_all() -> None:
    scores = measure(moving(), np.full_like(moving(), 90))
    assert scores["structure"] == 0
    assert "structure" not in measure(np.full_like(moving(), 90), moving()), "a source without edges has none to keep"


def test_what_does_not_fit_is_refused() -> None:
    clip = moving()
    with pytest.raises(MediaError, match="propagate it again"):
        measure(clip, clip[1:])
    with pytest.raises(MediaError, match="frame 9"):
        measure(clip, clip, {9: clip[0]})


def test_scoring_does_not_start_without_its_face_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """Nothing is ever passed because nobody could look."""
    monkeypatch.setattr(faces_dlib, "find_spec", lambda name: None)
    with pytest.raises(MissingExtraError, match=r"realmaster\[faces\]"):
        Scorer().setup()
    arcface = ScoringSettings.from_mapping({"identity": {"model": "arcface", "weights": tmp_path}}, source="test")
    with pytest.raises(MissingWeightsError, match="det_10g"):
        Scorer(arcface).setup()
    with pytest.raises(ValidationError, match="expected weights"):
        ScoringSettings.model_validate({"identity": {"model": "arcface"}})


def test_every_threshold_asks_for_a_score_that_exists() -> None:
    assert set(NEEDED.values()) <= set(SCORES)
    assert set(NEEDED) | {"no_faces"} == set(Thresholds.model_fields)


def test_scores_are_written_in_one_order_and_with_their_digits() -> None:
    assert list(plain({"zebra": 1, "structure": 0.12345678, "identity": 0.5})) == ["identity", "structure", "zebra"]
    assert plain({"structure": 0.12345678}) == {"structure": 0.123457}
    assert (written("structure", 0.5), written("num_faces", 3.0), written("zebra", 1)) == ("0.500", "3", "1.000")
    assert in_order(["b", "a", "identity"]) == ["identity", "a", "b"]


def test_the_reasons_of_edits_are_counted_by_rule() -> None:
    assert rule_of("keyframe 1: warped by 1.4% of the width, more than 1.2%") == "warped"
    assert rule_of("keyframe 0: over-edited: 80% of the edges lost, more than 65%") == "over-edited"
    assert rule_of("structure: edge F1 0.3 below 0.4; flicker: times the source's 9 above 4") == "structure"
