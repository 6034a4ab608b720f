"""Sun, sky and grade of a clip, drawn after the camera path. Pure numbers; `lights` turns them into lamps."""

from __future__ import annotations

import math
from dataclasses import dataclass

from realmaster.data.render.draws import Draws
from realmaster.data.render.settings import Scene
from realmaster.data.render.world.material import Colour

GRADES = ("None", "AgX - Medium High Contrast", "AgX - Punchy", "AgX - Base Contrast")
DEMO_SUN = (50.0, 128.0)  # elevation, azimuth in degrees


@dataclass(frozen=True)
class LightRig:
    """Angles in radians; azimuth from +x towards +y."""

    sun_elevation: float
    sun_azimuth: float
    sky_turn: float
    dust: float
    grade: str  # one of GRADES, Blender's names

    @property
    def sun_direction(self) -> tuple[float, float, float]:
        """Unit vector towards the sun."""
        level = math.cos(self.sun_elevation)
        return level * math.cos(self.sun_azimuth), level * math.sin(self.sun_azimuth), math.sin(self.sun_elevation)

    @property
    def sun_colour(self) -> Colour:
        """The lower the sun, the warmer."""
        low = (1 - math.sin(self.sun_elevation)) ** 2
        return 1.0, 0.96 - 0.25 * low, 0.9 - 0.5 * low


def draw_light(draws: Draws, scene: Scene) -> LightRig:
    """Draw sun and grade; the order of the draws is fixed."""
    elevation, azimuth = math.radians(draws.uniform(18, 60)), draws.uniform(0, 6.28)
    if scene == "street":  # along the street, so that it reaches the ground
        azimuth = draws.choose(0.0, math.pi) + draws.uniform(-0.9, 0.9)
        elevation = math.radians(draws.uniform(25, 60))
    elif scene == "room":  # through the windows
        azimuth = draws.uniform(0.6, 2.5)
        elevation = math.radians(draws.uniform(20, 45))
    elif scene == "demo":
        elevation, azimuth = (math.radians(angle) for angle in DEMO_SUN)
    sky_turn = draws.uniform(0, 6.28)
    draws.integer(0, 4)  # once the choice of a sky image, which is used no more
    dust = draws.uniform(0.5, 3.0)
    return LightRig(elevation, azimuth, sky_turn, dust, draws.choose(*GRADES))
