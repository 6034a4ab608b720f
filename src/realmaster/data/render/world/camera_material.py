"""The camera look of a surface: a full principled material with stains, relief, wetness, skin and cloth.

The same surface as in the engine look, with everything an engine at low settings leaves out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from realmaster.data.render.assets.texture_library import TextureLibrary
from realmaster.data.render.world.material import Material
from realmaster.data.render.world.shader_graph import ShaderGraph, Socket

# noise scale, bump strength and bump distance of what has no texture but a grain; the noise sticks to the rest pose
GRAIN = {"cloth": (9.0, 0.7, 0.03), "hair": (45.0, 1.0, 0.012), "skin": (60.0, 0.15, 0.005)}


@dataclass
class _Surface:
    """What has been worked out so far; `bump` is the node that `normal` comes from."""

    colour: Socket
    roughness: Socket
    bump: Any = None


def camera_material(material: Material, textures: TextureLibrary, wetness: float) -> Any:
    """Make Blender's material for the camera look; `wetness` 0..1 is the weather's."""
    blender, graph = ShaderGraph.of_material(f"camera {material.name}")
    if material.emission:
        graph.surface(_lamp(graph, material))
        blender.cycles.emission_sampling = "AUTO"
        return blender
    surface = _base(graph, material, textures)
    _stain(graph, surface, material)
    _relief(graph, surface, material, textures)
    if wetness and material.kind in ("ground", "wall"):
        _wet(graph, surface, material, wetness)
    principled = _principled(graph, surface, material)
    if material.translucency:
        back = graph.node("ShaderNodeBsdfTranslucent", inputs={0: surface.colour})
        mixed = graph.node(
            "ShaderNodeMixShader", inputs={0: material.translucency, 1: principled.outputs[0], 2: back.outputs[0]}
        )
        graph.surface(mixed.outputs[0])
    else:
        graph.surface(principled.outputs[0])
    return blender


def _lamp(graph: ShaderGraph, material: Material) -> Socket:
    glow = graph.node("ShaderNodeEmission", inputs={1: material.emission})
    if material.kind == "lit_window":  # a room behind the glass: not evenly bright
        unevenness = graph.map_range(graph.noise(graph.position(), 1.7, 3.0), (0.35, 0.65), (0.08, 1.2))
        graph.set(glow.inputs[0], graph.multiply(material.colour, unevenness))
    else:
        graph.set(glow.inputs[0], material.colour)
    return glow.outputs[0]


def _base(graph: ShaderGraph, material: Material, textures: TextureLibrary) -> _Surface:
    if material.texture is not None:
        texture = textures[material.texture]
        where = graph.tiled(texture.tile_metres)
        colour = graph.multiply(graph.image(texture.path("albedo"), "sRGB", where), material.colour)
        return _Surface(colour, graph.image(texture.path("roughness"), "Non-Color", where))
    colour = graph.vertex_colour() if material.uses_vertex_colours else graph.colour(material.colour)
    return _Surface(colour, graph.number(material.roughness))


def _stain(graph: ShaderGraph, surface: _Surface, material: Material) -> None:
    """Vary the colour over metres, and darken walls towards the ground."""
    position = graph.position()
    darkest = 0.72 if material.texture else 0.9
    stain = graph.map_range(graph.noise(position, 0.45, 3.0, 0.6), (0.3, 0.7), (darkest, 1.08))
    surface.colour = graph.multiply(surface.colour, stain)
    if material.texture and material.kind == "wall":
        dirt = graph.map_range(graph.up(position), (0.0, 1.1), (0.55, 1.0))
        surface.colour = graph.multiply(surface.colour, dirt)


def _relief(graph: ShaderGraph, surface: _Surface, material: Material, textures: TextureLibrary) -> None:
    if material.texture is not None:
        texture = textures[material.texture]
        height = graph.image(texture.path("height"), "Non-Color", graph.tiled(texture.tile_metres))
        strength, distance = 0.8 * material.bump, texture.relief_metres * 1.5
    elif material.kind in GRAIN:
        scale, strength, distance = GRAIN[material.kind]
        height = graph.noise(graph.attribute("rest"), scale, 2.0)
        mottle = graph.mix((1.0, 1.0, 1.0), height, 0.25)
        surface.colour = graph.multiply(surface.colour, mottle)
    else:
        return
    inputs = {"Strength": strength, "Distance": distance, "Height": height}
    surface.bump = graph.node("ShaderNodeBump", inputs=inputs)


def _wet(graph: ShaderGraph, surface: _Surface, material: Material, wetness: float) -> None:
    """Darken and smooth what is wet; on the ground puddles gather, mirror-like and without relief."""
    is_ground = material.kind == "ground"
    amount = wetness * (1.0 if is_ground else 0.35)
    surface.colour = graph.multiply(surface.colour, (1 - 0.55 * amount,) * 3)
    shore = (0.6, 0.66) if amount < 0.5 else (0.50 - 0.06 * amount, 0.56)
    puddle = graph.map_range(graph.noise(graph.position(), 0.55, 2.5), shore, (0, 1))
    damp = graph.node("ShaderNodeMath", operation="MULTIPLY", inputs={0: surface.roughness, 1: 1 - 0.62 * amount})
    smooth = graph.node("ShaderNodeMix", data_type="FLOAT", inputs={0: puddle, 2: damp.outputs[0], 3: 0.03})
    surface.roughness = smooth.outputs[0]
    if is_ground:
        dry_part = graph.node("ShaderNodeMath", operation="SUBTRACT", inputs={0: 1.0, 1: puddle})
        relief = graph.node(
            "ShaderNodeMath", operation="MULTIPLY", inputs={0: dry_part.outputs[0], 1: 0.7 * material.bump}
        )
        if surface.bump is not None:
            graph.set(surface.bump.inputs["Strength"], relief.outputs[0])
        surface.colour = graph.mix(surface.colour, graph.multiply(surface.colour, (0.55, 0.55, 0.55)), puddle)


def _principled(graph: ShaderGraph, surface: _Surface, material: Material) -> Any:
    principled = graph.node("ShaderNodeBsdfPrincipled", inputs={"Base Color": surface.colour})
    inputs = principled.inputs
    graph.set(inputs["Roughness"], surface.roughness)
    inputs["Metallic"].default_value = material.metallic
    if surface.bump is not None:
        graph.set(inputs["Normal"], surface.bump.outputs[0])
    if material.kind == "skin":
        inputs["Subsurface Weight"].default_value = 0.25
        inputs["Subsurface Radius"].default_value = (0.012, 0.005, 0.003)
        inputs["Subsurface Scale"].default_value = 1.0
    elif material.kind == "cloth":
        inputs["Sheen Weight"].default_value = 0.04
    elif material.kind == "paint":
        inputs["Coat Weight"].default_value = 1.0
        inputs["Coat Roughness"].default_value = 0.03
    return principled
