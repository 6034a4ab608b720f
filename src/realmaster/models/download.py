"""Fetch a profile's checkpoint from the hub, and check one that is here: revision, files, sizes, hashes.

The hub's own client does the work: it takes up a dropped connection and keeps files that are whole. Separate from
`checkpoint`, which looks at headers in milliseconds: here whole files are read. A hash is the one the hub publishes:
SHA-256 of large files, git's blob hash of small ones. The client leaves it beside every file, so that checking needs no
network.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from realmaster.errors import ConfigError, MissingWeightsError, OutputError
from realmaster.models.checkpoint import check_revision
from realmaster.models.profiles import Profile

if TYPE_CHECKING:
    from huggingface_hub import HfApi

Progress = Callable[[int, int | None], None]
SUFFIXES = (".json", ".safetensors", ".model", ".txt")  # nothing that would have to be unpickled
PARTS = ("vae", "text_encoder", "tokenizer", "processor", "scheduler")
GB = 1e9
ROOM = 0.5 * GB  # left free on the disk beside the files
CHUNK = 8 << 20


@dataclass(frozen=True)
class PublishedFile:
    """A file of a checkpoint as published; `digest` is a SHA-256 (64 characters) or git's blob hash (40)."""

    name: str
    size: int | None
    digest: str


@dataclass(frozen=True)
class Checked:
    """What was found to be as published."""

    folder: Path
    num_files: int
    num_bytes: int


def download_checkpoint(
    profile: Profile, *, model_dir: Path | None = None, api: HfApi | None = None, progress: Progress | None = None
) -> Checked:
    """Fetch what a profile needs at its revision, then check every hash.

    It goes to the hub's cache, or into the folder `model_dir`/<profile> (or REALMASTER_MODEL_DIR likewise).

    Raises:
        ConfigError: the profile's weights are part of the package.
        OutputError: the disk has no room; nothing was fetched.
        MissingWeightsError: the hub cannot be reached, has no such revision, or sent something else than it announced.
    """
    from huggingface_hub import HfApi

    hub, revision = _source(profile)
    api = api or HfApi()
    folder, into_cache = place_checkpoint(profile, model_dir)
    files = ask_hub(api, profile)
    _check_room(folder, files)
    total, done = sum(file.size or 0 for file in files), 0
    for file in files:
        with _explained(hub, revision):
            api.hf_hub_download(hub, file.name, revision=revision, local_dir=None if into_cache else folder)
        done += file.size or 0
        if progress is not None:
            progress(done, total)
    return _check_files(folder, files, progress=None)


def verify_checkpoint(
    profile: Profile,
    *,
    model_dir: Path | None = None,
    online: bool = False,
    api: HfApi | None = None,
    progress: Progress | None = None,
) -> Checked:
    """Check revision, presence, size and hash of every file of a checkpoint that is here.

    Without `online`, hashes are those that the hub's client left beside the files.

    Raises:
        ConfigError: the profile's weights are part of the package.
        MissingWeightsError: naming the first file that is missing or differs, or that nothing says what it should be.
    """
    from huggingface_hub import HfApi

    hub, revision = _source(profile)
    folder, _ = place_checkpoint(profile, model_dir)
    if not folder.is_dir():
        raise MissingWeightsError(
            f"expected the weights of {profile.name} in {folder}, found none: fetch them with "
            f"`realmaster models download {profile.name}`"
        )
    check_revision(folder, hub=hub, revision=revision)
    files = ask_hub(api or HfApi(), profile) if online else list(_recorded(profile, folder))
    return _check_files(folder, files, progress=progress)


def place_checkpoint(profile: Profile, model_dir: Path | None) -> tuple[Path, bool]:
    """Give the folder of a profile's checkpoint, and whether it is in the hub's cache."""
    if model_dir is not None:
        within = model_dir.expanduser().absolute()
        return within if (within / "model_index.json").is_file() else within / profile.name, False
    folder = profile.folder
    return folder, folder.parent.name == "snapshots"


def ask_hub(api: HfApi, profile: Profile) -> list[PublishedFile]:
    """Ask the hub which files a profile needs, with sizes and hashes.

    Raises:
        MissingWeightsError: it cannot be reached, or has no such repository, revision or files.
    """
    hub, revision = _source(profile)
    with _explained(hub, revision):
        info: Any = api.model_info(hub, revision=revision, files_metadata=True)
    if info.sha != revision:
        raise MissingWeightsError(
            f"expected revision {revision} of {hub}, the hub answered with {info.sha}: name a commit as the "
            "profile's checkpoint.revision"
        )
    files = []
    for sibling in info.siblings or ():
        digest = sibling.lfs.sha256 if sibling.lfs is not None else sibling.blob_id
        if _is_needed(profile, sibling.rfilename) and digest is not None:
            files.append(PublishedFile(sibling.rfilename, sibling.size, digest))
    _refuse_missing_parts(profile, {file.name for file in files}, f"{hub} at {revision}")
    return files


def _source(profile: Profile) -> tuple[str, str]:
    hub, revision = profile.checkpoint.hub, profile.checkpoint.revision
    if hub is None or revision is None:
        raise ConfigError(
            f"expected a profile with weights on the hub, got {profile.name!r}: its weights are in {profile.folder}, "
            "part of the package"
        )
    return hub, revision


def _is_needed(profile: Profile, name: str) -> bool:
    path = PurePosixPath(name)
    if name == "model_index.json":
        return True
    folders = {*PARTS, *profile.parts}
    return len(path.parts) == 2 and path.parts[0] in folders and path.suffix in SUFFIXES


