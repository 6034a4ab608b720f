"""Read a folder of exact pairs: its rows, and the frames behind them.

Separate because scoring wants two clips at their own size and whole, where training wants crops, caches and shuffling.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from realmaster.data.manifest import parse_object
from realmaster.errors import ConfigError, MediaError
from realmaster.media.reader import open_clip

Frames = npt.NDArray[np.uint8]
WEATHER_COLUMNS = ("engine_weather", "camera_weather")  # as they are called in `PairRow` too
_MOST_FRAMES = 1024  # a pair is a short clip; both its sides are held in memory


@dataclass(frozen=True)
class PairRow:
    """One row of a pair set: the engine clip, the camera clip (the truth), and what tells them apart.

    A weather is "" where the row names none: footage has none to name, and few readers ask.
    """

    name: str
    engine: Path
    camera: Path
    caption: str
    engine_weather: str = ""
    camera_weather: str = ""

    @property
    def weathers(self) -> tuple[str, str]:
        """Weather of the engine clip, weather of the camera clip."""
        return self.engine_weather, self.camera_weather

    @property
    def weathers_in_words(self) -> str:
        """Say the weathers for a message: "clear to rain", "no weather to rain"."""
        return " to ".join(weather or "no weather" for weather in self.weathers)

    def engine_frames(self) -> Frames:
        """Read the engine clip: uint8 [F, H, W, 3]."""
        return read_frames(self.engine)

    def camera_frames(self) -> Frames:
        """Read the camera clip: uint8 [F, H, W, 3]."""
        return read_frames(self.camera)

    def engine_digest(self) -> str:
        """Name the engine clip by its frames, to find rows that share it (bytes of a container differ by its ids)."""
        frames = self.engine_frames()
        return hashlib.sha256(f"{frames.shape}".encode() + frames.tobytes()).hexdigest()


def read_rows(folder: Path, split: str) -> list[PairRow]:
    """Read `<split>.jsonl` of a pair set, or `manifest.jsonl` where the set is not split and `split` is "all".

    Raises:
        ConfigError: the file is missing, empty, or a row lacks a column; the message names file and line.
    """
    path = folder / ("manifest.jsonl" if split == "all" else f"{split}.jsonl")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"expected a pair set with {path.name} in {folder}, could not read it ({error})") from error
    rows = [_row(line, folder, f"{path}:{number}") for number, line in enumerate(lines, start=1) if line.strip()]
    if not rows:
        raise ConfigError(f"expected rows in {path}, found none: choose another split")
    return rows


def has_split(folder: Path, split: str) -> bool:
    """Say whether a pair set has this split."""
    return (folder / f"{split}.jsonl").is_file()


def read_frames(path: Path) -> Frames:
    """Read a short clip whole: uint8 [F, H, W, 3].

    Raises:
        MediaError: the clip is missing, no video, ends early, or is too long to be one side of a pair.
    """
    with open_clip(path) as clip:
        chunks: list[Frames] = []
        for chunk in clip.chunks(64):
            chunks.append(chunk)
            if sum(map(len, chunks)) > _MOST_FRAMES:
                raise MediaError(
                    f"{path}: expected at most {_MOST_FRAMES} frames in a pair, got more: cut it into clips"
                )
        if clip.truncated is not None:
            raise MediaError(f"{path}: expected a whole clip, it ends early ({clip.truncated}): render the pair again")
    return np.concatenate(chunks)


def _row(line: str, folder: Path, where: str) -> PairRow:
    try:
        values = parse_object(line)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}") from error
    columns = ("id", "reference_video", "video", "caption")
    missing = [column for column in columns if not isinstance(values.get(column), str)]
    if missing:
        raise ConfigError(f"{where}: expected the text column {missing[0]!r}, found none: add it")
    weathers = {column: values[column] for column in WEATHER_COLUMNS if values.get(column) is not None}
    for column, weather in weathers.items():
        if not isinstance(weather, str):
            raise ConfigError(f"{where}: expected text in {column!r}, got {weather!r}: name a weather, or leave it out")
    return PairRow(
        name=values["id"],
        engine=folder / values["reference_video"],
        camera=folder / values["video"],
        caption=values["caption"],
        **weathers,
    )
