"""The scene in Blender: materials in two versions, meshes, buildings, props, people, and the scenes that place them."""
