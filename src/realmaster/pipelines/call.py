"""What a call asks for: checked, and laid over the profile's settings.

Separate because it needs no model: what contradicts itself is refused before anything is loaded or read.
"""

from __future__ import annotations

import operator
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from fractions import Fraction
from numbers import Real
from pathlib import Path
from threading import Lock, get_ident
from typing import Any

import numpy as np
import numpy.typing as npt

from realmaster.errors import ConfigError, MediaError
from realmaster.media.encode import Codec
from realmaster.media.reader import ClipReader, open_clip
from realmaster.media.sequences import SequenceReader
from realmaster.media.writer import ClipWriter
from realmaster.models.machine import check_device
from realmaster.models.profiles import Profile, SamplingSettings
from realmaster.pipelines.protect import Mask, open_mask, split_ids
from realmaster.types import ClipInfo

MAX_PROMPT_CHARACTERS = 2000  # text encoders read 512 tokens at most; more would be cut silently
MAX_SEED = 2**63 - 1
MAX_RATE = 1000
_NTSC = (24, 30, 48, 60, 120)  # times 1000/1001, and written 23.976, 29.97, ...


def check_prompt(name: str, text: str) -> None:
    """Refuse a prompt that is no text, no Unicode or too long, by the name that the caller knows it by.

    Raises:
        ConfigError: with its length, or the character.
    """
    if not isinstance(text, str):
        raise ConfigError(f"expected {name} as text, got {shown(text)}: write '' for none")
    if len(text) > MAX_PROMPT_CHARACTERS:
        raise ConfigError(f"expected {name} of at most {MAX_PROMPT_CHARACTERS} characters, got {len(text)}: shorten it")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a character, or a byte of the command line that is no UTF-8
        raise ConfigError(
            f"expected {name} as Unicode text, got {text[error.start]!r} as character {error.start + 1}: write it in "
            "UTF-8"
        ) from error


def check_call(*, prompt: str, negative_prompt: str | None, seed: Any, strength: Any) -> tuple[int, float]:
    """Refuse what a call asks for out of bounds; give seed and strength as Python's own numbers.

    Raises:
        ConfigError: with the value.
    """
    check_prompt("prompt", prompt)
    if negative_prompt is not None:
        check_prompt("negative_prompt", negative_prompt)
    try:
        number = operator.index(seed)
    except TypeError:
        number = -1
    if not 0 <= number <= MAX_SEED:
        raise ConfigError(f"expected a seed as a whole number from 0 to 2^63 - 1, got {shown(seed)}: give another")
    is_number = isinstance(strength, Real)
    if not is_number or not 0 <= strength <= 1:
        raise ConfigError(
            f"expected a strength from 0 to 1, got {shown(strength)}: 0 keeps the render, 1 translates fully"
        )
    return number, float(strength)


def check_paths(*, optional: bool = False, **paths: Any) -> None:
    """Refuse what is no path, or an empty one, by the name of its argument; an optional one may be None.

    Raises:
        ConfigError: with its kind.
    """
    for name, value in paths.items():
        if not (isinstance(value, str | os.PathLike) or (optional and value is None)):
            raise ConfigError(f"expected {name} as a path, got {shown(value)}: give the name of a file or folder")
        if value == "":  # which Path reads as the current folder
            raise ConfigError(f"expected {name} as a path, got an empty one: give the name of a file or folder")


def check_models(name: Any, *, adapter: Any, device: Any, model_dir: Any, changes: Any) -> None:
    """Refuse what cannot choose a profile's models, by its kind, and a device that is not here.

    Raises:
        ConfigError: with what came.
    """
    if not isinstance(name, str):
        check_paths(name=name)
    check_paths(optional=True, adapter=adapter, model_dir=model_dir)
    if device is not None and not isinstance(device, str):
        raise ConfigError(f'expected device as text, got {shown(device)}: write "cpu" or "cuda:0"')
    if changes is not None and not (isinstance(changes, Mapping) and all(isinstance(key, str) for key in changes)):
        raise ConfigError(
            f"expected changes as settings by their names, got {shown(changes)}: "
            'write {"sampling.num_inference_steps": 4}, say'
        )
    if device is not None:
        check_device(device)


