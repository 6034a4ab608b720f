"""The metrics measure what their names say, and say nothing where there is nothing to measure."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from realmaster.errors import MediaError
from realmaster.evaluation.metrics import (
    EdgeAgreement,
    colour_change,
    colour_drift,
    edge_agreement,
    flicker,
    flow_difference,
    gradient_energy,
    psnr,
    sharpness,
    ssim,
)
from realmaster.evaluation.metrics.frames import grey
from realmaster.evaluation.metrics.ssim import ssim_map

Frames = npt.NDArray[np.uint8]


def noisy(frames: Frames, spread: float) -> Frames:
    noise = np.random.default_rng(3).normal(0.0, spread, frames.shape)
    return np.clip(np.rint(frames + noise), 0, 255).astype(np.uint8)


def blurred(frames: Frames, sigma: float) -> Frames:
    return np.stack([cv2.GaussianBlur(frame, (0, 0), sigma) for frame in frames])


def test_psnr_of_a_known_error_is_its_formula(still: Frames) -> None:
    shifted = (still.astype(np.int16) + 5).clip(0, 255).astype(np.uint8)
    assert psnr(still, shifted) == pytest.approx(20 * math.log10(255 / 5), abs=1e-3)
    assert psnr(still, still) == math.inf


def test_psnr_and_ssim_agree_with_scikit_image(still: Frames) -> None:
    theirs = pytest.importorskip("skimage.metrics")
    worse = noisy(blurred(still, 1.0), 6.0)
    a, b = grey(still[0]), grey(worse[0])
    assert psnr(still[:1], worse[:1]) == pytest.approx(
        theirs.peak_signal_noise_ratio(still[0], worse[0], data_range=255), abs=1e-4
    )
    expected, whole = theirs.structural_similarity(
        a, b, data_range=255, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, full=True
    )
    ours = ssim_map(a, b)
    np.testing.assert_allclose(ours[5:-5, 5:-5], whole[5:-5, 5:-5], atol=1e-9)
    assert ours[5:-5, 5:-5].mean() == pytest.approx(expected, abs=1e-9)


def test_ssim_is_one_for_equal_clips_and_falls_with_noise(still: Frames) -> None:
    assert ssim(still, still) == pytest.approx(1.0)
    assert ssim(still, noisy(still, 5)) > ssim(still, noisy(still, 20))


def test_floats_and_bytes_give_the_same_figures(still: Frames) -> None:
    worse = noisy(still, 8)
    assert ssim(still / 255.0, worse / 255.0) == ssim(still, worse)
    assert psnr((still / 255.0).astype(np.float32), (worse / 255.0).astype(np.float32)) == psnr(still, worse)


def test_blur_lowers_sharpness_and_grain_raises_it(still: Frames) -> None:
    assert sharpness(still, still) == 1.0
    assert sharpness(blurred(still, 2.0), still) < 0.6
    assert sharpness(noisy(still, 10), still) > 1.0


def test_gradient_energy_of_a_ramp_is_its_slope_squared() -> None:
    ramp = np.broadcast_to(np.arange(0, 192, 3, dtype=np.uint8)[None, None, :, None], (1, 40, 64, 3)).copy()
    inner = gradient_energy(ramp) * 64 / 62  # the mirrored border has no slope
    assert inner == pytest.approx(9.0, rel=1e-3)


def test_sharpness_beside_a_flat_truth_is_absent(still: Frames) -> None:
    assert sharpness(still, np.full_like(still, 90)) is None


def test_a_change_of_light_keeps_all_edges_and_a_shift_of_nine_pixels_loses_most() -> None:
    still = np.full((2, 72, 128, 3), 100, np.uint8)
    still[:, 20:50, 20:50] = 200
    still[:, 30:60, 80:90] = 40
    darker = np.rint(still * 0.6 + 10).astype(np.uint8)
    assert edge_agreement(still, darker).recall > 0.97
    assert edge_agreement(still, np.roll(still, 2, axis=2)).recall > 0.9
    assert edge_agreement(still, np.roll(still, 9, axis=2)).recall < 0.6


def test_added_edges_cost_precision_and_not_recall(still: Frames) -> None:
    flat = np.full_like(still, 100)
    flat[:, 20:50, 20:50] = 200
    added = flat.copy()
    added[:, 20:50, 80:110] = 200
    agreement = edge_agreement(flat, added)
    assert agreement.recall == pytest.approx(1.0)
    assert agreement.precision < 0.6
    assert agreement.recall > agreement.f1 > agreement.precision


def test_a_flat_clip_has_no_edges_to_find(still: Frames) -> None:
    flat = noisy(np.full_like(still, 100), 1.0)
    assert edge_agreement(flat, still) == EdgeAgreement(recall=None, precision=0.0)
    assert edge_agreement(still, flat).recall == 0.0
    assert edge_agreement(still, flat).f1 is None


def test_flow_difference_is_the_difference_of_speeds(make_scene: Callable[..., Frames]) -> None:
    slow, fast = (make_scene(speed=speed, height=96, width=160) for speed in (1.0, 2.5))
    assert flow_difference(slow, slow) == 0.0
    assert flow_difference(slow, fast) == pytest.approx(1.5, abs=0.25)


def test_flow_is_compared_where_the_reference_has_texture_to_follow(make_scene: Callable[..., Frames]) -> None:
    scene = make_scene(speed=2.0, height=96, width=320)
    walled = scene.copy()
    walled[:, :, 100:] = 128  # a bare wall over two thirds of the frame, on which any flow is a guess
    assert flow_difference(walled, noisy(walled, 2.0)) < 0.5
    assert flow_difference(np.full_like(scene, 128), scene) is None


def test_flicker_ignores_motion_and_sees_pumping_light(moving: Frames) -> None:
    pumping = moving.astype(np.float32)
    pumping[1::2] += 12.0
    measured = flicker(moving, pumping.clip(0, 255).astype(np.uint8))
    assert measured is not None
    assert measured.levels == pytest.approx(12.0, abs=2.0)
    assert measured.reference_levels < 4.0
    assert flicker(moving, moving).ratio == 1.0


def test_flicker_beside_a_still_input_has_levels_and_no_ratio(still: Frames) -> None:
    measured = flicker(still, noisy(still, 4))
    assert measured is not None
    assert measured.ratio is None
    assert measured.levels > 3.0


def test_one_frame_and_tiny_frames_have_neither_flow_nor_flicker(still: Frames) -> None:
    for clip in (still[:1], still[:, :16, :16]):
        assert flow_difference(clip, clip) is None
        assert flicker(clip, clip) is None


def test_colour_change_agrees_with_scikit_image(still: Frames) -> None:
    theirs = pytest.importorskip("skimage.color")
    other = noisy(still[..., ::-1], 10)
    expected = theirs.deltaE_cie76(theirs.rgb2lab(still[0]), theirs.rgb2lab(other[0])).mean()
    assert colour_change(still[:1], other[:1]) == pytest.approx(expected, rel=0.01)  # the two round D65 differently
    assert colour_change(still, still) == 0.0


def test_colour_drift_is_signed_and_per_channel(still: Frames) -> None:
    last = still.astype(np.int16)
    last[..., 0] += 2
    last[..., 2] -= 3
    red, green, blue = colour_drift(still[:2], last.clip(0, 255).astype(np.uint8))
    assert (red, green, blue) == (pytest.approx(2.0), pytest.approx(0.0), pytest.approx(-3.0))


@pytest.mark.parametrize(
    ("frames", "complaint"),
    [
        (np.zeros((3, 8, 8), np.uint8), "expected frames"),
        (np.zeros((0, 8, 8, 3), np.uint8), "at least one"),
        (np.zeros((1, 8, 8, 3), np.int32), "int32"),
        (np.full((1, 8, 8, 3), np.nan, np.float32), "NaN"),
    ],
)
def test_what_is_no_clip_is_refused_with_a_reason(frames: npt.NDArray[np.generic], complaint: str) -> None:
    with pytest.raises(MediaError, match=complaint):
        gradient_energy(frames)


def test_clips_of_different_length_are_refused(still: Frames) -> None:
    with pytest.raises(MediaError, match="one length and size"):
        psnr(still, still[:-1])
