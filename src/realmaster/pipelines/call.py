"""How one call samples: the profile's settings, and what the caller asked for instead.

Separate because it needs no model: what contradicts itself is refused before anything is loaded or read.
"""

from __future__ import annotations

from realmaster.errors import ConfigError
from realmaster.models.profiles import Profile, SamplingSettings


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
