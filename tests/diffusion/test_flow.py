"""The straight path between clean latents and noise."""

import torch

from realmaster.diffusion.flow import add_noise, guide, predict_clean, shift_sigmas, velocity

CLEAN, NOISE = torch.randn(2, 3, 2, 4, 4), torch.randn(2, 3, 2, 4, 4)


def test_sigma_zero_is_clean_and_sigma_one_is_noise() -> None:
    torch.testing.assert_close(add_noise(CLEAN, NOISE, torch.zeros(2)), CLEAN)
    torch.testing.assert_close(add_noise(CLEAN, NOISE, torch.ones(2)), NOISE)


def test_the_true_velocity_leads_back_to_the_clean_latents() -> None:
    sigmas = torch.tensor([0.3, 0.9])
    noisy = add_noise(CLEAN, NOISE, sigmas)
    torch.testing.assert_close(predict_clean(noisy, velocity(CLEAN, NOISE), sigmas), CLEAN)


def test_each_sample_has_its_own_sigma() -> None:
    noisy = add_noise(CLEAN, NOISE, torch.tensor([0.0, 1.0]))
    torch.testing.assert_close(noisy[0], CLEAN[0])
    torch.testing.assert_close(noisy[1], NOISE[1])


def test_a_shift_keeps_the_ends_and_raises_the_middle() -> None:
    shifted = shift_sigmas(torch.tensor([0.0, 0.5, 1.0]), 3.0)
    torch.testing.assert_close(shifted, torch.tensor([0.0, 0.75, 1.0]))


def test_guidance_one_is_the_prompt_alone_and_two_goes_as_far_again() -> None:
    torch.testing.assert_close(guide(CLEAN, NOISE, 1.0), CLEAN)
    torch.testing.assert_close(guide(CLEAN, NOISE, 2.0), 2 * CLEAN - NOISE)