def _refuse_missing_parts(profile: Profile, names: set[str], where: str) -> None:
    """Refuse a list of files that lacks a part."""
    have = {PurePosixPath(name).parts[0] for name in names}
    absent = [part for part in profile.parts if part not in have]
    if absent:
        raise MissingWeightsError(
            f"expected {', '.join(absent)} in {where}, found none: choose another revision (checkpoint.revision), or "
            f"fetch them with `realmaster models download {profile.name}`"
        )


def _check_room(folder: Path, files: list[PublishedFile]) -> None:
    """Refuse a disk without room for what is still to come; files that are there count as fetched.

    Raises:
        OutputError: with both figures.
    """
    missing = sum(file.size or 0 for file in files if not _is_there(folder / file.name, file))
    disk = next(place for place in (folder, *folder.parents) if place.is_dir())
    free = shutil.disk_usage(disk).free
    if missing + (ROOM if missing else 0) > free:
        raise OutputError(
            f"expected {(missing + ROOM) / GB:.1f} GB free on the disk of {folder}, got {free / GB:.1f} GB: free some, "
            "or choose another disk with --model-dir"
        )


def _is_there(path: Path, file: PublishedFile) -> bool:
    return path.is_file() and path.stat().st_size == file.size


def _recorded(profile: Profile, folder: Path) -> Iterator[PublishedFile]:
    """List the files in a folder with the hashes that the hub's client recorded: blob names, or files beside them."""
    names = [path.relative_to(folder).as_posix() for path in sorted(folder.rglob("*")) if path.is_file()]
    names = [name for name in names if _is_needed(profile, name)]
    _refuse_missing_parts(profile, set(names), str(folder))
    for name in names:
        path = folder / name
        record = folder / ".cache" / "huggingface" / "download" / f"{name}.metadata"
        if path.is_symlink() and path.resolve().parent.name == "blobs":
            yield PublishedFile(name, None, path.resolve().name)
        elif record.is_file():
            yield PublishedFile(name, None, record.read_text(encoding="utf-8").splitlines()[1].strip())
        else:
            raise MissingWeightsError(
                f"{path}: expected a record of its hash, as the hub's client leaves it, found none: check it against "
                f"the hub with `realmaster models verify {profile.name} --online`"
            )


def _check_files(folder: Path, files: list[PublishedFile], *, progress: Progress | None) -> Checked:
    """Check size and hash of every file.

    Raises:
        MissingWeightsError: naming the first that is missing or differs.
    """
    sizes = {
        file.name: (folder / file.name).stat().st_size if (folder / file.name).is_file() else None for file in files
    }
    for file in files:
        size = sizes[file.name]
        if size is None:
            raise MissingWeightsError(f"expected {folder / file.name}, found none: {_again(folder)}")
        if file.size is not None and size != file.size:
            raise MissingWeightsError(f"{folder / file.name}: expected {file.size} bytes, got {size}: {_again(folder)}")
    total, done = sum(size or 0 for size in sizes.values()), 0
    for file in files:
        found = _digest(folder / file.name, is_sha256=len(file.digest) == 64)
        if found != file.digest:
            raise MissingWeightsError(
                f"{folder / file.name}: expected the hash {file.digest}, got {found}: delete this file (and what it "
                "links to), then fetch it again with `realmaster models download`"
            )
        done += sizes[file.name] or 0
        if progress is not None:
            progress(done, total)
    return Checked(folder, len(files), total)


def _again(folder: Path) -> str:
    return f"fetch it again with `realmaster models download`, into {folder}"


def _digest(path: Path, *, is_sha256: bool) -> str:
    """Hash a file as the hub does: SHA-256 of the bytes, or git's hash of a blob."""
    blob = b"blob %d\0" % path.stat().st_size
    state = hashlib.sha256() if is_sha256 else hashlib.sha1(blob, usedforsecurity=False)
    with path.open("rb") as stream:
        while chunk := stream.read(CHUNK):
            state.update(chunk)
    return state.hexdigest()


@contextmanager
def _explained(hub: str, revision: str) -> Iterator[None]:
    """Turn the hub client's errors into one line of ours; what the disk says passes through."""
    from huggingface_hub import errors

    where = f"{hub} at revision {revision}"
    try:
        yield
    except errors.GatedRepoError as error:
        raise MissingWeightsError(
            f"{where}: the hub asks for an account: accept its terms there, then log in with `hf auth login`"
        ) from error
    except errors.RevisionNotFoundError as error:
        raise MissingWeightsError(
            f"expected {where}, the hub has no such revision: correct checkpoint.revision"
        ) from error
    except errors.RepositoryNotFoundError as error:
        raise MissingWeightsError(
            f"expected {where}, the hub has no such repository: correct checkpoint.hub, or log in"
        ) from error
    except errors.OfflineModeIsEnabled as error:
        raise MissingWeightsError(
            f"expected the network for {where}, HF_HUB_OFFLINE is set: unset it, or bring the files on a disk"
        ) from error
    except Exception as error:
        on_disk = isinstance(error, OSError) and error.errno is not None and not isinstance(error, ConnectionError)
        network = isinstance(error, OSError | errors.HfHubHTTPError) or "httpx" in type(error).__module__
        if on_disk or not network:
            raise
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise MissingWeightsError(
            f"could not fetch {where} ({reason}): check the network and run again, files that are whole stay"
        ) from error
