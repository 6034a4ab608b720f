"""Exact pairs: one procedural scene rendered as an engine would draw it and as a camera would film it.

The rooms within: `assets` (textures and bodies, made once and kept in a cache), `people` (bodies, clothes, gait; numpy
only), `world` (geometry and materials in Blender), `film` (camera, light, looks, lens, labels). `plan`, `farm` and
`pair_folder` make a set of clips out of them; `worker` is the process that renders one.
"""
