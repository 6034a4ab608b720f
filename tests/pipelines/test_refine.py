"""Refining a window: what is refined and what is not, mirrored, and what a damaged net says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from realmaster.errors import NumericalError
from realmaster.models.refiner import RefinerSizes
from realmaster.pipelines.refine import Refiner
from realmaster.pipelines.sampling import TranslatedWindow
from realmaster.pipelines.translate import Translator


@pytest.fixture(scope="module")
def net() -> Any:
    torch.manual_seed(0)
    net = RefinerSizes(widths=(8, 16)).build().eval()
    with torch.no_grad():
        net.conv_out.weight.normal_(0, 0.05)
    return net


@pytest.fixture
def renders() -> np.ndarray:
    blocks = np.random.default_rng(1).integers(20, 230, (5, 6, 8, 3))
    return np.kron(blocks, np.ones((1, 8, 8, 1))).astype(np.uint8)


def window(frames: np.ndarray) -> TranslatedWindow:
    return TranslatedWindow(frames, frames, torch.zeros(1, 4, 2, 3, 4))


def test_frames_come_out_at_the_renders_size_and_the_renders_are_the_guide(net: Any, renders: np.ndarray) -> None:
    small = renders[:, ::2, ::2] // 2
    whole, later = (Refiner(net).refine(renders, window(small), first=first) for first in (0, 2))
    assert whole.frames.shape == whole.guide.shape == renders.shape
    assert whole.guide is renders
    assert whole.latents is not None
    np.testing.assert_array_equal(whole.frames[2:], later.frames[2:])
    assert np.abs(whole.frames[0].astype(int) - later.frames[0]).mean() > 1  # the second was enlarged only
    assert np.abs(later.frames[0].astype(int) - renders[0] // 2).mean() < 8


def test_with_mirror_a_mirrored_window_comes_out_mirrored(net: Any, renders: np.ndarray) -> None:
    small = renders[:, ::2, ::2] // 2
    plain, both = Refiner(net), Refiner(net, mirror=True)
    turned = renders[:, :, ::-1], window(small[:, :, ::-1])
    difference = both.refine(renders, window(small)).frames.astype(int) - both.refine(*turned).frames[:, :, ::-1]
    assert np.abs(difference).max() <= 1
    assert not np.array_equal(plain.refine(renders, window(small)).frames, plain.refine(*turned).frames[:, :, ::-1])


def test_a_damaged_net_is_an_error(net: Any, renders: np.ndarray) -> None:
    damaged = RefinerSizes(widths=(8, 16)).build().eval()
    with torch.no_grad():
        damaged.conv_out.bias.fill_(float("nan"))
    with pytest.raises(NumericalError, match="finite pixels from the refiner"):
        Refiner(damaged).refine(renders, window(renders))


def test_the_translator_refines_where_its_profile_says_so(translator: Translator, frames: np.ndarray) -> None:
    without = Translator.from_profile("nano", device="cpu", changes={"refiner": None})
    assert without.models.refiner is None
    refined, plain = (t.translate_frames(frames[:5], prompt="overcast").astype(int) for t in (translator, without))
    assert refined.shape == plain.shape
    assert np.abs(refined - plain).mean() > 0.5
    assert np.abs(refined.mean() - plain.mean()) < 12  # the light is the model's
