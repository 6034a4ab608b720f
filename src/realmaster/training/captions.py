"""Captions as people write them: the pairs' own, the weather alone, and other words for both.

Separate because the pair set has eleven captions, and a text encoder trained on eleven sentences hears nothing else.
"""

from __future__ import annotations

import numpy as np

WEATHER = {
    "sunny day, clear sky": (
        "sunny day, clear sky", "bright sunshine and hard shadows", "clear weather, blue sky", "a sunny day",
        "sunlight",
    ),
    "overcast day, soft light": (
        "overcast day, soft light", "overcast day", "a cloudy grey sky, flat light", "cloudy weather, no shadows",
        "dull overcast light",
    ),
    "heavy rain, wet ground with reflections": (
        "heavy rain, wet ground with reflections", "heavy rain", "rainy day, puddles and wet asphalt",
        "it is raining, the ground is wet and reflective", "rain, wet road reflections",
    ),
    "night, street lamps and lit windows": (
        "night, street lamps and lit windows", "at night", "night time, dark sky, lamps",
        "a dark night with street lights",
    ),
    "lamps at night": ("lamps at night", "at night, lit by lamps", "a dark evening indoors"),
    "soft window light": ("soft window light", "overcast daylight from the window", "soft light indoors"),
    "sunlight through the window": ("sunlight through the window", "sun shining into the room", "sunny interior"),
}  # fmt: skip
PLACE = {
    "a city street with parked cars and people walking": (
        "a city street with parked cars and people walking", "a city street", "people on a street with cars",
        "a road between houses", "film footage of a street",
    ),
    "a paved courtyard with trees, benches and people": (
        "a paved courtyard with trees, benches and people", "a courtyard", "a paved square with trees",
        "people outdoors",
    ),
    "a furnished room with people": (
        "a furnished room with people", "a living room", "an indoor scene", "people in a room",
    ),
}  # fmt: skip


def vary_caption(caption: str, generator: np.random.Generator) -> str:
    """Say a caption in other words: half of the time as it is, else place and weather reworded, or weather alone."""
    if generator.random() < 0.5:
        return caption
    place, _, weather = caption.partition(", ")
    for known in PLACE:
        if caption.startswith(known):
            place, weather = known, caption[len(known) :].lstrip(", ")
    weathers, places = WEATHER.get(weather, (weather,)), PLACE.get(place, (place,))
    said = weathers[generator.integers(len(weathers))]
    if generator.random() < 0.4:
        return said
    return f"{places[generator.integers(len(places))]}, {said}"


def all_captions() -> list[str]:
    """Every wording, to train a tokenizer on."""
    places = [place for places in PLACE.values() for place in places]
    weathers = [weather for weathers in WEATHER.values() for weather in weathers]
    return [f"{place}, {weather}" for place in places for weather in weathers] + weathers
