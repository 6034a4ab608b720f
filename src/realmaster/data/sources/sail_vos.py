"""SAIL-VOS and SAIL-VOS 3D as they lie on disk: what the paper's clips are sampled from (GTA-V at 8 frames a second).

    <root>/<video>/images/<number>.bmp        the frames, 1280x800; alpha holds nothing to be seen
    <root>/<video>/visible/<number>.npy       instance numbers of what is visible
    <root>/<video>/depth/<number>.npy         3D release: depth of the device, times 6 with an offset
    <root>/<video>/rage_matrices/<number>.npz 3D release: P_inv, which makes metres of it
    <root>/train_list.txt, val_list.txt       a video a line; other names by the options train_list, validation_list

Numbers have 6 digits in the first release, 18 in the 3D release. Layout and depth as mvsanywhere and map-anything
read them. Separate because only here those numbers mean what they mean.
"""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np

from realmaster.data.sources.image_folders import (
    FolderSource,
    FolderVideo,
    by_number,
    numbered,
    read_opaque,
    whole_passes,
)
from realmaster.data.sources.source import Plane, SailVosOptions, SourceSettings, Split
from realmaster.errors import MediaError

FRAME_RATE = 8
_LISTS: dict[Split, tuple[str, ...]] = {
    "train": ("train_list.txt", "train_videos.txt", "train.txt"),
    "validation": ("val_list.txt", "val_videos.txt", "val.txt"),
}
_DEPTH_SCALE, _DEPTH_OFFSET = 6.0, 4e-5
_SKY = _DEPTH_SCALE * _DEPTH_OFFSET


def open_source(settings: SourceSettings) -> FolderSource:
    """Open a copy of the dataset; videos without images are passed over, and this is said.

    Raises:
        MediaError: the folder is laid out otherwise, or a list names no video that is there.
        ConfigError: an option is unknown.
    """
    options = SailVosOptions.from_mapping(settings.options, source=f"source {settings.label}: options")
    root = Path(settings.path)
    if not root.is_dir():
        raise MediaError(f"{root}: expected the folder of SAIL-VOS, found none: check the path")
    folders = sorted(folder for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))
    images = {folder: numbered(list((folder / "images").glob("[!.]*.bmp"))) for folder in folders}
    images = {folder: files for folder, files in images.items() if files}
    if not images:
        raise MediaError(
            f"{root}: expected SAIL-VOS, looked for VIDEO/images/*.bmp in {len(folders)} folders, found none: name the "
            "folder that holds the videos' folders"
        )
    notes = []
    if len(images) < len(folders):
        notes.append(f"{root}: {len(folders) - len(images)} folders have no images/*.bmp and were passed over")
    splits = _splits(root, options)
    if splits and not {folder.name for folder in images} & set(splits):
        raise MediaError(f"{root}: expected videos that the lists name, found none of {len(splits)}: check the lists")
    rate = Fraction(settings.frame_rate or FRAME_RATE)
    videos = [
        FolderVideo(
            folder.name,
            tuple(files),
            rate,
            passes=_passes(folder, files, notes),
            split=settings.split or splits.get(folder.name),
            caption=settings.caption,
        )
        for folder, files in images.items()
        if not splits or settings.split is not None or folder.name in splits
    ]
    readers = {"depth": read_depth, "instances": read_instances}
    return FolderSource(videos, readers, read=read_opaque, notes=notes)


def read_depth(path: Path) -> Plane:
    """Read depth in metres, float32 [H, W], infinite in the sky; the matrix lies beside it.

    Raises:
        MediaError: one of the two files is missing or no array.
    """
    stored = _array(path).astype(np.float64)
    matrices = _array(path.parent.parent / "rage_matrices" / f"{path.stem}.npz", "P_inv").astype(np.float64)
    height, width = stored.shape
    device = np.empty((height, width, 4))
    device[..., 0] = np.linspace(-1, 1, width)[None, :]
    device[..., 1] = np.linspace(1, -1, height)[:, None]
    device[..., 2] = stored / _DEPTH_SCALE - _DEPTH_OFFSET
    device[..., 3] = 1
    camera = device @ matrices
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = -camera[..., 2] / camera[..., 3]
    metres[np.isclose(stored, _SKY, rtol=0, atol=1e-9) | ~np.isfinite(metres)] = np.inf
    return metres.astype(np.float32)


def read_instances(path: Path) -> Plane:
    """Read instance numbers, whole numbers [H, W].

    Raises:
        MediaError: the file is missing or no array.
    """
    return _array(path)


def _passes(folder: Path, images: list[Path], notes: list[str]) -> dict[str, tuple[Path, ...]]:
    depth = by_number(list((folder / "depth").glob("*.npy")))
    matrices = by_number(list((folder / "rage_matrices").glob("*.npz")))
    candidates = {
        "depth": {number: file for number, file in depth.items() if number in matrices},
        "instances": by_number(list((folder / "visible").glob("*.npy"))),
    }
    return whole_passes(images, candidates, folder.name, notes)


def _splits(root: Path, options: SailVosOptions) -> dict[str, Split]:
    """Read which video is for what; empty where there are no lists."""
    named: dict[Split, str | None] = {"train": options.train_list, "validation": options.validation_list}
    splits: dict[str, Split] = {}
    for split, name in named.items():
        files = [Path(name)] if name is not None else [root / usual for usual in _LISTS[split]]
        file = next((file for file in files if file.is_file()), None)
        if file is None:
            if name is not None:
                raise MediaError(f"{name}: expected a list of videos, a name a line, found none: check the path")
            continue
        for line in file.read_text(encoding="utf-8").split():
            if splits.setdefault(Path(line).name, split) != split:
                raise MediaError(f"{file}: expected videos of one list only, {line} is in both: remove it from one")
    return splits


def _array(path: Path, key: str | None = None) -> Plane:
    try:
        loaded = np.load(path, allow_pickle=False)
        array = loaded if key is None else loaded[key]
    except (OSError, ValueError, KeyError, EOFError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise MediaError(f"{path}: expected an array of SAIL-VOS, could not read it ({reason}): restore it") from error
    return np.asarray(array)
