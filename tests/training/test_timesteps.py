"""Sigmas stay inside their expert's range and follow the distribution that was asked for."""

import pytest
import torch

from realmaster.errors import ConfigError
from realmaster.training.timesteps import (
    SigmaRange,
    TimestepSettings,
    draw_sigmas,
    grid_sigmas,
    loss_weights,
    range_of,
)

HIGH, LOW = range_of("transformer", 0.875), range_of("transformer_2", 0.875)


def draw(settings: TimestepSettings, within: SigmaRange, shift: float = 12.0) -> torch.Tensor:
    return draw_sigmas(20_000, torch.Generator().manual_seed(0), settings, within, shift=shift)


@pytest.mark.parametrize("distribution", ["uniform", "logit_normal", "grid"])
@pytest.mark.parametrize("within", [HIGH, LOW, SigmaRange()])
def test_no_sigma_leaves_its_expert(distribution: str, within: SigmaRange) -> None:
    sigmas = draw(TimestepSettings(distribution=distribution), within)
    assert float(sigmas.min()) >= within.low
    assert float(sigmas.max()) <= within.high
    assert float(sigmas.std()) > 0.01


def test_the_grid_is_the_samplers_own_and_splits_as_the_official_steps_do() -> None:
    assert int((grid_sigmas(40, 12.0) >= 0.875).sum()) == 26
    assert int((grid_sigmas(40, 5.0) >= 0.875).sum()) == 17
    drawn = set(draw(TimestepSettings(distribution="grid"), HIGH).tolist())
    assert drawn == set(grid_sigmas(40, 12.0)[:26].float().tolist())


def test_a_draw_inside_a_range_is_the_whole_distribution_cut_to_it() -> None:
    for settings in (TimestepSettings(), TimestepSettings(distribution="logit_normal", mean=0.3, spread=0.8)):
        whole = draw(settings, SigmaRange())
        cut = whole[whole >= HIGH.low]
        assert abs(float(cut.mean()) - float(draw(settings, HIGH).mean())) < 0.002


def test_the_shift_of_the_settings_comes_before_the_profiles() -> None:
    assert float(draw(TimestepSettings(shift=1.0), SigmaRange()).mean()) == pytest.approx(0.5, abs=0.01)
    assert float(draw(TimestepSettings(), SigmaRange()).mean()) > 0.75


def test_a_share_starts_at_pure_noise() -> None:
    sigmas = draw(TimestepSettings(pure_noise=0.4), SigmaRange())
    assert float((sigmas == 1).float().mean()) == pytest.approx(0.4, abs=0.02)


def test_a_grid_without_a_step_in_the_range_is_refused() -> None:
    with pytest.raises(ConfigError, match="raise num_grid_steps"):
        draw(TimestepSettings(distribution="grid", num_grid_steps=1), LOW)


@pytest.mark.parametrize("weighting", ["none", "bell", "cosmap"])
def test_weights_average_to_one(weighting: str) -> None:
    sigmas = torch.linspace(0, 1, 100_001)
    weights = loss_weights(sigmas, TimestepSettings(weighting=weighting))
    assert float(weights.mean()) == pytest.approx(1.0, abs=1e-3)
    assert float(weights[50_000]) >= float(weights[0])
