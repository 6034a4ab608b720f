"""Every metric says what it is, measures the made cases the right way, and says why where it cannot."""

from __future__ import annotations

import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import ConfigError
from realmaster.evaluation.made_cases import blurred, cast, flickering, shifted, sped
from realmaster.evaluation.metrics import exposure_error, flicker, gradient_agreement, warping_error
from realmaster.evaluation.metrics.metric import Case
from realmaster.evaluation.metrics.registry import METRICS, find_metrics
from realmaster.evaluation.metrics.static import is_static
from realmaster.evaluation.tools import Tools, ToolSettings

Frames = npt.NDArray[np.uint8]
NOTHING = Tools(ToolSettings(dlib=False))


def value(name: str, output: Frames, render: Frames) -> float:
    figure = METRICS[name].on(Case(output, render, truth=render), NOTHING)
    assert figure.value is not None, figure.reason
    return figure.value


def test_every_metric_says_what_it_is() -> None:
    for name, metric in METRICS.items():
        assert name == metric.name
        assert name.isidentifier()
        assert metric.title
        assert metric.source
        assert metric.low is None or metric.high is None or metric.low < metric.high
    assert len({metric.title for metric in METRICS.values()}) == len(METRICS)


def test_a_misspelt_metric_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigError, match="did you mean warping_error"):
        find_metrics(["warping_eror"])
    assert [metric.name for metric in find_metrics(["ssim", "edge_f1"])] == ["edge_f1", "ssim"]


def test_what_is_measured_lies_in_the_stated_range(make_scene: Callable[..., Frames]) -> None:
    render = make_scene(speed=2.0)
    for spoil in (blurred, shifted, flickering, cast, sped):
        case = Case(spoil(render), render, truth=render)
        for metric in METRICS.values():
            figure = metric.on(case, NOTHING)
            if figure.value is None:
                assert figure.reason, metric.name
            else:
                assert metric.low is None or figure.value >= metric.low - 1e-9, metric.name
                assert metric.high is None or figure.value <= metric.high + 1e-9, metric.name


@pytest.mark.parametrize(
    ("name", "spoil"),
    [
        ("psnr", blurred),
        ("ssim", blurred),
        ("gradient_similarity", blurred),
        ("edge_f1", shifted),
        ("edge_recall", shifted),
        ("gradient_agreement", shifted),
        ("flow_difference", sped),
        ("warping_error", flickering),
        ("flicker", flickering),
        ("temporal_flickering", flickering),
        ("motion_smoothness_flow", flickering),
        ("exposure_error_red", cast),
        ("exposure_error_blue", cast),
    ],
)
def test_a_spoilt_clip_is_worse(
    name: str, spoil: Callable[[Frames], Frames], make_scene: Callable[..., Frames]
) -> None:
    render = make_scene(speed=2.0)
    slightly = np.clip(render.astype(np.int16) + 1, 0, 255).astype(np.uint8)
    assert METRICS[name].is_better(value(name, slightly, render), value(name, spoil(render), render))


def test_a_colour_cast_leaves_the_structure_alone(make_scene: Callable[..., Frames]) -> None:
    render = make_scene(speed=1.0)
    assert value("edge_f1", cast(render), render) > 0.9
    assert value("gradient_agreement", cast(render), render) > 0.9
    assert value("flow_difference", cast(render), render) < 0.1
    assert value("colour_change", cast(render), render) > 5


def test_exposure_error_of_twice_the_light_is_one_stop() -> None:
    linear = np.linspace(0.05, 0.45, 64 * 64).reshape(1, 64, 64, 1).repeat(3, axis=3)

    def shown(light: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        return np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)

    twice = linear * np.array([2.0, 1.0, 0.5])
    np.testing.assert_allclose(exposure_error(shown(linear), shown(twice)), [1.0, 0.0, 1.0], atol=0.01)


def test_gradients_of_inverted_light_agree_and_turned_ones_do_not() -> None:
    across = np.broadcast_to(np.arange(0, 192, 3, dtype=np.uint8)[None, None, :, None], (1, 64, 64, 3)).copy()
    assert gradient_agreement(across, 255 - across) == pytest.approx(1.0)
    assert gradient_agreement(across, across.transpose(0, 2, 1, 3)) == pytest.approx(0.0, abs=0.02)
    assert gradient_agreement(across, np.zeros_like(across)) is None


