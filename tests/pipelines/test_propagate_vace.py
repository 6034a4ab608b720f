"""Propagation is diffusers' `WanVACEPipeline`, called as the released weights want it, and chained over long clips."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import UniPCMultistepScheduler, WanVACEPipeline
from diffusers.pipelines.wan import pipeline_wan_vace
from PIL import Image

from realmaster.errors import ConfigError, MissingWeightsError, NumericalError
from realmaster.models.loading import load_parts
from realmaster.models.profiles import load_profile
from realmaster.models.vace import condition_channels, grow_vace
from realmaster.pipelines.control import make_control
from realmaster.pipelines.propagate import Propagator, choose_anchors
from realmaster.pipelines.propagate_vace import VacePropagator, cut_chain
from realmaster.pipelines.vace import arrange_conditions, encode_conditions, mask_conditions
from sample_clips import scene
from vace_layout import write_vace
from wan_layout import write_wan21

PROMPT = " heavy rain  at night, wet ground &amp; fog"  # cleaned by both alike
SMALL = {
    "size.height": 32, "size.width": 48, "size.buckets": [], "propagation.num_frames": 9,
    "propagation.sampling.num_inference_steps": 3, "propagation.memory.dtype": "float32",
}  # fmt: skip
SIZES = {"wan2.1-1.3b": (0, 2), "wan2.2-a14b": (0, 1, 2)}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("checkpoints")
    return {name: write_vace(folder / name / "vace", vace_layers=layers) for name, layers in SIZES.items()}


@pytest.fixture(scope="module")
def tiny(folders: dict[str, Path]) -> VacePropagator:
    return VacePropagator.from_profile("wan2.1-1.3b", device="cpu", model_dir=folders["wan2.1-1.3b"], changes=SMALL)


@pytest.mark.parametrize("name", SIZES)
def test_latents_and_pixels_equal_those_of_the_stock_pipeline_called_by_hand(
    folders: dict[str, Path], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    mends_nothing = SimpleNamespace(fix_text=lambda text: text)  # a package that stock Wan pipelines may clean with
    monkeypatch.setattr(pipeline_wan_vace, "ftfy", mends_nothing, raising=False)
    ours = VacePropagator.from_profile(name, device="cpu", model_dir=folders[name], changes=SMALL)
    sampling = ours.profile.sampling
    frames, control = scene(9, 48, 32), make_control(scene(9, 48, 32), "canny")
    anchors = {0: 255 - frames[0], 8: 255 - frames[8]}

    stock = WanVACEPipeline.from_pretrained(folders[name], dtype=torch.float32)
    stock.vae = ours.models.autoencoder  # the same convolutions; ours run as 2-D ones on a CPU
    stock.scheduler = UniPCMultistepScheduler(
        prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=sampling.shift
    )
    stock.set_progress_bar_config(disable=True)
    video = [Image.fromarray(picture) for picture in [anchors[0], *control[1:8], anchors[8]]]
    black, white = (Image.new("RGB", (48, 32), colour) for colour in ("black", "white"))
    call = {
        "prompt": PROMPT, "negative_prompt": sampling.negative_prompt, "video": video,
        "mask": [black, *[white] * 7, black], "height": 32, "width": 48, "num_frames": 9,
        "num_inference_steps": 3, "guidance_scale": 5.0,
    }  # fmt: skip
    for kind in ("latent", "np"):
        expected = stock(**call, generator=torch.Generator("cpu").manual_seed(7), output_type=kind).frames
        found = ours.call(frames.shape, anchors, control, prompt=PROMPT, seed=7, output_type=kind)
        assert np.array_equal(np.asarray(expected), np.asarray(found)), kind
    pixels = ours.propagate(frames, anchors, control, prompt=PROMPT, seed=7)
    assert np.array_equal(pixels, np.rint(np.asarray(expected)[0] * 255).astype(np.uint8))


def test_single_anchors_reach_the_model_through_the_kept_latents_alone(tiny: VacePropagator) -> None:
    frames = scene(9, 48, 32)
    anchors = {0: frames[0], 8: frames[8]}
    with_both, without = (
        encode_conditions(tiny.pipeline, arrange_conditions(frames.shape, a, None), mask_conditions(frames.shape, a))
        for a in (anchors, {})
    )
    assert with_both.shape == (1, 96, 3, 4, 6)
    assert (with_both[:, 32:] == 1).all(), "shrunk in time, the mask never meets a single frame"
    assert not torch.equal(with_both[:, :16, 0], without[:, :16, 0])
    assert not torch.equal(with_both[:, :16, 2], without[:, :16, 2])


def test_what_is_neither_anchor_nor_control_is_grey_and_the_mask_is_black_at_anchors() -> None:
    anchor = np.full((4, 6, 3), 200, np.uint8)
    frames, mask = arrange_conditions((5, 4, 6, 3), {2: anchor}, None), mask_conditions((5, 4, 6, 3), {2: anchor})
    assert [int(frame[0, 0, 0]) for frame in frames] == [128, 128, 200, 128, 128]
    assert [int(frame[0, 0, 0]) for frame in mask] == [255, 255, 0, 255, 255]


@pytest.mark.parametrize("num_frames", [1, 2, 12, 13, 14, 25, 26, 81, 200])
def test_windows_of_a_chain_touch_and_end_with_the_clip(num_frames: int) -> None:
    windows = list(cut_chain(num_frames, 13, time_stride=4))
    assert windows[0].start == 0
    assert all(len(window) % 4 == 1 for window in windows)
    assert all(after.start <= before.stop - 1 for before, after in pairwise(windows))
    assert windows[-1].stop == num_frames if num_frames >= 13 else windows[-1].stop in range(num_frames, num_frames + 4)
    assert len(windows) == max(1, -(-(num_frames - 1) // 12))


class Recorder(VacePropagator):
    """Notes what each window is given, and makes frames that say which window made them."""

    def make_window(
        self, shape: tuple[int, ...], anchors: Mapping[int, Any], control: Any, *, prompt: str, seed: int
    ) -> Any:
        self.calls = [*getattr(self, "calls", []), (shape, dict(anchors), control)]
        return np.full(shape, 10 * len(self.calls), np.uint8)


def test_a_long_clip_is_chained_from_what_is_decided(tiny: VacePropagator) -> None:
    recorder = Recorder(tiny.profile, tiny.models)
    frames = scene(21, 48, 32)
    control = make_control(frames, "grey")
    made = recorder.propagate(frames, {0: frames[0], 20: frames[20]}, control, prompt="", seed=0)
    assert [int(value) for value in made[:, 0, 0, 0]] == [10] * 9 + [20] * 8 + [30] * 4
    first, second, third = recorder.calls
    assert list(first[1]) == [0]
    assert list(second[1]) == [0]
    assert second[1][0].max() == 10, "the frame before, not the render's"
    assert sorted(third[1]) == [0, 1, 2, 3, 4, 8]
    assert np.array_equal(third[1][8], frames[20])
    assert np.array_equal(third[2], control[12:21])


def test_a_clip_of_any_length_keeps_it_and_its_last_anchor(tiny: VacePropagator) -> None:
    recorder = Recorder(tiny.profile, tiny.models)
    frames = scene(7, 48, 32)
    made = recorder.propagate(frames, {0: frames[0], 6: frames[6]}, None, prompt="", seed=0)
    ((shape, anchors, control),) = recorder.calls
    assert made.shape == frames.shape
    assert shape[0] == 9
    assert control is None
    assert sorted(anchors) == [0, 6, 7, 8]


def test_the_same_seed_gives_the_same_frames_and_another_others(tiny: VacePropagator) -> None:
    frames = scene(5, 60, 40)
    first, again = (tiny.propagate(frames, {0: frames[0]}, None, prompt=PROMPT, seed=3) for _ in range(2))
    assert first.shape == frames.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, tiny.propagate(frames, {0: frames[0]}, None, prompt=PROMPT, seed=4))


def test_a_propagator_says_its_weights_and_settings(tiny: VacePropagator) -> None:
    assert isinstance(tiny, Propagator)
    said = tiny.describe()
    assert said["weights"]["revision"] == load_profile("wan2.1-1.3b/vace").checkpoint.revision
    assert said["sampling"]["num_inference_steps"] == 3


@pytest.mark.parametrize(
    ("anchors", "control", "reason"),
    [
        ({9: (32, 48)}, None, "9 frames, got one at 9"),
        ({0: (16, 48)}, None, r"\[32, 48, 3\].* got \[16, 48, 3\]"),
        ({}, 8, "control of 9 frames"),
    ],
)
def test_what_is_not_of_this_clip_is_refused(
    tiny: VacePropagator, anchors: dict[int, tuple[int, int]], control: int | None, reason: str
) -> None:
    pictures = {index: np.zeros((*size, 3), np.uint8) for index, size in anchors.items()}
    drawn = None if control is None else scene(control, 48, 32)
    with pytest.raises(ConfigError, match=reason):
        tiny.propagate(scene(9, 48, 32), pictures, drawn, prompt="", seed=0)


def test_missing_weights_and_a_checkpoint_without_a_control_branch_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match=r"models download wan2\.1-1\.3b/vace"):
        VacePropagator.from_profile("wan2.1-1.3b", device="cpu", model_dir=tmp_path)
    with pytest.raises(ConfigError, match="control branch"):
        VacePropagator.from_profile("wan2.1-1.3b", device="cpu", model_dir=write_wan21(tmp_path / "t2v"), changes=SMALL)


def test_a_model_that_breaks_is_named(tiny: VacePropagator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tiny, "call", lambda shape, *rest, **more: np.full((1, *shape), np.nan, np.float32))
    with pytest.raises(NumericalError, match="NaN"):
        tiny.propagate(scene(5, 48, 32), {}, None, prompt="", seed=0)


def test_strategies_choose_their_anchors() -> None:
    assert choose_anchors(81, "first_last") == (0, 80)
    assert choose_anchors(1, "first_last") == (0,)
    assert choose_anchors(81, "first") == (0,)
    assert choose_anchors(81, "none") == ()
    assert choose_anchors(13, "every", every=5) == (0, 5, 10, 12)
    with pytest.raises(ConfigError, match="at least 1"):
        choose_anchors(13, "every")
    with pytest.raises(ConfigError, match="first_last, first, none, every"):
        choose_anchors(13, "last")  # type: ignore[arg-type] # what a config could say


def test_anchors_and_control_both_reach_the_result(tiny: VacePropagator) -> None:
    frames = scene(9, 48, 32)
    control = make_control(frames, "canny")
    plain = tiny.propagate(frames, {}, None, prompt="", seed=0)
    anchored = tiny.propagate(frames, {8: frames[8]}, None, prompt="", seed=0)
    led = tiny.propagate(frames, {8: frames[8]}, control, prompt="", seed=0)
    assert not np.array_equal(plain, anchored)
    assert not np.array_equal(anchored, led)


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> VacePropagator:
    """Nano's base with a control branch that has learnt nothing: its strides are what matters here."""
    folder = tmp_path_factory.mktemp("nano")
    shipped = load_profile("nano").folder
    for part in ("vae", "text_encoder", "tokenizer"):
        (folder / part).symlink_to(shipped / part)
    models = load_parts(shipped)
    channels = condition_channels(models.autoencoder)
    grow_vace(models.transformer, (0, 2), channels).save_pretrained(folder / "transformer_vace")
    return VacePropagator.from_profile("nano", device="cpu", model_dir=folder)


