"""From seeds to clips: which scene, weather and framing a seed means, which split it belongs to, and its row.

Separate from rendering and from files: a plan is a pure function of the settings, so that a test can hold the rules
that keep training and test scenes apart.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from realmaster.data.render.settings import ClipSettings, Closeup, RenderSettings, Scene, Weather

Split = Literal["train", "test"]

TEST_EVERY = 12
TEST_REMAINDER = 3
CLOSEUP_DRAWS: tuple[Closeup, ...] = ("none", "none", "none", "none", "none", "first", "first", "last")

SCENE_WORDS: dict[Scene, str] = {
    "street": "a city street with parked cars and people walking",
    "courtyard": "a paved courtyard with trees, benches and people",
    "room": "a furnished room with people",
    "demo": "a city street with parked cars and people walking",
}
WEATHER_WORDS: dict[Weather, str] = {
    "clear": "sunny day, clear sky",
    "overcast": "overcast day, soft light",
    "rain": "heavy rain, wet ground with reflections",
    "night": "night, street lamps and lit windows",
}
ROOM_WEATHER_WORDS: dict[Weather, str] = {
    "clear": "sunlight through the window",
    "overcast": "soft window light",
    "rain": "dim window light on a rainy day",
    "night": "lamps at night",
}


class SeedChoice(NamedTuple):
    """What a seed stands for where the settings leave it open."""

    scene: Scene
    closeup: Closeup
    weathers: tuple[Weather, ...]


def split_of(seed: int) -> Split:
    """Say which split a scene belongs to: seeds with remainder 3 by 12 are test scenes and never trained on."""
    return "test" if seed % TEST_EVERY == TEST_REMAINDER else "train"


def choose_by_seed(seed: int) -> SeedChoice:
    """Draw scene, framing and weathers of a seed.

    A test scene is outdoors, no close-up, in all three weathers that share an engine look. A training scene is half the
    time a street, is night once in eight, and has two of the three weathers otherwise.
    """
    generator = np.random.default_rng(seed + 77)
    scene: Scene = generator.choice(["street", "courtyard", "room"], p=[0.5, 0.3, 0.2]).item()
    if split_of(seed) == "test":
        scene = generator.choice(["street", "courtyard"]).item()
        return SeedChoice(scene, "none", ("clear", "overcast", "rain"))
    closeup = CLOSEUP_DRAWS[generator.choice(len(CLOSEUP_DRAWS))]
    if generator.random() < 0.13:
        return SeedChoice(scene, closeup, ("night",))
    drawn = generator.choice(["clear", "overcast", "rain"], 2, replace=False, p=[0.45, 0.25, 0.3])
    return SeedChoice(scene, closeup, tuple(drawn.tolist()))


def plan_clips(settings: RenderSettings) -> list[ClipSettings]:
    """List the clips of a set, a scene's weathers one after the other."""
    common = {
        name: getattr(settings, name) for name in type(settings).model_fields if name in ClipSettings.model_fields
    }
    common.pop("scene"), common.pop("closeup"), common.pop("engine_weather")
    clips = []
    for seed in settings.seeds:
        choice = choose_by_seed(seed)
        for weather in settings.weathers or choice.weathers:
            clips.append(
                ClipSettings(
                    seed=seed,
                    scene=settings.scene or choice.scene,
                    engine_weather=settings.engine_weather or weather,
                    camera_weather=weather,
                    closeup=settings.closeup or choice.closeup,
                    **common,
                )
            )
    return clips


def clip_id(clip: ClipSettings) -> str:
    """Name a clip: seed, scene and weather, or both weathers where they differ."""
    weathers = dict.fromkeys((clip.engine_weather, clip.camera_weather))
    return "_".join([f"{clip.seed:05d}", clip.scene, *weathers])


def caption_of(clip: ClipSettings) -> str:
    """Describe the camera look in the words that a prompt uses."""
    words = ROOM_WEATHER_WORDS if clip.scene == "room" else WEATHER_WORDS
    return f"{SCENE_WORDS[clip.scene]}, {words[clip.camera_weather]}"


def other_captions(caption: str, weather: str) -> dict[Weather, str]:
    """Say a caption of this renderer in each other weather; nothing where it does not name its own."""
    for words in (WEATHER_WORDS, ROOM_WEATHER_WORDS):
        for own, said in words.items():
            if own == weather and said in caption:
                return {other: caption.replace(said, there) for other, there in words.items() if other != own}
    return {}


def row_of(clip: ClipSettings) -> dict[str, Any]:
    """Give a clip's row of the manifest; a look that was not rendered has no column."""
    name = clip_id(clip)
    files = {"engine": "reference_video", "camera": "video"}
    return {
        "id": name,
        **{files[look]: f"videos/{name}/{look}.mp4" for look in ("engine", "camera") if look in clip.looks},
        "caption": caption_of(clip),
        "scene": clip.scene,
        "engine_weather": clip.engine_weather,
        "camera_weather": clip.camera_weather,
        "seed": clip.seed,
        "num_frames": clip.num_frames,
        "fps": clip.frame_rate,
        "width": clip.width,
        "height": clip.height,
    }
