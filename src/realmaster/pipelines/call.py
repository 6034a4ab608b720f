"""How one call samples: the profile's settings, and what the caller asked for instead.

Separate because it needs no model: what contradicts itself is refused before anything is loaded or read.
"""

from __future__ import annotations

from numbers import Integral, Real

import numpy as np
import numpy.typing as npt

from realmaster.errors import ConfigError
from realmaster.models.profiles import Profile, SamplingSettings

MAX_PROMPT_CHARACTERS = 2000  # text encoders read 512 tokens at most; more would be cut silently
MAX_SEED = 2**63 - 1


def check_prompt(name: str, text: str) -> None:
    """Refuse a prompt that is no text or too long, by the name that the caller knows it by.

    Raises:
        ConfigError: with its length.
    """
    if not isinstance(text, str):
        raise ConfigError(f"expected {name} as text, got {text!r}: write '' for none")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise ConfigError(f"expected {name} of at most {MAX_PROMPT_CHARACTERS} characters, got {len(text)}: shorten it")


def check_call(*, prompt: str, negative_prompt: str | None, seed: int, strength: float) -> None:
    """Refuse what a call asks for out of bounds.

    Raises:
        ConfigError: with the value.
    """
    check_prompt("prompt", prompt)
    if negative_prompt is not None:
        check_prompt("negative_prompt", negative_prompt)
    if not isinstance(seed, Integral) or not 0 <= seed <= MAX_SEED:
        raise ConfigError(f"expected a seed as a whole number from 0 to 2^63 - 1, got {seed!r}: give another")
    if not isinstance(strength, Real) or not 0 <= strength <= 1:
        raise ConfigError(f"expected a strength from 0 to 1, got {strength!r}: 0 keeps the render, 1 translates fully")


def check_frames(frames: npt.NDArray[np.uint8]) -> None:
    """Refuse frames that are no uint8 [F, H, W, 3].

    Raises:
        ConfigError: with their kind and shape.
    """
    shape, kind = getattr(frames, "shape", None), getattr(frames, "dtype", type(frames).__name__)
    if shape is None or kind != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise ConfigError(
            f"expected at least one frame as uint8 [F, H, W, 3], got {kind} {list(shape or ())}: convert them"
        )


def warnings_of_call(sampling: SamplingSettings, negative_prompt: str | None) -> tuple[str, ...]:
    """Name the settings of a call that have no effect."""
    if negative_prompt and sampling.guidance_scale == 1 and sampling.guidance_scale_2 in (None, 1):
        return ("the negative prompt has no effect at guidance scale 1: add --guidance-scale 3, say",)
    return ()


def sampling_of_call(
    profile: Profile,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    guidance_scale_2: float | None,
    negative_prompt: str | None,
) -> SamplingSettings:
    """Give the settings of a call; None takes the profile's. One guidance scale is meant for both experts.

    Raises:
        ConfigError: a value is out of bounds, or a scale is given that nothing would use.
    """
    asked = {
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "guidance_scale_2": guidance_scale_2,
        "negative_prompt": negative_prompt,
    }
    base = profile.effective_sampling
    if guidance_scale_2 is not None and base.boundary is None:
        raise ConfigError(
            f"expected one guidance scale for {profile.name}, which has one transformer, got a second: leave it out"
        )
    guided = any(scale not in (None, 1) for scale in (guidance_scale, guidance_scale_2))
    if profile.few_step.enabled and guided:
        raise ConfigError(
            "expected few-step sampling without guidance, as it was distilled, got a guidance scale: leave it out"
        )
    values = base.model_dump() | {name: value for name, value in asked.items() if value is not None}
    if guidance_scale is not None and guidance_scale_2 is None:
        values["guidance_scale_2"] = None
    return SamplingSettings.from_mapping(values, source="the settings of this call")
