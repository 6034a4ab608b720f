"""How the scene is filmed: camera path, light rigs, the two looks, exposure, lens and sensor, and labels."""
