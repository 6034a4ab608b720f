"""Video files as a source: one file, a folder of them, a pattern; or the renders that a manifest of pairs names.

Separate from the image folders because time and size come from the container here. A caption may stand beside a video,
in a text file of the same name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from realmaster.data.manifest import read_manifest
from realmaster.data.sources.source import Frame, Plane, SourceSettings, SourceVideo, is_pair_set
from realmaster.errors import ConfigError, MediaError
from realmaster.media.reader import open_clip

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")


@dataclass(frozen=True)
class _File:
    path: Path
    caption: str | None = None  # None: in a text file beside it, perhaps


class VideoSource:
    """Video files by name."""

    def __init__(self, files: dict[str, _File], settings: SourceSettings) -> None:
        """Take the files by the names of their videos."""
        self._files, self._settings = files, settings
        self.unusable: dict[str, str] = {}
        self._rates: dict[str, Fraction] = {}  # a probe reads every packet: once a file is enough

    def videos(self) -> list[SourceVideo]:
        """Give the videos by name; each file's packets are read for its length. Those that cannot be are `unusable`."""
        found, self.unusable = [], {}
        for name, file in sorted(self._files.items()):
            try:
                found.append(self._describe(name, file))
            except MediaError as error:
                self.unusable[name] = str(error)
        return found

    def frames(self, video: str, first: int, count: int) -> Iterator[Frame]:
        """Give frames, uint8 [H, W, 3] each.

        Raises:
            MediaError: the file cannot be read, or ends early.
        """
        file = self._file(video)
        rate = self._rate(video, file)
        with open_clip(file, start_seconds=first / rate, image_rate=self._image_rate) as clip:
            left = count
            for chunk in clip.chunks(8):
                yield from chunk[:left]
                left -= min(left, len(chunk))
                if left == 0:
                    return
            reason = f" ({clip.truncated})" if clip.truncated else ""
        raise MediaError(
            f"{file}: expected {count} frames from frame {first} on, {left} are missing{reason}: export the video again"
        )

    def read_pass(self, video: str, name: str, first: int, count: int) -> Iterator[Plane]:
        """Refuse: a video file holds its picture alone."""
        raise MediaError(
            f"{self._file(video)}: expected the pass {name!r}, a video file holds none: choose another control, or a "
            "source with passes"
        )

    @property
    def _image_rate(self) -> Fraction | None:
        rate = self._settings.frame_rate
        return None if rate is None else Fraction(rate)

    def _file(self, video: str) -> Path:
        try:
            return self._files[video].path
        except KeyError as error:
            raise MediaError(f"expected the video {video} in its source, found none: restore its file") from error

    def _rate(self, video: str, file: Path) -> Fraction:
        if video not in self._rates:
            with open_clip(file, image_rate=self._image_rate) as clip:
                self._rates[video] = clip.info.frame_rate
        return self._rates[video]

    def _describe(self, name: str, file: _File) -> SourceVideo:
        caption = _caption_beside(file.path) if file.caption is None else file.caption
        with open_clip(file.path, image_rate=self._image_rate) as clip:
            info = clip.info
            num_frames = info.num_frames
            if num_frames is None:  # the container does not say
                num_frames = sum(len(chunk) for chunk in clip.chunks(16))
        self._rates[name] = info.frame_rate
        return SourceVideo(
            name,
            num_frames,
            info.frame_rate,
            info.height,
            info.width,
            split=self._settings.split,
            caption=self._settings.caption if caption is None else caption,
        )


def open_videos(settings: SourceSettings) -> VideoSource:
    """Open a video file, all videos in a folder and below, or those that a pattern names ("footage/*/engine.mp4").

    Raises:
        MediaError: there is none. ConfigError: an option is given, there are none.
    """
    _no_options(settings)
    path = Path(settings.path)
    if path.is_file():
        return VideoSource({path.stem: _File(path)}, settings)
    if path.is_dir():
        root, files = path, [file for file in path.rglob("*") if _is_video(file) and not _is_made(file, path)]
        looked_for = f"files ending in {', '.join(VIDEOS)}"
    else:
        fixed = next((i for i, part in enumerate(path.parts) if set("*?[") & set(part)), None)
        if fixed is None:
            raise MediaError(
                f"{path}: expected a video, a folder of videos or a pattern, found nothing there: check it"
            )
        root = Path(*path.parts[:fixed])
        files = [file for file in root.glob(str(Path(*path.parts[fixed:]))) if _is_video(file)]
        looked_for = "videos by this pattern"
    if not files:
        raise MediaError(f"{path}: expected footage, looked for {looked_for}, found none: check the path")
    return VideoSource({name: _File(file) for name, file in _named(root, files).items()}, settings)


def open_manifest(settings: SourceSettings) -> VideoSource:
    """Open the renders that a manifest of pairs names as references, with their captions; each file once.

    Raises:
        DataError: it is no manifest. ConfigError: an option is given, there are none.
    """
    _no_options(settings)
    files: dict[Path, str] = {}
    for row in read_manifest(settings.path):
        files.setdefault(row.reference_video, row.caption)
    root = Path(settings.path) if Path(settings.path).is_dir() else Path(settings.path).parent
    return VideoSource({name: _File(file, files[file]) for name, file in _named(root, list(files)).items()}, settings)


def _is_video(file: Path) -> bool:
    return file.suffix.lower() in VIDEOS and not file.name.startswith(".") and file.is_file()


def _is_made(file: Path, root: Path) -> bool:
    """Say whether a file lies in a set of pairs below the folder of the footage."""
    return any(is_pair_set(folder) for folder in file.parents if folder.is_relative_to(root) and folder != root)


def _named(root: Path, files: Sequence[Path]) -> dict[str, Path]:
    """Name videos by their paths without the ending, and with it where two would be called alike."""
    names: dict[Path, Path] = {}
    for file in sorted(files):
        names[file] = file.relative_to(root) if file.is_relative_to(root) else Path(*file.parts[-2:])
    count = Counter(name.with_suffix("") for name in names.values())
    return {
        (name if count[name.with_suffix("")] > 1 else name.with_suffix("")).as_posix(): file
        for file, name in names.items()
    }


def _caption_beside(file: Path) -> str | None:
    text = file.with_suffix(".txt")
    try:
        return text.read_text(encoding="utf-8").strip() if text.is_file() else None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "not UTF-8"
        raise MediaError(f"{text}: expected a caption as UTF-8 text, could not read it ({reason}): mend it") from error


def _no_options(settings: SourceSettings) -> None:
    if settings.options:
        names = ", ".join(settings.options)
        raise ConfigError(
            f"source {settings.label}: options: expected none for {settings.kind}, got {names}: remove them"
        )
