"""Structure by vision transformers, smoothness by interpolators, labels: models of the real layout, known cases."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from safetensors.torch import save_file
from transformers import Dinov2Config, Dinov2Model, ViTConfig, ViTModel

from realmaster.evaluation.interpolation import AmtSettings, FlowInterpolator
from realmaster.evaluation.labels import Labels, boundaries, depth_edges
from realmaster.evaluation.made_cases import cast, flickering, shifted
from realmaster.evaluation.metrics.features import self_similarity_distance
from realmaster.evaluation.metrics.metric import Case
from realmaster.evaluation.metrics.motion_smoothness import motion_smoothness
from realmaster.evaluation.metrics.registry import METRICS
from realmaster.evaluation.tools import Tools, ToolSettings
from realmaster.evaluation.vision import VisionModel

Frames = npt.NDArray[np.uint8]
SMALL = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def backbones(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Tiny random models in the real layouts."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("backbones")
    ViTModel(ViTConfig(**SMALL, intermediate_size=64, image_size=64, patch_size=16)).save_pretrained(folder / "dino")
    Dinov2Model(Dinov2Config(**SMALL, image_size=56, patch_size=14)).save_pretrained(folder / "dinov2")
    return {name: folder / name for name in ("dino", "dinov2")}


@pytest.mark.parametrize("backbone", ["dino", "dinov2"])
def test_features_see_a_shift_and_are_blind_to_nothing(
    backbone: str, backbones: dict[str, Path], make_scene: Callable[..., Frames]
) -> None:
    render = make_scene(num_frames=2)
    tools = Tools(ToolSettings.model_validate({backbone: backbones[backbone], "device": "cpu"}))
    for name in (f"{backbone}_distance", f"{backbone}_self_similarity"):
        same, moved = (METRICS[name].on(Case(output, render), tools).value for output in (render, shifted(render, 12)))
        assert same == pytest.approx(0.0, abs=1e-6)
        assert moved is not None
        assert moved > 1e-6
    assert backbone in tools.identity(backbone)  # type: ignore[arg-type]


def test_a_model_on_the_hub_is_fetched_without_anything_pickled_and_named_by_its_id(
    backbones: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, str | None, list[str]]] = []

    def snapshot_download(name: str, *, revision: str | None, allow_patterns: list[str]) -> str:
        asked.append((name, revision, allow_patterns))
        return str(backbones["dinov2"])

    monkeypatch.setattr("huggingface_hub.snapshot_download", snapshot_download)
    tools = Tools(ToolSettings.model_validate({"dinov2": "hub:facebook/dinov2-base@abc", "device": "cpu"}))
    assert tools.identity("dinov2").startswith("hub:facebook/dinov2-base@abc (")
    ((name, revision, patterns),) = asked
    assert (name, revision) == ("facebook/dinov2-base", "abc")
    assert all(pattern.endswith((".json", ".safetensors")) for pattern in patterns)


@pytest.mark.parametrize("place", ["hub:nobody/nothing", "hub:no/such/name", "hub:"])
def test_a_model_that_the_hub_does_not_give_is_absent_in_one_line(
    place: str, still: Frames, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    tools = Tools(ToolSettings.model_validate({"dino": place}))
    figure = METRICS["dino_distance"].on(Case(still, still), tools)
    assert place in figure.reason
    assert "name a folder" in figure.reason
    assert "\n" not in figure.reason
    assert not figure.is_final


def test_the_features_are_the_models_own_for_a_frame_of_its_size(backbones: dict[str, Path]) -> None:
    """For a square frame, nothing is resized but by the stated rule: the stock model gives the same."""
    frame = np.random.default_rng(0).integers(0, 255, (1, 224, 224, 3), dtype=np.uint8)
    model = ViTModel.from_pretrained(backbones["dino"], add_pooling_layer=False).eval()
    pixels = torch.from_numpy(frame).permute(0, 3, 1, 2) / 255.0 - torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    pixels = pixels / torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    with torch.no_grad():
        expected = model(pixel_values=pixels, interpolate_pos_encoding=True).last_hidden_state[:, 1:]
    found = VisionModel(backbones["dino"]).features(frame)
    torch.testing.assert_close(found.patches, expected)
    assert found.keys.shape == (1, 14 * 14, 32)


def test_self_similarity_ignores_a_turn_of_all_keys(backbones: dict[str, Path], still: Frames) -> None:
    features = VisionModel(backbones["dino"]).features(still[:1])
    turn = torch.linalg.qr(torch.randn(32, 32, generator=torch.Generator().manual_seed(1)))[0]
    turned = features._replace(keys=features.keys @ turn)
    assert self_similarity_distance(features, turned) == pytest.approx(0.0, abs=1e-9)


def test_a_moving_clip_is_smooth_until_it_flickers(make_scene: Callable[..., Frames]) -> None:
    moving = make_scene(num_frames=7, speed=2.0)
    smooth, rough = (motion_smoothness(clip, FlowInterpolator()) for clip in (moving, flickering(moving)))
    assert smooth is not None
    assert rough is not None
    assert smooth > 0.98 > rough
    assert motion_smoothness(moving[:2], FlowInterpolator()) is None


AMT = """
import torch
class Model(torch.nn.Module):
    def __init__(self, corr_radius=3, corr_lvls=4, num_flows=3):
        super().__init__()
        assert (corr_radius, corr_lvls, num_flows) == (3, 4, 3)
        self.weight = torch.nn.Parameter(torch.zeros(1))
    def forward(self, img0, img1, embt, scale_factor=1.0, eval=False):
        assert eval and img0.shape[-1] % 16 == 0 and img0.shape[-2] % 16 == 0 and float(embt) == 0.5
        return {"imgt_pred": self.weight * (img0 + img1)}
