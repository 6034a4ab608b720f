"""Every scene by its name, and the one function that builds it."""

from __future__ import annotations

from collections.abc import Callable

from realmaster.data.render.settings import Scene
from realmaster.data.render.world.builder import SceneBuilder, View
from realmaster.data.render.world.courtyard import build_courtyard
from realmaster.data.render.world.demo_street import build_demo
from realmaster.data.render.world.room import build_room
from realmaster.data.render.world.street import build_street

SCENES: dict[Scene, Callable[[SceneBuilder], View]] = {
    "street": build_street,
    "courtyard": build_courtyard,
    "room": build_room,
    "demo": build_demo,
}


def build_scene(builder: SceneBuilder) -> View:
    """Build the clip's scene; give the camera's first idea of it."""
    return SCENES[builder.clip.scene](builder)