def check_seconds(start_seconds: Any, duration_seconds: Any) -> tuple[float, float | None]:
    """Refuse a stretch that is no numbers; give them as Python's own. Their bounds are the reader's.

    Raises:
        ConfigError: with the value, or that it is beyond Python's own.
    """
    for name, value in (("start_seconds", start_seconds), ("duration_seconds", duration_seconds)):
        if not isinstance(value, Real) and (name == "start_seconds" or value is not None):
            raise ConfigError(f"expected {name} as a number of seconds, got {shown(value)}: write 0.1, say")
    try:
        return float(start_seconds), None if duration_seconds is None else float(duration_seconds)
    except OverflowError as error:
        raise ConfigError(
            "expected start_seconds and duration_seconds as numbers of seconds, got one beyond 1e308: correct it"
        ) from error


def read_rate(rate: Any) -> Fraction:
    """Read a frame rate: 24, 24000/1001, or 23.976, by which that is meant.

    Raises:
        ConfigError: it is no number above 0 and up to 1000.
    """
    try:
        if isinstance(rate, bool) or not isinstance(rate, str | Real):
            raise ValueError
        written = str(rate).strip()
        exact = Fraction(rate) if isinstance(rate, Fraction) else Fraction(written)
    except (ValueError, ZeroDivisionError):
        exact = Fraction(0)
    if not 0 < exact <= MAX_RATE:
        raise ConfigError(
            f"expected a frame rate above 0 and up to {MAX_RATE}, got {shown(rate)}: write 24, 23.976 or 24000/1001"
        )
    for whole in _NTSC if exact.denominator > 1 else ():
        ntsc = Fraction(whole * 1000, 1001)
        if exact in (round(ntsc, 2), round(ntsc, 3)) or abs(exact - ntsc) < Fraction(1, 10**9):
            return ntsc
    return exact


def open_render(
    clip: str | Path, *, start_seconds: float, duration_seconds: float | None, fps: Fraction | None
) -> ClipReader:
    """Open the clip to translate; images have the rate `fps`.

    Raises:
        MediaError: it cannot be read, or a rate is given for a video, which has its own.
    """
    reader = open_clip(clip, start_seconds=start_seconds, duration_seconds=duration_seconds, image_rate=fps)
    if fps is not None and not isinstance(reader, SequenceReader):
        reader.close()
        raise MediaError(
            f"{clip}: expected images to give a frame rate (fps), got a video, which has its own: leave it out"
        )
    return reader


def masks_of_call(protect: str | Path, info: ClipInfo, start_seconds: float) -> Mask:
    """Open what stays as rendered, along with the clip.

    Raises:
        MediaError: it cannot be read.
    """
    size = {"width": info.width, "height": info.height}
    return open_mask(protect, **size, frame_rate=info.frame_rate, start_seconds=start_seconds)


def open_output(
    output: str | Path, codec: Codec, overwrite: bool,
    clip: str | Path, reader: ClipReader, protect: str | Path | None, start_seconds: float,
) -> ClipWriter:  # fmt: skip
    """Begin the output of a clip, which keeps its sound and tags, or its images' numbers.

    Raises:
        OutputError: see `realmaster.media.writer.ClipWriter`.
    """
    return ClipWriter(
        output,
        reader.info,
        codec=codec,
        audio_from=clip if reader.info.has_audio else None,
        tags_from=None if isinstance(reader, SequenceReader) else clip,
        audio_start_seconds=start_seconds,
        overwrite=overwrite,
        inputs=() if protect is None else (split_ids(protect)[0],),
        numbers=reader.numbers,
    )