"""


def test_amt_is_run_from_the_users_own_code_and_weights(tmp_path: Path, make_scene: Callable[..., Frames]) -> None:
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "AMT-S.py").write_text(AMT)
    save_file({"weight": torch.tensor([0.5])}, tmp_path / "amt-s.safetensors")
    settings = AmtSettings(code=tmp_path, weights=tmp_path / "amt-s.safetensors")
    tools = Tools(ToolSettings(amt=settings, device="cpu"))
    clip = make_scene(num_frames=3, height=70, width=130)
    figure = METRICS["motion_smoothness_amt"].on(Case(clip, clip), tools)
    mean = (clip[0].astype(int) + clip[2]) // 2
    assert figure.value == pytest.approx(1 - np.abs(clip[1].astype(int) - mean).mean() / 255, abs=1 / 255)
    assert "AMT-S" in figure.details["interpolator"]


def test_amt_with_other_weights_or_a_pickle_is_absent_with_the_reason(tmp_path: Path, still: Frames) -> None:
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "AMT-S.py").write_text(AMT)
    save_file({"other": torch.zeros(1)}, tmp_path / "other.safetensors")
    for weights, words in (
        ("other.safetensors", "could not load"),
        ("amt-s.pth", ".safetensors"),
        ("no.safetensors", "found none"),
    ):
        tools = Tools(ToolSettings(amt=AmtSettings(code=tmp_path, weights=tmp_path / weights), device="cpu"))
        figure = METRICS["motion_smoothness_amt"].on(Case(still, still), tools)
        assert figure.value is None
        assert words in figure.reason


def test_amt_that_gives_no_numbers_is_absent(tmp_path: Path, still: Frames) -> None:
    (tmp_path / "networks").mkdir()
    (tmp_path / "networks" / "AMT-S.py").write_text(AMT)
    save_file({"weight": torch.tensor([float("nan")])}, tmp_path / "amt-s.safetensors")
    settings = AmtSettings(code=tmp_path, weights=tmp_path / "amt-s.safetensors")
    figure = METRICS["motion_smoothness_amt"].on(Case(still, still), Tools(ToolSettings(amt=settings, device="cpu")))
    assert figure.value is None
    assert "NaN" in figure.reason


def write_labels(folder: Path, num_frames: int, height: int, width: int, speed: float) -> Path:
    """Labels of boxes before a wall, as `realmaster render --passes` writes them."""
    folder.mkdir()
    for index in range(num_frames):
        segmentation = np.zeros((height, width), np.uint16)
        left = 20 + round(index * speed)
        segmentation[20:50, left : left + 30] = 1
        depth = np.where(segmentation == 1, 3.0, np.inf).astype(np.float32)
        flow = np.zeros((height, width, 2), np.float32)
        flow[..., 0] = speed
        np.savez_compressed(folder / f"{index:04d}.npz", segmentation=segmentation, depth=depth, flow=flow)
    return folder


def boxes(num_frames: int, speed: float) -> Frames:
    rng = np.random.default_rng(5)
    wall = rng.integers(90, 130, (72, 200, 3)).astype(np.uint8)
    wall[20:50, 60:90] = rng.integers(150, 250, (30, 30, 3))
    return np.stack([wall[:, 40 - round(i * speed) : 40 - round(i * speed) + 128] for i in range(num_frames)])


def test_labels_are_found_in_the_render_and_lost_by_a_shift(tmp_path: Path) -> None:
    clip = boxes(4, 2.0)
    labels = Labels(write_labels(tmp_path / "labels", 4, 72, 128, 2.0), (72, 128))
    import cv2

    clip = np.stack([cv2.GaussianBlur(frame, (0, 0), 1.2) for frame in clip])
    good, moved = Case(clip, clip, labels=labels), Case(shifted(clip, 8), clip, labels=labels)
    warm = Case(cast(clip), clip, labels=labels)
    for name in ("label_boundaries", "label_depth_edges"):
        found = METRICS[name].on(good, Tools()).value
        lost = METRICS[name].on(moved, Tools()).value
        kept = METRICS[name].on(warm, Tools()).value
        assert found is not None
        assert lost is not None
        assert kept is not None
        assert found > 0.9
        assert lost < found - 0.2
        assert kept > 0.9
    flow = METRICS["label_flow"].on(good, Tools())
    assert flow.value is not None
    assert flow.value < 0.3
    assert flow.details["of_render"] == flow.value
    still = METRICS["label_flow"].on(Case(np.repeat(clip[:1], 4, axis=0), clip, labels=labels), Tools()).value
    assert still == pytest.approx(2.0, abs=0.1)


def test_labels_follow_the_size_that_is_measured_at(tmp_path: Path) -> None:
    folder = write_labels(tmp_path / "labels", 2, 72, 128, 4.0)
    half = Labels(folder, (36, 64))
    flow, segmentation = half.frame("flow", 0), half.frame("segmentation", 0)
    assert flow is not None
    assert segmentation is not None
    assert flow.shape == (36, 64, 2)
    assert float(flow[0, 0, 0]) == 2.0
    assert set(np.unique(segmentation)) == {0, 1}
    assert half.frame("flow", 7) is None


def test_slanted_floors_have_no_depth_edges_and_the_sky_meets_houses_in_one() -> None:
    floor = np.tile(np.linspace(2, 6, 100, dtype=np.float32)[:, None], (1, 40))
    assert not depth_edges(floor).any()
    floor[:30] = np.inf
    assert depth_edges(floor)[29:31].all()
    assert depth_edges(floor).sum() == 2 * 40
    assert boundaries(np.array([[0, 0, 1]])).tolist() == [[False, True, True]]
