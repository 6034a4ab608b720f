"""The refiner's net: what it says before it has learnt anything, any size, and files that are none of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from realmaster.errors import ConfigError, MissingWeightsError
from realmaster.models.loading import load_parts
from realmaster.models.plan import plan_translation
from realmaster.models.profiles import load_profile
from realmaster.models.refiner import RefinerSizes, load_refiner, refine
from realmaster.types import VideoShape

SIZES = RefinerSizes(widths=(8, 16), num_layers=1)
NANO = load_profile("nano").folder


@pytest.mark.parametrize("size", [(32, 48), (30, 45), (5, 9)])
def test_untrained_it_gives_the_picture_back_with_half_of_the_finest_detail(size: tuple[int, int]) -> None:
    generator = torch.Generator().manual_seed(0)
    picture, render = (torch.rand(2, 3, *size, generator=generator) for _ in range(2))
    flat = torch.full_like(render, 0.3)
    with torch.no_grad():
        net = SIZES.build().eval()
        torch.testing.assert_close(refine(net, flat, picture), picture, atol=1e-5, rtol=0)
        change = refine(net, render, picture) - picture
    inside = change[:, :, 1:-1, 1:-1]
    means = torch.nn.functional.avg_pool2d(render, 3, 1)
    torch.testing.assert_close(inside, 0.5 * (render[:, :, 1:-1, 1:-1] - means), atol=1e-5, rtol=0)


def test_trained_it_hears_both_the_render_and_the_picture() -> None:
    net = load_refiner(NANO / "refiner")
    grey, light = torch.zeros(1, 3, 48, 64), torch.full((1, 3, 48, 64), 0.4)
    with torch.no_grad():
        assert refine(net, grey, light).mean() - refine(net, grey, grey).mean() > 0.2
        edge = grey.clone()
        edge[..., 32:] = 0.5
        drawn = refine(net, edge, light).mean(dim=(0, 1, 2))
    assert drawn[32:36].mean() - drawn[28:32].mean() > 0.1  # the edge that only the render has


def test_trained_it_gives_grey_things_no_tint() -> None:
    net = load_refiner(NANO / "refiner")
    small = torch.randint(20, 236, (2, 1, 9, 16), generator=torch.Generator().manual_seed(1)) / 127.5 - 1
    render = small.repeat(1, 3, 1, 1).repeat_interleave(16, dim=2).repeat_interleave(16, dim=3)
    with torch.no_grad():
        drawn = 127.5 * refine(net, render, 0.8 * render)
    tint = drawn - drawn.mean(dim=1, keepdim=True)
    for part in (render[:, 0] > 0.3, render[:, 0] < -0.3):
        for colour in range(3):
            assert abs(float(tint[:, colour][part].mean())) < 1  # of 255 levels


def test_widths_that_norms_cannot_group_are_refused() -> None:
    with pytest.raises(ConfigError, match="widths that 8 divides"):
        RefinerSizes.from_mapping({"widths": (12, 20)}, source="test")


def test_a_net_of_another_kind_is_refused(tmp_path: Path) -> None:
    SIZES.build().save_pretrained(tmp_path / "refiner")
    load_refiner(tmp_path / "refiner")
    config = tmp_path / "refiner/config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"in_channels": 3}))
    with pytest.raises((ValueError, RuntimeError)):
        load_refiner(tmp_path / "refiner")
    from diffusers import UNet2DModel

    UNet2DModel(
        in_channels=3, out_channels=3, block_out_channels=(8, 8), norm_num_groups=8,
        down_block_types=("DownBlock2D",) * 2, up_block_types=("UpBlock2D",) * 2,
    ).save_pretrained(tmp_path / "other")  # fmt: skip
    with pytest.raises(ValueError, match=r"expected a refiner of \(96, 48\) channels, other has \(3, 3\)"):
        load_refiner(tmp_path / "other")


def test_a_checkpoint_without_its_refiner_is_refused(tmp_path: Path) -> None:
    for part in NANO.iterdir():
        if part.name != "refiner":
            (tmp_path / part.name).symlink_to(part)
    assert load_parts(tmp_path).refiner is None
    with pytest.raises(MissingWeightsError, match="expected the weights of refiner in"):
        load_parts(tmp_path, refiner="refiner")


def test_a_plan_counts_it_and_leaves_out_the_guide_that_is_no_longer_decoded() -> None:
    clip = VideoShape(81, 480, 832)
    with_it, without = (
        plan_translation(
            load_profile("nano", changes=changes), clip, device="cpu", available_gb=8, flops_per_second=1e11
        )
        for changes in ({}, {"refiner": None})
    )
    assert "refine" not in without.seconds | without.pflops | without.stages_gb
    assert with_it.seconds["refine"] > 0
    assert with_it.pflops["refine"] > 0
    assert with_it.stages_gb["refine"] > 0.7
    assert with_it.pflops["decode"] == pytest.approx(without.pflops["decode"] / 2)