def test_the_warping_error_of_a_step_of_light_is_its_square(still: Frames) -> None:
    clip = np.clip(still, 0, 200)
    brighter = clip.copy()
    brighter[1::2] += 51  # a fifth of the range, in each of three channels
    assert warping_error(clip, brighter) == pytest.approx(3 * 0.2**2, rel=0.01)


def test_what_is_found_once_for_all_methods_gives_the_plain_figures(make_scene: Callable[..., Frames]) -> None:
    render, scene = make_scene(speed=1.5), {}
    for output in (blurred(render), flickering(render)):
        case = Case(output, render, scene_memory=scene)
        plain = flicker(render, output)
        assert plain is not None
        assert METRICS["flicker"].on(case, NOTHING).value == pytest.approx(plain.ratio)
        expected = warping_error(render, output)
        assert expected is not None
        assert METRICS["warping_error"].on(case, NOTHING).value == pytest.approx(1000 * expected)
    assert set(scene) == {"steps", "flicker"}


def test_pixels_that_come_from_behind_something_do_not_count(make_scene: Callable[..., Frames]) -> None:
    """A box moves over a still wall: what it uncovers is no error."""
    wall = make_scene(num_frames=4, height=96, width=160)
    moving = wall.copy()
    for index in range(4):
        moving[index, 30:70, 30 + 8 * index : 70 + 8 * index] = (250, 20, 20)
    everything = np.mean(
        [np.mean(np.sum(((moving[i + 1].astype(float) - moving[i]) / 255) ** 2, axis=-1)) for i in range(3)]
    )
    measured = warping_error(moving, moving)
    assert measured is not None
    assert measured < 0.05 * everything


def test_static_figures_are_given_for_renders_that_stand_still_only(make_scene: Callable[..., Frames]) -> None:
    still, moving = make_scene(num_frames=8), make_scene(num_frames=8, speed=6.0)
    assert is_static(still)
    assert not is_static(moving)
    for name in ("temporal_flickering_static", "motion_smoothness_flow_static"):
        assert METRICS[name].on(Case(flickering(still), still), NOTHING).value is not None
        assert "moves" in METRICS[name].on(Case(still, moving), NOTHING).reason


def test_what_is_missing_is_said_with_its_remedy(still: Frames, tmp_path: Path) -> None:
    case = Case(still, still)
    asked = {
        "psnr": "ground truth",
        "label_flow": "realmaster render --passes",
        "identity_arcface": "tools.faces",
        "identity_dlib": "tools.dlib",
        "dino_distance": "tools.dino",
        "dinov2_self_similarity": "tools.dinov2",
        "motion_smoothness_amt": "AMT",
        "realism_alone": "tools.judge",
    }
    for name, words in asked.items():
        figure = METRICS[name].on(case, NOTHING)
        assert figure.value is None
        assert words in figure.reason
    broken = Tools(ToolSettings(faces=tmp_path, dino=tmp_path))
    wanted = "det_10g.onnx" if find_spec("onnxruntime") else "pip install 'realmaster[faces]'"
    assert wanted in METRICS["identity_arcface"].on(case, broken).reason
    assert "config.json" in METRICS["dino_distance"].on(case, broken).reason
    assert not METRICS["dino_distance"].on(case, broken).is_final


def test_one_frame_has_structure_and_no_motion(still: Frames) -> None:
    case = Case(still[:1], still[:1])
    assert METRICS["edge_f1"].on(case, NOTHING).value == pytest.approx(1.0)
    assert METRICS["flicker"].on(case, NOTHING).reason == "one frame has no motion"


def test_the_page_about_evaluation_names_every_metric_with_its_definition(checkout: Path) -> None:
    page = (checkout / "docs" / "evaluation.md").read_text("utf-8")
    for name, metric in METRICS.items():
        assert f"`{name}`" in page
        assert metric.source.partition(";")[0].replace("|", "∣") in page, name


def test_the_picture_of_the_made_cases_is_drawn_from_figures(
    load_benchmark: Callable[[str], Any],
    tmp_path: Path,
    save: Callable[..., Path],
    make_scene: Callable[..., Frames],
) -> None:
    module = load_benchmark("metric_cases")
    clip, picture = save("clip.mkv", make_scene(num_frames=3, speed=1.0)), tmp_path / "cases.svg"
    kept = module.main(["--clip", str(clip), "--picture", str(picture), "--output", str(tmp_path / "results")])
    figures = json.loads(kept.read_text("utf-8"))["figures"]
    assert figures["temporal_flickering"]["flicker"] < figures["temporal_flickering"]["grain"]
    ElementTree.fromstring(picture.read_text("utf-8"))
