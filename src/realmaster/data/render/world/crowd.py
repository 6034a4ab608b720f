"""Put a person into the scene: one mesh with a shape for every frame, so that feet, cloth and motion blur are exact."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np

from realmaster.data.render.draws import Draws
from realmaster.data.render.people.appearance import Appearance, draw_appearance
from realmaster.data.render.people.garments import Fabric
from realmaster.data.render.people.motion import PersonMesh, Placement, build_person
from realmaster.data.render.world.builder import Person, SceneBuilder
from realmaster.data.render.world.cars import make_linear
from realmaster.data.render.world.clearance import EVERYWHERE, Clearance
from realmaster.data.render.world.material import Material

HEAD_SHARE = 0.22
"""Metres below the crown that count as the head, for a body of the baked size."""


def add_person(builder: SceneBuilder, placement: Placement, draws: Draws | None = None) -> Person:
    """Draw a person and let them walk or stand through the clip; give where they are at its middle."""
    number = len(builder.people)
    if builder.clip.keep_clear:
        placement = _clearance(builder).place(placement, is_framed=builder.clip.closeup != "none")
    appearance = draw_appearance(draws or builder.draws, builder.bodies)
    frames = builder.animated_frames
    times = [builder.seconds(frame) for frame in frames]
    mesh = build_person(builder.bodies, appearance, placement, times, frames)
    materials = [_material(builder, appearance, fabric, number) for fabric in mesh.fabrics]
    thing = builder.add_object(f"person {number}", _blender_mesh(mesh), materials, "person", is_moving=True)
    _animate(thing, mesh, list(frames))
    middle = mesh.frames[len(mesh.frames) // 2]
    is_head = middle[:, 2] > middle[:, 2].max() - HEAD_SHARE * mesh.scale
    person = Person(middle.mean(0), middle[is_head].mean(0), placement.heading)
    builder.people.append(person)
    return person


def _clearance(builder: SceneBuilder) -> Clearance:
    """Take in the scene at the first person; people are placed last."""
    if builder.clearance is None:
        solid = [instance.name for instance in builder.instances if instance.category != "ground"]
        things, room = [builder.scene.objects[name] for name in solid], builder.room
        inside = EVERYWHERE if room is None else ((0, room.length), (-room.width / 2, room.width / 2))
        builder.clearance = Clearance(builder.clip, things, inside)
    return builder.clearance


def _material(builder: SceneBuilder, person: Appearance, fabric: Fabric, number: int) -> str:
    outfit = person.outfit
    materials: dict[Fabric, Material] = {
        "skin": Material("skin", kind="skin", roughness=0.45, uses_vertex_colours=True),
        "top": Material(f"top {number}", outfit.top_colour, kind="cloth", roughness=0.85),
        "trousers": Material(f"trousers {number}", outfit.trouser_colour, kind="cloth", roughness=0.8),
        "shoes": Material(f"shoes {number}", outfit.shoe_colour, roughness=0.5),
        "hair": Material(f"hair {number}", person.hair.colour, kind="hair", roughness=0.5),
        "eye_white": Material("eye white", (0.6, 0.6, 0.58), roughness=0.1),
        "iris": Material("iris", (0.03, 0.02, 0.015), roughness=0.05),
    }
    return builder.material(materials[fabric])


def _blender_mesh(person: PersonMesh) -> Any:
    mesh = bpy.data.meshes.new("person")
    faces = [list(dict.fromkeys(face)) for face in person.faces.tolist()]  # a triangle repeats a corner
    mesh.from_pydata(person.frames[0].tolist(), [], faces)
    mesh.polygons.foreach_set("material_index", person.fabric_of_face)
    mesh.polygons.foreach_set("use_smooth", [True] * len(faces))
    mesh.uv_layers.new(name="UVMap")
    opaque = np.concatenate([person.colours, np.ones((len(person.colours), 1))], axis=1)
    colours = mesh.color_attributes.new("col", "FLOAT_COLOR", "POINT")
    colours.data.foreach_set("color", opaque.astype(np.float32).ravel())
    rest = mesh.attributes.new("rest", "FLOAT_VECTOR", "POINT")
    rest.data.foreach_set("vector", person.rest.ravel())
    return mesh


def _animate(thing: Any, person: PersonMesh, frames: list[int]) -> None:
    """Give the object a shape key for each frame, each fully on at its own frame and off at its neighbours."""
    thing.shape_key_add(name="rest")
    for frame, vertices in zip(frames, person.frames, strict=True):
        key = thing.shape_key_add(name=f"frame {frame}", from_mix=False)
        key.data.foreach_set("co", vertices.ravel())
        for near, value in ((frame - 1, 0.0), (frame, 1.0), (frame + 1, 0.0)):
            key.value = value
            key.keyframe_insert("value", frame=near)
    make_linear(thing.data.shape_keys)
