"""The scene while it is being built: everything that a building or a prop needs to know is handed around in here.

Separate so that no file of this room keeps a global: two scenes in one process share nothing but Blender itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import bpy
import numpy as np
import numpy.typing as npt

from realmaster.data.render.assets.bodies import Bodies
from realmaster.data.render.assets.texture_library import TextureLibrary
from realmaster.data.render.draws import LAMPS, SCENE, WETNESS, Draws
from realmaster.data.render.settings import ClipSettings, Look, Weather
from realmaster.data.render.world.camera_material import camera_material
from realmaster.data.render.world.clearance import Clearance
from realmaster.data.render.world.engine_material import engine_material
from realmaster.data.render.world.material import Colour, Material

Category = Literal["ground", "building", "vehicle", "person", "vegetation", "lamp", "prop"]
Point = tuple[float, float, float]


@dataclass(frozen=True)
class Instance:
    """One object of the scene as labels see it."""

    number: int  # 1.., 0 is the sky
    name: str
    category: Category
    is_moving: bool


@dataclass(frozen=True)
class LampBulb:
    """A street lamp that is on."""

    position: Point
    colour: Colour
    watts: float


@dataclass(frozen=True)
class Person:
    """Where a person is at the middle of the clip."""

    centre: npt.NDArray[Any]
    head: npt.NDArray[Any]
    heading: float


@dataclass(frozen=True)
class Room:
    """Size of an indoor scene in metres, and its windows in the +y wall as (from x, to x)."""

    length: float
    width: float
    height: float
    windows: tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class View:
    """Where the camera stands and looks at the middle of the clip."""

    position: Point
    target: Point


@dataclass
class SceneBuilder:
    """The scene under construction and what it is made of."""

    clip: ClipSettings
    weather: Weather
    textures: TextureLibrary
    bodies: Bodies
    scene: Any
    draws: Draws
    lamp_draws: Draws
    wetness: float
    materials: dict[str, dict[Look, Any]] = field(default_factory=dict)
    instances: list[Instance] = field(default_factory=list)
    people: list[Person] = field(default_factory=list)
    bulbs: list[LampBulb] = field(default_factory=list)
    room: Room | None = None
    clearance: Clearance | None = None

    @classmethod
    def empty(cls, clip: ClipSettings, weather: Weather, textures: TextureLibrary, bodies: Bodies) -> SceneBuilder:
        """Reset Blender to an empty file and open the clip's streams of draws."""
        bpy.ops.wm.read_factory_settings(use_empty=True)
        return cls(
            clip=clip,
            weather=weather,
            textures=textures,
            bodies=bodies,
            scene=bpy.context.scene,
            draws=Draws(clip.seed, SCENE),
            lamp_draws=Draws(clip.seed, LAMPS),
            wetness=draw_wetness(clip.seed, weather),
        )

    @property
    def first_frame(self) -> int:
        """Blender's number of the first frame."""
        return 1

    @property
    def last_frame(self) -> int:
        """Blender's number of the last frame."""
        return self.clip.num_frames

    @property
    def animated_frames(self) -> range:
        """Frames that have to exist for motion blur and flow: one more at either end."""
        return range(self.first_frame - 1, self.last_frame + 2)

    def seconds(self, frame: int) -> float:
        """Time of the scene's own clock at a frame."""
        return frame / self.clip.motion_rate

    def texture(self, kind: str) -> str:
        """Draw a texture of a kind."""
        return self.textures.draw(self.draws, kind)

    def material(self, material: Material) -> str:
        """Make a material in both looks, unless its name is known; give its name."""
        if material.name not in self.materials:
            self.materials[material.name] = {
                "engine": engine_material(material, self.textures, self.weather, self.clip.scene),
                "camera": camera_material(material, self.textures, self.wetness),
            }
        return material.name

    def add_object(
        self, name: str, mesh: Any, materials: Sequence[str], category: Category, *, is_moving: bool = False
    ) -> Any:
        """Put a mesh into the scene; it becomes the next instance of the segmentation."""
        for material in materials:
            mesh.materials.append(self.materials[material]["camera"])
        thing = bpy.data.objects.new(name, mesh)
        self.scene.collection.objects.link(thing)
        thing["material_names"] = list(materials)
        instance = Instance(len(self.instances) + 1, thing.name, category, is_moving)
        thing.pass_index = instance.number
        self.instances.append(instance)
        return thing

    def wear(self, look: Look) -> None:
        """Change every object to the materials of a look."""
        for thing in self.scene.objects:
            if thing.type == "MESH":
                for slot, name in enumerate(thing["material_names"]):
                    thing.data.materials[slot] = self.materials[name][look]


def draw_wetness(seed: int, weather: Weather) -> float:
    """Say how wet surfaces are, 0..1; at night and under clouds it may have rained."""
    draws = Draws(seed, WETNESS)
    by_night, overcast = draws.choose(0.0, 0.6), draws.choose(0.0, 0.25)
    wetness: dict[Weather, float] = {"rain": 0.9, "night": by_night, "overcast": overcast, "clear": 0.0}
    return wetness[weather]


def quads(vertices: npt.NDArray[Any]) -> Any:
    """Make a Blender mesh of loose four-sided faces: vertices [4 n, 3] in order."""
    mesh = bpy.data.meshes.new("quads")
    mesh.from_pydata(vertices.tolist(), [], np.arange(len(vertices)).reshape(-1, 4).tolist())
    mesh.uv_layers.new(name="UVMap")
    return mesh
