"""Lamps and skies in Blender, for each look and weather. Every look starts from an unlit scene."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy
from mathutils import Vector

from realmaster.data.render.film.stage import Stage
from realmaster.data.render.settings import Weather
from realmaster.data.render.world.material import Colour
from realmaster.data.render.world.shader_graph import ShaderGraph

Direction = Sequence[float]

ENGINE_SKY: dict[Weather, Colour] = {
    "clear": (0.32, 0.55, 0.9),
    "overcast": (0.62, 0.66, 0.7),
    "rain": (0.42, 0.45, 0.5),
    "night": (0.01, 0.013, 0.03),
}
ENGINE_SUN: dict[Weather, float] = {"clear": 2.2, "overcast": 0.9, "rain": 0.5, "night": 0.12}
ENGINE_CLOUDY_SUN = (0.3, -0.4, 0.85)
SUN_DISC = 0.0095  # radians
HIGH = (0.0, 0.0, 20.0)


def light_engine(stage: Stage) -> None:
    """Light the scene as a game would: a gradient for a sky that lights nothing, one hard sun, hard lamps."""
    _remove_lights(stage)
    builder, weather = stage.builder, stage.builder.weather
    world, graph = _empty_world(stage)
    world.cycles_visibility.diffuse = False
    world.cycles_visibility.glossy = False
    world.cycles.sampling_method = "NONE"
    zenith = ENGINE_SKY[weather]
    haze = 0.0 if weather == "night" else 0.08
    horizon = tuple(min(1.0, channel * 1.25 + haze) for channel in zenith)
    up = graph.up(graph.node("ShaderNodeTexCoord").outputs["Generated"])
    sky = _ramp(graph, up, (0.0, horizon), (0.6, zenith))
    graph.surface(graph.node("ShaderNodeBackground", inputs={0: sky}).outputs[0])
    if builder.room is not None:
        _add_light(stage, "POINT", (2.5, 0, 2.3), 160, (1, 0.97, 0.92))
    elif weather == "clear":
        _add_sun(stage, stage.rig.sun_direction, ENGINE_SUN[weather], stage.rig.sun_colour, 0)
    else:
        _add_sun(stage, ENGINE_CLOUDY_SUN, ENGINE_SUN[weather], (0.95, 0.97, 1), 0)
    for bulb in builder.bulbs:
        _add_light(stage, "POINT", bulb.position, bulb.watts * 1.6, bulb.colour)


def light_camera(stage: Stage) -> None:
    """Light the scene as the world would: a physical sky or a cloud dome, a sun with a size, lamps with a size."""
    _remove_lights(stage)
    builder, weather = stage.builder, stage.builder.weather
    world, graph = _empty_world(stage)
    world.cycles_visibility.diffuse = True
    world.cycles_visibility.glossy = True
    world.cycles.sampling_method = "AUTOMATIC"
    background = graph.node("ShaderNodeBackground")
    graph.surface(background.outputs[0])
    if weather == "clear":
        _clear_sky(stage, graph, background)
    elif weather == "night":
        _night_sky(stage, graph, background)
    else:
        _cloud_dome(stage, graph, background)
    for bulb in builder.bulbs:
        spot = _add_light(stage, "SPOT", bulb.position, bulb.watts * 3, bulb.colour, 0.12)
        spot.data.spot_size = 2.6
    if builder.room is not None:
        _light_room(stage, background)


def _clear_sky(stage: Stage, graph: ShaderGraph, background: Any) -> None:
    rig = stage.rig
    sky = graph.node(
        "ShaderNodeTexSky",
        sky_type="NISHITA",
        sun_disc=False,  # the sun is a lamp of its own, which is sampled better
        sun_elevation=rig.sun_elevation,
        sun_rotation=math.pi / 2 - rig.sun_azimuth,
        dust_density=rig.dust,
        air_density=1.0,
    )
    graph.set(background.inputs[0], sky.outputs[0])
    background.inputs[1].default_value = 0.25
    strength = 6.0 * math.sin(rig.sun_elevation) ** 0.3
    _add_sun(stage, rig.sun_direction, strength, rig.sun_colour, SUN_DISC)


def _night_sky(stage: Stage, graph: ShaderGraph, background: Any) -> None:
    folder = Path(bpy.utils.resource_path("LOCAL")) / "datafiles" / "studiolights" / "world"
    image = bpy.data.images.load(str(folder / "night.exr"), check_existing=True)
    sky = graph.node("ShaderNodeTexEnvironment", image=image, inputs={0: _turned_sky(stage, graph)})
    graph.set(background.inputs[0], sky.outputs[0])
    background.inputs[1].default_value = 0.12


def _cloud_dome(stage: Stage, graph: ShaderGraph, background: Any) -> None:
    """A bright dome of uneven cloud, brighter overhead, with a broad glow where the sun is."""
    clouds = graph.noise(_turned_sky(stage, graph), 2.2, 6)
    dome = _ramp(graph, clouds, (0.3, (0.50, 0.54, 0.60)), (0.7, (1.0, 1.0, 1.0)))
    up = graph.up(graph.node("ShaderNodeTexCoord").outputs["Generated"])
    brightness = graph.map_range(up, (0, 1), (0.6, 1.3))
    graph.set(background.inputs[0], graph.multiply(dome, brightness))
    background.inputs[1].default_value = 1.0
    _add_sun(stage, stage.rig.sun_direction, 0.35, (1, 0.98, 0.95), 0.6)


def _light_room(stage: Stage, background: Any) -> None:
    """Guide paths through the windows, and hang a lamp that is brighter when it is dark outside."""
    room, weather = stage.builder.room, stage.builder.weather
    assert room is not None
    into_the_room = Vector((0, 1, 0)).to_track_quat("Z", "Y")
    for start, end in room.windows:
        place = ((start + end) / 2, room.width / 2 + 0.2, 1.7)
        portal = _add_light(stage, "AREA", place, 1, (1, 1, 1), end - start, into_the_room)
        portal.data.size_y = 1.5
        portal.data.cycles.is_portal = True
    watts = 60 if weather in ("night", "rain") else 12
    _add_light(stage, "AREA", (room.length * 0.5, 0, room.height - 0.06), watts, (1, 0.85, 0.65), 0.5)
    if weather in ("overcast", "rain"):
        background.inputs[1].default_value = 4.0


def _turned_sky(stage: Stage, graph: ShaderGraph) -> Any:
    mapping = graph.node("ShaderNodeMapping", inputs={0: graph.node("ShaderNodeTexCoord").outputs["Generated"]})
    mapping.inputs["Rotation"].default_value = (0, 0, stage.rig.sky_turn)
    return mapping.outputs[0]


def _ramp(
    graph: ShaderGraph, value: Any, low: tuple[float, Sequence[float]], high: tuple[float, Sequence[float]]
) -> Any:
    node = graph.node("ShaderNodeValToRGB", inputs={0: value})
    for stop, (position, colour) in zip(node.color_ramp.elements, (low, high), strict=True):
        stop.position, stop.color = position, (*colour, 1)
    return node.outputs[0]


def _empty_world(stage: Stage) -> tuple[Any, ShaderGraph]:
    world = stage.builder.scene.world or bpy.data.worlds.new("world")
    stage.builder.scene.world = world
    world.use_nodes = True
    return world, ShaderGraph(world.node_tree, "ShaderNodeOutputWorld")


def _remove_lights(stage: Stage) -> None:
    for thing in list(stage.builder.scene.objects):
        if thing.type == "LIGHT":
            bpy.data.objects.remove(thing, do_unlink=True)


def _add_sun(stage: Stage, towards: Direction, strength: float, colour: Colour, angle: float) -> Any:
    turn = Vector(towards).to_track_quat("Z", "Y")
    sun = _add_light(stage, "SUN", HIGH, strength, colour, rotation=turn)
    sun.data.angle = angle
    return sun


def _add_light(
    stage: Stage,
    kind: str,
    position: Sequence[float],
    energy: float,
    colour: Colour,
    size: float = 0.0,
    rotation: Any = None,
) -> Any:
    light = bpy.data.lights.new("light", kind)
    light.energy, light.color = energy, colour
    if kind == "AREA":
        light.shape, light.size, light.size_y = "RECTANGLE", size, size
    elif kind != "SUN":
        light.shadow_soft_size = size
    thing = bpy.data.objects.new("light", light)
    thing.location = position
    stage.builder.scene.collection.objects.link(thing)
    if rotation is not None:
        thing.rotation_mode = "QUATERNION"
        thing.rotation_quaternion = rotation
    return thing
