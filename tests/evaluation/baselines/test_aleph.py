"""Runway Aleph against a local server that speaks the vendor's protocol, through the vendor's own package."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from fractions import Fraction
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from realmaster.errors import MissingExtraError, RealMasterError
from realmaster.evaluation.baselines import aleph
from realmaster.evaluation.baselines.baseline import RenderedClip
from realmaster.evaluation.baselines.registry import make_baseline
from realmaster.types import ClipInfo
from sample_clips import frames_of, scene, write_clip

pytest.importorskip("runwayml", reason="needs the package runwayml")
KEY = "key-that-must-stay-secret"


class Runway(ThreadingHTTPServer):
    """Uploads, one task after another, results; `wrong` says what goes wrong."""

    def __init__(self, result: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.result, self.wrong = result, ""
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.uploads: list[bytes] = []
        self.polls = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    server: Runway

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.path == "/bucket":
            assert self.headers["Authorization"] is None  # the key goes to the API alone
            self.server.uploads.append(body)
            return self._say(204, None)
        assert self.headers["Authorization"] == f"Bearer {KEY}"
        assert self.headers["X-Runway-Version"]
        self.server.asked.append((self.path, json.loads(body)))
        if self.path == "/v1/uploads":
            fields = {"key": "a/b", "policy": "p"}
            return self._say(
                200, {"uploadUrl": f"{self.server.address}/bucket", "runwayUri": "runway://one", "fields": fields}
            )
        refusals = {"key": 401, "limit": 429, "prompt": 400}
        if self.server.wrong in refusals:
            return self._say(refusals[self.server.wrong], {"error": f"no: {self.server.wrong}"})
        return self._say(200, {"id": "task-1"})

    def do_GET(self) -> None:
        if self.path == "/result.mp4":
            if self.server.wrong == "result":
                return self._say(404, {"error": "gone"})
            return self._send(200, "video/mp4", self.server.result.read_bytes())
        self.server.polls += 1
        task: dict[str, Any] = {"id": "task-1", "createdAt": "2026-11-22T00:00:00Z"}
        if self.server.wrong == "task":
            return self._say(200, task | {"status": "FAILED", "failure": "it was moderated", "cost": {"credits": 0}})
        if self.server.polls < 3 or self.server.wrong == "slow":
            return self._say(200, task | {"status": "RUNNING", "progress": 0.5, "estimatedCost": {"credits": 60}})
        output = [f"{self.server.address}/result.mp4"]
        return self._say(200, task | {"status": "SUCCEEDED", "output": output, "cost": {"credits": 56}})

    def _say(self, code: int, content: Any) -> None:
        self._send(code, "application/json", b"" if content is None else json.dumps(content).encode())

    def _send(self, code: int, kind: str, data: bytes) -> None:
        self.send_response(code)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Runway]:
    """A server whose edit is a larger clip at 24 frames a second."""
    monkeypatch.setenv("RUNWAYML_API_SECRET", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Runway(write_clip(tmp_path / "edited.mp4", num_frames=14, width=128, height=96, rate=24))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def clip_of(tmp_path: Path, **values: Any) -> RenderedClip:
    frames = scene(9, 64, 48)
    given = {"name": "c0", "frames": frames, "rate": Fraction(16), "prompt": "make it real", "seed": 3}
    return RenderedClip(**given | {"state": tmp_path / "state"} | values)


def aleph_of(server: Runway, **settings: Any) -> aleph.Aleph:
    values = {"endpoint": server.address, "poll_seconds": 0.001, **settings}
    made = make_baseline("runway-aleph", values)
    assert isinstance(made, aleph.Aleph)
    return made


def test_a_clip_is_uploaded_edited_and_brought_back_to_its_grid(server: Runway, tmp_path: Path) -> None:
    baseline = aleph_of(server)
    edited = baseline.translate(clip_of(tmp_path))
    assert edited.shape == (9, 48, 64, 3)
    assert [path for path, _ in server.asked] == ["/v1/uploads", "/v1/video_to_video"]
    request = server.asked[1][1]
    assert request == {"model": "aleph2", "promptText": "make it real", "seed": 3, "videoUri": "runway://one"}
    assert b"ftyp" in server.uploads[0]
    assert b'name="policy"' in server.uploads[0]
    assert baseline.report() == {"credits": 56.0}
    result = frames_of(server.result)
    nearest = [round(index * 24 / 16 + 1e-9) for index in range(9)]  # halves go up: the later of two as near
    shown = [np.abs(result[:, ::2, ::2].astype(int) - frame).mean((1, 2, 3)).argmin() for frame in edited]
    assert all(abs(a - b) <= 1 for a, b in zip(shown, nearest, strict=True))


def test_a_broken_run_finds_its_task_again_and_pays_nothing_twice(server: Runway, tmp_path: Path) -> None:
    server.wrong = "result"
    with pytest.raises(RealMasterError, match="could not fetch it"):
        aleph_of(server).translate(clip_of(tmp_path))
    server.wrong = ""
    aleph_of(server).translate(clip_of(tmp_path))
    assert [path for path, _ in server.asked].count("/v1/video_to_video") == 1
    aleph_of(server).translate(clip_of(tmp_path, prompt="something else"))
    assert [path for path, _ in server.asked].count("/v1/video_to_video") == 2


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("key", "refused the key .*: check RUNWAYML_API_SECRET"),
        ("limit", "the server's limit is reached .*run again later"),
        ("prompt", "the server refused .*correct the settings"),
        ("task", "the task task-1 failed .it was moderated."),
        ("slow", "took longer than 0.01 s"),
    ],
)
def test_what_goes_wrong_is_one_line_and_asked_once(server: Runway, tmp_path: Path, wrong: str, said: str) -> None:
    server.wrong = wrong
    with pytest.raises(RealMasterError, match=said) as caught:
        aleph_of(server, timeout_seconds=0.01 if wrong == "slow" else 60).translate(clip_of(tmp_path))
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert [path for path, _ in server.asked].count("/v1/video_to_video") == 1


def test_a_server_that_is_down_is_one_line(server: Runway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("runwayml._base_client.INITIAL_RETRY_DELAY", 0.001)
    monkeypatch.setattr("runwayml._base_client.MAX_RETRY_DELAY", 0.001)
    with pytest.raises(RealMasterError, match="did not answer"):
        aleph_of(server, endpoint="http://127.0.0.1:1").translate(clip_of(tmp_path))


def test_the_cost_is_counted_before_anything_is_sent() -> None:
    info = ClipInfo(64, 48, Fraction(16), num_frames=80)
    cost = make_baseline("runway-aleph").cost([info, ClipInfo(64, 48, Fraction(16), num_frames=8)])
    assert cost is not None
    assert (cost.credits, cost.dollars) == (5 * 28 + 56, pytest.approx(1.96))  # the second one at the least price
    assert "about 196 credits, 1.96 dollars (2 clips at 28 credits a second" in str(cost)


def test_what_is_lacking_is_said_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RUNWAYML_API_SECRET", raising=False)
    assert "set the variable RUNWAYML_API_SECRET" in str(make_baseline("runway-aleph").lacking())
    monkeypatch.setattr(aleph, "find_spec", lambda name: None)
    assert "pip install 'realmaster[runway]'" in str(make_baseline("runway-aleph").lacking())


def test_a_key_is_sent_over_https_or_to_this_machine_only() -> None:
    with pytest.raises(RealMasterError, match="expected https:// where a key is sent"):
        make_baseline("runway-aleph", {"endpoint": "http://example.org"})


def test_without_the_package_the_line_says_how_to_get_it(
    server: Runway, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from realmaster.optional import require

    monkeypatch.setattr(aleph, "require", lambda module, extra: require(f"no_{module}", extra=extra))
    with pytest.raises(MissingExtraError, match=r"realmaster\[runway\]"):
        aleph_of(server).translate(clip_of(tmp_path))
