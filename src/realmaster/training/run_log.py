"""`log.jsonl`: one line a step, cut back where a run goes on, so that it reads as if nothing had happened.

Separate because nano's own loop, the adapter's run and whoever draws curves share this file's form.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any


class RunLog:
    """Lines of JSON, each with its `step`."""

    def __init__(self, path: Path) -> None:
        """Write to `path`, which need not exist yet."""
        self.path = path

    def write(self, step: int, values: Mapping[str, Any]) -> None:
        """Append one line; floats keep six digits."""
        rounded = {k: float(f"{v:.6g}") if isinstance(v, float) else v for k, v in values.items()}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"step": step, **rounded}) + "\n")

    def read(self) -> list[dict[str, Any]]:
        """Read every whole line; one that a killed process left unfinished is passed over."""
        lines = []
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.exists() else ():
            try:
                lines.append(json.loads(line))
            except json.JSONDecodeError:
                continue
        return lines

    def cut(self, step: int) -> None:
        """Drop the lines of steps after `step`: they will be done again."""
        if not self.path.exists():
            return
        temporary = self.path.with_name(self.path.name + ".partial")
        kept = [json.dumps(line) + "\n" for line in self.read() if line["step"] <= step]
        temporary.write_text("".join(kept), encoding="utf-8")
        temporary.replace(self.path)
