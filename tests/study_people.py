"""A small study made on the spot, and people who take part in it over plain HTTP."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from realmaster.web.study.settings import StudySettings
from sample_clips import write_clip

METHODS = ("Alpha", "Beta", "Gamma")
CLIPS = ("courtyard", "street", "room")
QUESTIONS = ("realism", "faithfulness", "quality")


def write_sources(root: Path, *, num_frames: int = 9) -> Path:
    """Write originals and three methods' outputs, three clips each."""
    for place in ("originals", *METHODS):
        (root / place).mkdir(parents=True)
        for clip in CLIPS:
            write_clip(root / place / f"{clip}.mp4", num_frames=num_frames)
    return root


def settings(**changes: Any) -> StudySettings:
    """Settings of that study: six comparisons and two checks each."""
    values: dict[str, Any] = {
        "originals": "originals",
        "methods": {method: method for method in METHODS},
        "participants": 4,
        "trials_per_person": 6,
        "checks_per_person": 2,
    }
    return StudySettings.from_mapping(values | changes, source="test")


@dataclass
class Reply:
    """What a server answered."""

    status: int
    body: bytes
    headers: dict[str, str]

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """One person's browser, as far as the server can tell."""

    def __init__(self, address: str, token: str) -> None:
        parts = urlsplit(address)
        assert parts.hostname is not None
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)
        self._token = token

    def ask(self, path: str, body: Any = None, *, method: str | None = None, **headers: str) -> Reply:
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        verb = method or ("GET" if body is None else "POST")
        kind = {"Content-Type": "application/json"} if data is not None else {}
        self._connection.request(verb, path, data, {"Authorization": f"Bearer {self._token}"} | kind | headers)
        reply = self._connection.getresponse()
        return Reply(reply.status, reply.read(), {name.lower(): value for name, value in reply.getheaders()})

    def state(self) -> Any:
        reply = self.ask("/api/me")
        assert reply.status == 200, reply.body
        return reply.json

    def agree(self) -> Any:
        return self.ask("/api/consent", {}).json

    def answer(self, trial: str, side: str = "left", *, key: str = "a" * 16) -> Reply:
        choices = dict.fromkeys(QUESTIONS, side)
        return self.ask("/api/answers", {"trial": trial, "key": key, "choices": choices, "seconds": 3.5, "plays": 1})

    def close(self) -> None:
        self._connection.close()
