"""The engine look of a surface: diffuse, a small texture, and an ambient term that only knows up from down."""

from __future__ import annotations

from typing import Any

from realmaster.data.render.assets.texture_library import TextureLibrary
from realmaster.data.render.settings import Scene, Weather
from realmaster.data.render.world.material import Colour, Material
from realmaster.data.render.world.shader_graph import ShaderGraph, Socket

AMBIENT: dict[Weather, Colour] = {
    "clear": (0.50, 0.55, 0.62),
    "overcast": (0.72, 0.74, 0.78),
    "rain": (0.5, 0.53, 0.58),
    "night": (0.12, 0.13, 0.19),
}
ROOM_AMBIENT: Colour = (0.6, 0.58, 0.55)
BRIGHTEST_EMISSION = 1.5


def engine_material(material: Material, textures: TextureLibrary, weather: Weather, scene: Scene) -> Any:
    """Make Blender's material for the engine look."""
    blender, graph = ShaderGraph.of_material(f"engine {material.name}")
    colour = material.engine_colour or material.colour
    blender.cycles.emission_sampling = "NONE"  # the ambient term must not light its neighbours
    base = _base_colour(graph, material, colour, textures)
    emission = material.emission if material.engine_emission is None else material.engine_emission
    glow = graph.node("ShaderNodeEmission", inputs={1: graph.is_camera_ray()})
    if emission:
        graph.set(glow.inputs[0], graph.multiply(base, (min(emission, BRIGHTEST_EMISSION),) * 3))
        graph.surface(glow.outputs[0])
        return blender
    ambient = graph.multiply(base, ROOM_AMBIENT if scene == "room" else AMBIENT[weather])
    ambient = graph.multiply(ambient, graph.map_range(graph.normal_z(), (-1, 1), (0.6, 1.1)))
    graph.set(glow.inputs[0], ambient)
    diffuse = graph.node("ShaderNodeBsdfDiffuse", inputs={0: base})
    both = graph.node("ShaderNodeAddShader", inputs={0: diffuse.outputs[0], 1: glow.outputs[0]})
    graph.surface(both.outputs[0])
    return blender


def _base_colour(graph: ShaderGraph, material: Material, colour: Colour, textures: TextureLibrary) -> Socket:
    if material.texture is not None:
        texture = textures[material.texture]
        image = graph.image(texture.path("engine"), "sRGB", graph.tiled(texture.tile_metres))
        return graph.multiply(image, colour)
    return graph.vertex_colour() if material.uses_vertex_colours else graph.colour(colour)