def test_an_autoencoder_that_folds_patches_is_counted_by_its_own_strides(grown: VacePropagator) -> None:
    size = grown.control_size(144, 256)
    assert size == (72, 128)
    conditions = encode_conditions(
        grown.pipeline, arrange_conditions((5, *size, 3), {}, None), mask_conditions((5, *size, 3), {})
    )
    channels = condition_channels(grown.models.autoencoder)
    assert conditions.shape == (1, channels, 2, 9, 16)
    assert channels == 2 * grown.models.autoencoder.config.z_dim + 64


def test_nano_carries_the_change_to_the_pixels_of_the_source(grown: VacePropagator) -> None:
    frames = scene(6, 200, 112)
    assert grown.profile.transfer.channels == "colour"
    first, again = (grown.propagate(frames, {0: 255 - frames[0]}, None, prompt="", seed=0) for _ in range(2))
    assert first.shape == frames.shape
    assert np.array_equal(first, again)
    assert not np.array_equal(first, frames)


def test_blocks_that_the_base_lacks_are_refused() -> None:
    base = load_parts(load_profile("nano").folder).transformer
    with pytest.raises(ConfigError, match="choose others"):
        grow_vace(base, (0, base.config.num_layers), 128)
    with pytest.raises(ConfigError, match="with 0 among them"):
        grow_vace(base, (1, 2), 128)
