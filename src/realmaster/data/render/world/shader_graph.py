"""A small vocabulary for Blender's shader nodes, so that a material reads as the sentence it is.

Separate because node types, socket numbers and links are Blender's business, not the look's. A `Socket` is the output
of a node; wherever one is taken, a plain number or colour is taken too.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bpy

Socket = Any
Value = Any  # a Socket, a number, or a tuple of 3 or 4 numbers


class ShaderGraph:
    """The node tree of one material or world."""

    def __init__(self, tree: Any, output_type: str) -> None:
        """Empty a tree and give it its output node."""
        self._tree = tree
        tree.nodes.clear()
        self._output = tree.nodes.new(output_type)

    @classmethod
    def of_material(cls, name: str) -> tuple[Any, ShaderGraph]:
        """Make a material with an empty graph."""
        material = bpy.data.materials.new(name)
        material.use_nodes = True
        return material, cls(material.node_tree, "ShaderNodeOutputMaterial")

    def node(self, kind: str, *, inputs: Mapping[Any, Value] | None = None, **properties: Any) -> Any:
        """Add a node; `inputs` by name or number, everything else is a property of the node."""
        node = self._tree.nodes.new(kind)
        for name, value in properties.items():
            setattr(node, name, value)
        for key, value in (inputs or {}).items():
            self.set(node.inputs[key], value)
        return node

    def set(self, socket: Socket, value: Value) -> None:
        """Connect a socket to another one, or give it a value; colours of three numbers become opaque."""
        if hasattr(value, "node"):
            self._tree.links.new(value, socket)
        elif isinstance(value, tuple) and len(value) == 3 and socket.type == "RGBA":
            socket.default_value = (*value, 1)
        else:
            socket.default_value = value

    def surface(self, shader: Socket) -> None:
        """Make a shader the result."""
        self.set(self._output.inputs[0], shader)

    def colour(self, value: tuple[float, float, float]) -> Socket:
        """A constant colour as a socket."""
        node = self.node("ShaderNodeRGB")
        node.outputs[0].default_value = (*value, 1)
        return node.outputs[0]

    def number(self, value: float) -> Socket:
        """A constant number as a socket."""
        node = self.node("ShaderNodeValue")
        node.outputs[0].default_value = value
        return node.outputs[0]

    def mix(self, one: Value, other: Value, factor: Value, blend: str = "MIX") -> Socket:
        """Blend two colours."""
        node = self.node("ShaderNodeMix", data_type="RGBA", blend_type=blend)
        for number, value in ((0, factor), (6, one), (7, other)):
            self.set(node.inputs[number], value)
        return node.outputs[2]

    def multiply(self, one: Value, other: Value) -> Socket:
        """Multiply two colours; a number scales all channels."""
        return self.mix(one, other, 1.0, "MULTIPLY")

    def map_range(self, value: Value, old: tuple[float, float], new: tuple[float, float]) -> Socket:
        """Map a range of numbers to another one, clamped."""
        return self.node("ShaderNodeMapRange", inputs={0: value, 1: old[0], 2: old[1], 3: new[0], 4: new[1]}).outputs[0]

    def position(self) -> Socket:
        """Where the surface is, in world space."""
        return self.node("ShaderNodeNewGeometry").outputs["Position"]

    def normal_z(self) -> Socket:
        """How far the surface faces up, -1..1."""
        return self.up(self.node("ShaderNodeNewGeometry").outputs["Normal"])

    def up(self, vector: Socket) -> Socket:
        """The z of a vector."""
        return self.node("ShaderNodeSeparateXYZ", inputs={0: vector}).outputs[2]

    def noise(self, vector: Socket, scale: float, detail: float, roughness: float = 0.5) -> Socket:
        """Fractal noise, about 0.3..0.7."""
        inputs = {"Vector": vector, "Scale": scale, "Detail": detail, "Roughness": roughness}
        return self.node("ShaderNodeTexNoise", inputs=inputs).outputs[0]

    def image(self, path: Path, colour_space: str, vector: Socket) -> Socket:
        """An image file as a texture, loaded once."""
        image = bpy.data.images.load(str(path), check_existing=True)
        image.colorspace_settings.name = colour_space
        node = self.node("ShaderNodeTexImage", image=image, interpolation="Linear", inputs={0: vector})
        return node.outputs[0]

    def tiled(self, tile_metres: float) -> Socket:
        """Texture positions of a surface whose UV is in metres."""
        scale = 1 / tile_metres
        mapping = self.node("ShaderNodeMapping", inputs={0: self.node("ShaderNodeUVMap").outputs[0]})
        mapping.inputs["Scale"].default_value = (scale, scale, scale)
        return mapping.outputs[0]

    def attribute(self, name: str) -> Socket:
        """A vector stored with the vertices."""
        return self.node("ShaderNodeAttribute", attribute_name=name).outputs["Vector"]

    def vertex_colour(self) -> Socket:
        """The colour painted on the vertices."""
        return self.node("ShaderNodeVertexColor", layer_name="col").outputs[0]

    def is_camera_ray(self) -> Socket:
        """1 for what the camera sees directly."""
        return self.node("ShaderNodeLightPath").outputs["Is Camera Ray"]
