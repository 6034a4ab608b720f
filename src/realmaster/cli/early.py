"""What can be refused before a model is loaded: paths, names, an input that is no video, an output that cannot be made.

Separate because these checks need neither torch nor weights, so that a slip costs a second. They call what the library
itself calls later: nothing is decided here that a user of the Python API would miss.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from realmaster.media.encode import Codec
    from realmaster.types import ClipInfo

BESIDE_THE_OUTPUT = "beside the output"


def place_page(report: str | None, output: str, codec: Codec) -> Path | None:
    """Place the report's page: where asked, or beside the output under its name; None when no report is asked.

    A folder of images has no ending to replace: sh010.v001 gets sh010.v001.html.

    Raises:
        OutputError: the output has no name.
    """
    from realmaster.media.output import check_name

    place = check_name(output).absolute()
    if report == BESIDE_THE_OUTPUT:
        from realmaster.media.numbering import is_numbered

        if codec != "images":
            return place.with_suffix(".html")
        folder = place.parent if is_numbered(place.name) else place  # one page for all the images, beside them
        return folder.parent / f"{folder.name}.html"
    return None if report is None else Path(report)


def refuse_profile(
    name: str, *, model_dir: str | None = None, words: tuple[str, ...] = (), few_step: str | None = None
) -> dict[str, Any]:
    """Refuse a profile or a setting that does not exist, or weights that are not there; give the settings to change.

    Raises:
        ConfigError, MissingWeightsError, AdapterError: with the names there are, or with the file.
    """
    from realmaster.models.checkpoint import check_parts
    from realmaster.models.profiles import load_profile, missing_remedy, read_changes

    changes = read_changes(words)
    if few_step is not None:
        from realmaster.models.adapter_metadata import find_adapter

        find_adapter(Path(few_step))
        changes |= {"few_step.enabled": True, "few_step.lora": str(Path(few_step))}
    profile = load_profile(name, model_dir=model_dir, changes=changes)
    if profile.checkpoint.hub is not None:
        check_parts(profile.folder, profile.parts, remedy=missing_remedy(profile))
    return changes


def refuse_missing(adapter: str | None, protect: str | None) -> Path | None:
    """Refuse an adapter that is no adapter file, or a mask that cannot be opened; give the mask's path without ids.

    Raises:
        AdapterError, MediaError: with the path.
    """
    if adapter is not None:
        from realmaster.models.adapter import read_metadata

        read_metadata(Path(adapter))
    if protect is None:
        return None
    from realmaster.pipelines.protect import check_mask

    return check_mask(protect)


def refuse_clip(
    source: str,
    output: Path,
    page: Path | None,
    *,
    start_seconds: float,
    duration_seconds: float | None,
    fps: str | None,
    codec: Codec,
    overwrite: bool,
    inputs: tuple[str | Path | None, ...],
) -> ClipInfo:
    """Open the input, begin the output and drop it again: what fails at once, fails here; give what the input is.

    Raises:
        MediaError: the input is missing or no video.
        OutputError: the output or the report exists, equals an input, or cannot be made.
    """
    from realmaster.media.numbering import is_numbered
    from realmaster.media.output import check_file
    from realmaster.media.writer import ClipWriter
    from realmaster.pipelines.call import open_render, read_rate

    given = [name for name in (source, *inputs) if name is not None]
    if page is not None:
        check_file(page, overwrite=overwrite, inputs=[*given, output])
        _create_and_remove(page)
    rate = None if fps is None else read_rate(fps)
    with open_render(source, start_seconds=start_seconds, duration_seconds=duration_seconds, fps=rate) as clip:
        ClipWriter(output, clip.info, codec=codec, overwrite=overwrite, inputs=given).abort()
        info = clip.info
    is_in_a_folder_to_make = codec == "images" and is_numbered(output.name) and not output.parent.exists()
    _create_and_remove(output.parent if is_in_a_folder_to_make else output)  # an encoder makes its file with a frame
    return info


def _create_and_remove(path: Path) -> None:
    """Try whether a file can be created beside `path`, as the temporary one will be."""
    from realmaster.media.output import cannot_write, temporary_path

    trial = temporary_path(path)
    try:
        trial.touch()
        trial.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
