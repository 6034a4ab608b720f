"""Fetching and checking weights, against a small hub on this machine that speaks the real one's protocol."""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import huggingface_hub
import pytest
from huggingface_hub import HfApi

from realmaster.errors import ConfigError, MissingWeightsError, OutputError
from realmaster.models.download import download_checkpoint, verify_checkpoint
from realmaster.models.profiles import Profile, load_profile

HUB, REVISION = "Wan-AI/Wan2.1-T2V-1.3B-Diffusers", "0fad780a534b6463e45facd96134c9f345acfa5b"
LARGE = "transformer/diffusion_pytorch_model.safetensors"
FILES = {
    "model_index.json": b'{"_class_name": "WanPipeline"}',
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": b"v" * 3000,
    "text_encoder/config.json": b"{}",
    "text_encoder/model.safetensors": b"t" * 3000,
    "tokenizer/spiece.model": b"words",
    "transformer/config.json": b"{}",
    LARGE: bytes(range(256)) * 40,
    "transformer/old.bin": b"pickled",
    "README.md": b"# not needed",
    "assets/demo/logo.json": b"{}",
}


def digest(name: str, data: bytes) -> str:
    if name.endswith((".safetensors", ".bin")):
        return hashlib.sha256(data).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub(BaseHTTPRequestHandler):
    """Answers what `huggingface_hub` asks: the list of files with hashes, a file's head, a file or the rest of one."""

    files: dict[str, bytes]
    sent: dict[str, int]
    breaks: dict[str, int]
    announced: dict[str, str]

    def do_GET(self) -> None:
        path = urlparse(self.path).path
        if path.startswith("/api/models/"):
            if path == f"/api/models/{HUB}/revision/{REVISION}":
                self.answer_list()
            else:
                self.refuse()
        else:
            self.answer_file(body=True)

    def do_HEAD(self) -> None:
        self.answer_file(body=False)

    def answer_list(self) -> None:
        siblings = []
        for name, data in self.files.items():
            entry: dict[str, Any] = {"rfilename": name, "size": len(data), "blobId": digest("x", data)}
            if name.endswith((".safetensors", ".bin")):
                sha256 = self.announced.get(name, digest(name, data))
                entry["lfs"] = {"sha256": sha256, "size": len(data), "pointerSize": 134}
            siblings.append(entry)
        about = {"private": False, "downloads": 0, "likes": 0, "tags": []}
        body = json.dumps({"id": HUB, "sha": REVISION, "siblings": siblings, **about}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def refuse(self) -> None:
        self.send_response(404)
        self.send_header("X-Error-Code", "RevisionNotFound" if HUB in self.path else "RepoNotFound")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer_file(self, *, body: bool) -> None:
        prefix = f"/{HUB}/resolve/{REVISION}/"
        path = urlparse(self.path).path
        name = path.removeprefix(prefix)
        if not path.startswith(prefix) or name not in self.files:
            self.refuse()
            return
        data = self.files[name]
        start = int(self.headers["Range"].removeprefix("bytes=").split("-")[0]) if "Range" in self.headers else 0
        self.send_response(206 if start else 200)
        self.send_header("X-Repo-Commit", REVISION)
        self.send_header("ETag", f'"{digest(name, data)}"')
        self.send_header("Accept-Ranges", "bytes")
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if not body:
            return
        rest = data[start:]
        if self.breaks.get(name, 0) > 0:
            self.breaks[name] -= 1
            rest = rest[: len(rest) // 2]
            self.close_connection = True
        self.sent[name] = self.sent.get(name, 0) + len(rest)
        self.wfile.write(rest)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[Hub]]:
    """The hub, running; the client's cache is in a folder of the test."""
    handler = type("TestHub", (Hub,), {"files": dict(FILES), "sent": {}, "breaks": {}, "announced": {}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.delenv("REALMASTER_MODEL_DIR", raising=False)
    handler.api = HfApi(endpoint=f"http://127.0.0.1:{server.server_port}", token=False)
    yield handler
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def profile() -> Profile:
    return load_profile("wan2.1-1.3b")


def test_what_a_profile_needs_arrives_in_the_hub_s_cache_and_nothing_else(hub: Any, profile: Profile) -> None:
    seen: list[tuple[int, int | None]] = []
    checked = download_checkpoint(profile, api=hub.api, progress=lambda done, total: seen.append((done, total)))
    assert checked.folder == profile.folder
    there = {path.relative_to(checked.folder).as_posix() for path in checked.folder.rglob("*") if path.is_file()}
    assert there == set(FILES) - {"transformer/old.bin", "README.md", "assets/demo/logo.json"}
    assert (checked.folder / LARGE).read_bytes() == FILES[LARGE]
    assert checked.num_files == 8
    assert seen[-1] == (checked.num_bytes, checked.num_bytes)
    assert verify_checkpoint(profile) == checked  # by the cache's own names of blobs: no hub is asked


def test_a_folder_of_one_s_own_is_filled_and_checked_likewise(hub: Any, profile: Profile, tmp_path: Path) -> None:
    checked = download_checkpoint(profile, model_dir=tmp_path / "weights", api=hub.api)
    assert checked.folder == tmp_path / "weights" / "wan2.1-1.3b"
    assert verify_checkpoint(profile, model_dir=tmp_path / "weights") == checked
    assert verify_checkpoint(profile, model_dir=checked.folder, online=True, api=hub.api) == checked
    again = dict(hub.sent)
    download_checkpoint(profile, model_dir=tmp_path / "weights", api=hub.api)
    assert hub.sent == again  # what is there is not sent again


def test_a_dropped_connection_is_taken_up_at_the_byte_where_it_dropped(
    hub: Any, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    monkeypatch.setattr(huggingface_hub.constants, "DOWNLOAD_CHUNK_SIZE", 64)
    hub.breaks[LARGE] = 3
    download_checkpoint(profile, model_dir=tmp_path, api=hub.api)
    assert hub.sent[LARGE] == len(FILES[LARGE])


def test_a_download_that_failed_goes_on_with_the_files_that_are_missing(
    hub: Any, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.file_download.time.sleep", lambda _: None)
    hub.breaks[LARGE] = 100
    with pytest.raises(MissingWeightsError, match="run again, files that are whole stay"):
        download_checkpoint(profile, model_dir=tmp_path, api=hub.api)
    hub.breaks.clear()
    hub.sent.clear()
    download_checkpoint(profile, model_dir=tmp_path, api=hub.api)
    assert hub.sent[LARGE] == len(FILES[LARGE])
    assert "vae/diffusion_pytorch_model.safetensors" not in hub.sent


def test_a_file_with_another_hash_than_announced_is_named(hub: Any, profile: Profile, tmp_path: Path) -> None:
    hub.announced[LARGE] = "0" * 64
    with pytest.raises(MissingWeightsError, match=f"{LARGE}: expected the hash 0000"):
        download_checkpoint(profile, model_dir=tmp_path, api=hub.api)


@pytest.mark.parametrize("damage", ["flip", "cut", "remove"])
def test_damage_is_found_and_named(hub: Any, profile: Profile, tmp_path: Path, damage: str) -> None:
    folder = download_checkpoint(profile, model_dir=tmp_path, api=hub.api).folder
    file = folder / LARGE
    data = bytearray(file.read_bytes())
    if damage == "flip":
        data[100] ^= 1
        file.write_bytes(data)
    elif damage == "cut":
        file.write_bytes(data[:-1])
    else:
        shutil.rmtree(file.parent)
    with pytest.raises(MissingWeightsError, match="transformer"):
        verify_checkpoint(profile, model_dir=tmp_path)
    with pytest.raises(MissingWeightsError, match="transformer/"):
        verify_checkpoint(profile, model_dir=tmp_path, online=True, api=hub.api)


def test_a_full_disk_is_refused_before_the_first_byte(
    hub: Any, profile: Profile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(OutputError, match=r"expected 0\.5 GB free .* got 0\.0 GB"):
        download_checkpoint(profile, model_dir=tmp_path, api=hub.api)
    assert hub.sent == {}


def test_a_revision_that_the_hub_does_not_have_is_refused(hub: Any, profile: Profile) -> None:
    other = profile.change({"checkpoint.revision": "f" * 40})
    with pytest.raises(MissingWeightsError, match=r"no such revision: correct checkpoint\.revision"):
        download_checkpoint(other, api=hub.api)


def test_a_repository_that_the_hub_does_not_have_is_refused(hub: Any, profile: Profile) -> None:
    other = profile.change({"checkpoint.hub": "someone/else"})
    with pytest.raises(MissingWeightsError, match="no such repository"):
        download_checkpoint(other, api=hub.api)


def test_weights_of_another_revision_are_refused(hub: Any, profile: Profile, tmp_path: Path) -> None:
    download_checkpoint(profile, model_dir=tmp_path, api=hub.api)
    other = profile.change({"checkpoint.revision": "f" * 40})
    with pytest.raises(MissingWeightsError, match=f"expected revision f.*got {REVISION}"):
        verify_checkpoint(other, model_dir=tmp_path)


def test_a_checkpoint_that_lacks_a_part_is_refused(hub: Any, profile: Profile) -> None:
    for name in [name for name in hub.files if name.startswith("vae/")]:
        del hub.files[name]
    with pytest.raises(MissingWeightsError, match="expected vae in"):
        download_checkpoint(profile, api=hub.api)


def test_offline_says_what_to_do(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="HF_HUB_OFFLINE is set: unset it"):
        download_checkpoint(profile, model_dir=tmp_path)
    with pytest.raises(MissingWeightsError, match=r"realmaster models download wan2\.1"):
        verify_checkpoint(profile, model_dir=tmp_path)


def test_a_hub_that_does_not_answer_is_one_line(profile: Profile, hub: Any, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError, match="check the network"):
        download_checkpoint(profile, model_dir=tmp_path, api=HfApi(endpoint="http://127.0.0.1:9", token=False))


def test_files_without_a_record_are_checked_against_the_hub_only(hub: Any, profile: Profile, tmp_path: Path) -> None:
    folder = download_checkpoint(profile, model_dir=tmp_path, api=hub.api).folder
    shutil.rmtree(folder / ".cache")
    with pytest.raises(MissingWeightsError, match="--online"):
        verify_checkpoint(profile, model_dir=tmp_path)
    assert verify_checkpoint(profile, model_dir=tmp_path, online=True, api=hub.api).num_files == 8


def test_nano_is_part_of_the_package() -> None:
    with pytest.raises(ConfigError, match="part of the package"):
        download_checkpoint(load_profile("nano"))
