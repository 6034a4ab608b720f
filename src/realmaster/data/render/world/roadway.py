"""The floor of a street: asphalt, two pavements with curbs, lane marks and a crossing. It runs along x."""

from __future__ import annotations

from dataclasses import dataclass

from realmaster.data.render.world.builder import SceneBuilder
from realmaster.data.render.world.material import WHITE, Colour, Material
from realmaster.data.render.world.mesh_builder import MeshBuilder

HALF_LENGTH = 60.0
CURB_HEIGHT = 0.14
WET_ASPHALT = (0.9, 0.9, 0.9)


@dataclass(frozen=True)
class Roadway:
    """A street's cross-section: `half_width` of the road, `pavement` of the walk on either side, in metres.

    The rest are names of textures.
    """

    half_width: float
    pavement: float
    asphalt: str
    slabs: str
    slab_tint: Colour
    curb: str
    paint: str

    @classmethod
    def draw(cls, builder: SceneBuilder) -> Roadway:
        """Draw widths and textures; the order of the draws is fixed."""
        draws, texture = builder.draws, builder.texture
        half_width, pavement = draws.uniform(3.0, 4.0), draws.uniform(2.0, 3.2)
        asphalt, tint = texture("asphalt"), draws.tint(0.8, 1.1, 0.05)
        slabs = texture(draws.choose("paving", "concrete"))
        return cls(half_width, pavement, asphalt, slabs, tint, texture("concrete"), texture("concrete"))

    @property
    def wall(self) -> float:
        """Distance of the houses from the middle of the road."""
        return self.half_width + self.pavement

    def slab_material(self, builder: SceneBuilder) -> str:
        """Make the material of the pavements."""
        return builder.material(Material("pavement", self.slab_tint, self.slabs, kind="ground"))

    def add_surfaces(self, builder: SceneBuilder) -> None:
        """Add road and pavements."""
        tint = WET_ASPHALT if builder.weather == "rain" else WHITE
        asphalt = builder.material(Material("asphalt", tint, self.asphalt, kind="ground"))
        slabs = self.slab_material(builder)
        curb = builder.material(Material("curb", (0.9, 0.9, 0.88), self.curb, kind="wall"))
        along = (-HALF_LENGTH, HALF_LENGTH)
        road = MeshBuilder(builder, "road")
        road.rectangle(along, (-self.half_width, self.half_width), 0, asphalt)
        road.finish("ground")
        walk = MeshBuilder(builder, "pavement")
        for side in (-1, 1):
            near, far = sorted((side * self.half_width, side * self.wall))
            walk.rectangle(along, (near, far), CURB_HEIGHT, slabs)
            walk.box((0, side * (self.half_width + 0.07), 0.07), (2 * HALF_LENGTH, 0.16, 0.15), curb, 0, 0.02)
        walk.finish("ground")

    def add_marks(self, builder: SceneBuilder, crossing_x: float | None, crossing_length: float = 2.4) -> None:
        """Paint the middle line, and a crossing that begins at `crossing_x`."""
        paint = builder.material(Material("road marking", (0.75, 0.75, 0.72), self.paint, kind="ground"))
        mesh = MeshBuilder(builder, "road marks")
        for dash in range(-20, 20):
            mesh.rectangle((dash * 3, dash * 3 + 1.5), (-0.07, 0.07), 0.004, paint)
        if crossing_x is not None:
            for stripe in range(int(self.half_width * 2)):
                near = -self.half_width + 0.25 + stripe
                mesh.rectangle((crossing_x, crossing_x + crossing_length), (near, near + 0.5), 0.005, paint)
        mesh.finish("ground")
