"""The recipe of the demo clip that the repository ships as `assets/demo/street.mp4`.

Makes 81 frames of the engine look, 832 x 480 at 16 frames a second; about 5 minutes on two cores.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from realmaster.data.render.farm import prepare
from realmaster.data.render.processes import Processes
from realmaster.data.render.settings import ClipSettings
from realmaster.errors import OutputError
from realmaster.media.output import check_output, put_in_place

DEMO = ClipSettings(
    seed=3,
    scene="demo",
    engine_weather="clear",
    camera_weather="clear",
    num_frames=81,
    width=832,
    height=480,
    frame_rate=16,
    motion_rate=16,
    looks=("engine",),
)


def render_demo(output: str | Path, *, overwrite: bool = False) -> Path:
    """Render the demo clip into an .mp4 file; give its path.

    Raises:
        MissingExtraError: Blender or, for the first use, `anny` is not installed.
        OutputError: the file exists or cannot be written. RenderFailure: Blender failed.
    """
    path = Path(output)
    if path.suffix.lower() != ".mp4":
        raise OutputError(f"expected a name ending in .mp4 for the demo clip, got {path}: rename it")
    check_output(path, overwrite=overwrite)
    prepare()
    with tempfile.TemporaryDirectory(dir=path.absolute().parent, prefix=".demo-") as folder:
        with Processes() as processes:
            processes.render(DEMO, Path(folder))
        put_in_place(Path(folder) / "engine.mp4", path, overwrite=overwrite)
    return path
