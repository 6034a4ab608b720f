"""People as arrays: regions of a body, clothes over it, a gait, skinned frames. No Blender here."""
