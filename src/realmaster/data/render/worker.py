"""The process that renders one clip: `python -m realmaster.data.render.worker CLIP.json FOLDER`.

A process of its own, because Blender keeps state and memory from scene to scene, and because a crash in it must cost
one clip and no more. Everything Blender prints goes to the file that the caller opened for it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from realmaster.data.render.settings import ClipSettings
from realmaster.media.output import temporary

FACTS = "facts.json"


def render_clip(clip_file: Path, folder: Path) -> None:
    """Render the clip that a file of settings describes; `facts.json` is written last."""
    clip = ClipSettings.from_mapping(json.loads(clip_file.read_text(encoding="utf-8")), source=str(clip_file))
    import bpy

    from realmaster.data.render.film.shoot import shoot

    started = time.monotonic()
    facts = shoot(clip, folder)
    facts |= {"seconds": round(time.monotonic() - started, 1), "blender": bpy.app.version_string}
    with temporary(folder / FACTS) as part:
        part.write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    render_clip(Path(sys.argv[1]), Path(sys.argv[2]))