def warnings_of_render(reader: ClipReader, *, codec: str) -> tuple[str, ...]:
    """Give the reader's warnings; that a rate was assumed is told with its remedy, and not where images come out."""
    told = [warning for warning in reader.warnings if warning != reader.rate_warning]
    if reader.rate_warning is not None and codec != "images":
        told.insert(0, f"{reader.rate_warning}; give another by --fps (in Python fps=)")
    return tuple(told)


def shown(value: Any) -> str:
    """Write a value for an error's line; of what is long, an array say, only its kind."""
    try:
        text = repr(value)
    except ValueError:  # a whole number of more digits than Python writes
        return type(value).__name__
    return text if len(text) <= 60 and "\n" not in text else type(value).__name__


class OneAtATime:
    """Lets one translation run at a time: another thread waits, the same one is refused."""

    def __init__(self) -> None:
        """Begin with none running."""
        self._lock, self._owner = Lock(), 0

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait for the turn, and hold it for a block.

        Raises:
            ConfigError: this thread holds it already.
        """
        if self._owner == get_ident():
            raise ConfigError(
                "expected the translation that is running to end first, got another one from within it (from its "
                "progress, say): start it afterwards, or load a second Translator"
            )
        with self._lock:
            self._owner = get_ident()
            try:
                yield
            finally:
                self._owner = 0


def check_frames(frames: npt.NDArray[np.uint8]) -> None:
    """Refuse frames that are no uint8 [F, H, W, 3].

    Raises:
        ConfigError: with their kind and shape.
    """
    shape, kind = getattr(frames, "shape", None), getattr(frames, "dtype", type(frames).__name__)
    if shape is None or kind != np.uint8 or len(shape) != 4 or shape[3] != 3 or 0 in shape:
        raise ConfigError(
            f"expected at least one frame as uint8 [F, H, W, 3], got {kind} {list(shape or ())}: convert them"
        )


def warnings_of_call(sampling: SamplingSettings, negative_prompt: str | None) -> tuple[str, ...]:
    """Name the settings of a call that have no effect."""
    if negative_prompt and sampling.guidance_scale == 1 and sampling.guidance_scale_2 in (None, 1):
        return ("the negative prompt has no effect at guidance scale 1: raise it to 3, say",)
    return ()


def settings_of_sampling(sampling: SamplingSettings) -> dict[str, Any]:
    """Give the settings of a call that can be asked for again, without those that are absent."""
    names = ("negative_prompt", "num_inference_steps", "guidance_scale", "guidance_scale_2")
    return {name: getattr(sampling, name) for name in names if getattr(sampling, name) is not None}


def sampling_of_call(
    profile: Profile,
    num_inference_steps: int | None,
    guidance_scale: float | None,
    guidance_scale_2: float | None,
    negative_prompt: str | None,
) -> SamplingSettings:
    """Give the settings of a call; None takes the profile's. One guidance scale is meant for both experts.

    Raises:
        ConfigError: a value is out of bounds, or a scale is given that nothing would use.
    """
    asked = {
        "num_inference_steps": num_inference_steps,
        "guidance_scale": guidance_scale,
        "guidance_scale_2": guidance_scale_2,
        "negative_prompt": negative_prompt,
    }
    base = profile.effective_sampling
    if guidance_scale_2 is not None and base.boundary is None:
        raise ConfigError(
            f"expected one guidance scale for {profile.name}, which has one transformer, got a second: leave it out"
        )
    guided = any(scale not in (None, 1) for scale in (guidance_scale, guidance_scale_2))
    if profile.few_step.enabled and guided:
        raise ConfigError(
            "expected few-step sampling without guidance, as it was distilled, got a guidance scale: leave it out"
        )
    values = base.model_dump() | {name: value for name, value in asked.items() if value is not None}
    if guidance_scale is not None and guidance_scale_2 is None:
        values["guidance_scale_2"] = None
    return SamplingSettings.from_mapping(values, source="the settings of this call")
